"""A service on a socket, until it is told to end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from recbole_cfgdiff.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_CONNECTIONS = 1000  # at a time; uvicorn answers 503 to one more
_DRAIN_SECONDS = 30  # what is being answered by then is broken off
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes one that is free.

    Raises:
        ConfigError: if it can't be had.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"port: expected a number from 0 to {2**16 - 1}, got {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, *_, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return socket.create_server(address[:2], family=family, backlog=_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"host {host}, port {port}: {reason}; choose others by --host and --port") from error


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answer requests until a signal comes; then those that are under way are answered, and no others."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Returns after a signal, where uvicorn's raises it again: a service that was told to end has done so."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before: dict[int, Callable | int | None] = {
            number: signal.signal(number, self.handle_exit) for number in heeded
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
