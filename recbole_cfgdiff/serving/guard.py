"""What happens to every request before and after the routes: it is checked, counted and timed."""

from __future__ import annotations

import hmac
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recbole_cfgdiff.serving.metrics import Metrics

_OPEN = ("/", "/health")  # without a token: they tell nothing of the model
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}


class Guard:
    """Refuses a request without the token, for another host, or with too large a body, before it is read whole.

    Args:
        app: what is guarded.
        most_bytes: of a body.
        token: the bearer token; None lets everybody in.
        hosts: names under which requests may ask for the service. A page of somebody else's in a browser of this
            machine can have its own name lead here, and then read what it is answered. None: any.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, token: str | None, hosts: Collection[str] | None) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._token = None if token is None else token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read = 0

        async def bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                raise self._too_large()
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except HTTPException as refusal:
            response = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
            await response(scope, receive, with_headers)
            return
        await self._app(scope, bounded, with_headers)

    def _check(self, path: str, headers: Headers) -> None:
        if self._hosts is not None and (host := _name(headers.get("host", ""))) not in self._hosts:
            raise HTTPException(421, f"host: expected {' or '.join(sorted(self._hosts))}, got {host[:100]!a}")
        if self._token is not None and path not in _OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
                raise HTTPException(401, "token: missing or wrong", {"www-authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._most_bytes:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"body: expected at most {self._most_bytes:,} bytes (the service's --max-body)")


def _name(host: str) -> str:
    """The name of a host, without its port."""
    name, _, port = host.lower().rpartition(":")
    return name if port.isdecimal() else host.lower()


class Counted:
    """Counts and times requests.

    Args:
        app: of all.
        paths: those of the service.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], metrics: Metrics) -> None:
        self._app = app
        self._paths = frozenset(paths)
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
