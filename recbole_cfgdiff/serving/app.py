"""The routes of the service."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.escape import one_line
from recbole_cfgdiff.recommender import Recommender
from recbole_cfgdiff.serving.batching import Batcher, QueueFull
from recbole_cfgdiff.serving.bodies import About, Health, Item, Problem, Recommendations, Wanted
from recbole_cfgdiff.serving.guard import Counted, Guard
from recbole_cfgdiff.serving.limits import Limits
from recbole_cfgdiff.serving.metrics import Metrics
from recbole_cfgdiff.serving.scoring import check_ids, knows_all, rankings, titles
from recbole_cfgdiff.version import __version__

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
_TOLD = 3  # mistakes of a request that a message names
_LONGEST = 500  # characters of a message


def make_app(
    recommender: Recommender,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = None,
) -> FastAPI:
    """The service of a model.

    Args:
        recommender: which nobody else asks meanwhile.
        limits: of a request; None: the defaults.
        token: as of ``Guard``.
        hosts: as of ``Guard``.
    """
    limits = limits or Limits()
    metrics = Metrics()
    batcher = Batcher(partial(rankings, recommender), limits.queue, limits.batch, metrics)
    told_by_openapi_json = [] if token is None else [Depends(HTTPBearer(auto_error=False))]  # ``Guard`` checks it
    app = FastAPI(
        title="recbole-cfgdiff",
        version=__version__,
        lifespan=_lifespan(recommender, batcher),
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        dependencies=told_by_openapi_json,
        responses=_problems(422) if token is None else _problems(401, 422),
    )
    _add_routes(app, recommender, limits, metrics, batcher)
    app.add_exception_handler(RequestValidationError, _tell_mistakes)
    app.add_exception_handler(ConfigError, _tell)
    app.add_middleware(Guard, most_bytes=limits.body, token=token, hosts=hosts)
    paths = [*app.openapi()["paths"], "/", "/openapi.json"]
    app.add_middleware(Counted, paths=paths, metrics=metrics)  # the last one is the first that a request meets
    return app


def _lifespan(recommender: Recommender, batcher: Batcher) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with recommender.source.fixed_weights():
            running = asyncio.create_task(batcher.run())
            yield
            running.cancel()  # nobody waits any more
            with suppress(asyncio.CancelledError):
                await running

    return lifespan


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem} for status in statuses}


def _add_routes(app: FastAPI, recommender: Recommender, limits: Limits, metrics: Metrics, batcher: Batcher) -> None:
    one_at_a_time = CapacityLimiter(1)  # of what takes a while

    @app.post("/recommend", response_model=Recommendations, responses=_problems(400, 413, 429))
    async def recommend(wanted: Wanted) -> Response:
        """Lists of recommendations for known users, or for anybody with a history."""
        job = wanted.job(limits)
        try:
            if not knows_all(recommender, job):
                if one_at_a_time.statistics().tasks_waiting >= limits.queue:
                    raise QueueFull
                await to_thread.run_sync(check_ids, recommender, job, limiter=one_at_a_time)
            return JSONResponse({"recommendations": await batcher.rankings(job)})
        except QueueFull:
            detail = f"queue: {limits.queue:,} requests wait already (the service's --max-queue)"
            raise HTTPException(429, detail, {"retry-after": "1"}) from None

    @app.get("/items")
    def items(
        q: Annotated[str, Query(max_length=200, description="a part of the title, in any case, or the id")] = "",
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> list[Item]:
        """Items by their titles: those that begin with the text first."""
        found = recommender.items.search(q, limit)
        of_items = zip(recommender.items.ids.of(found), titles(recommender, found))
        return [Item(item=item, title=title) for item, title in of_items]

    @app.get("/model")
    async def model() -> About:
        """What is served, and the limits of a request."""
        about, users = recommender.about, recommender.users
        return About(
            model=str(about.get("model", "")),
            dataset=str(about.get("dataset", "")),
            n_items=len(recommender.items),
            n_users=0 if users is None else len(users.ids),
            is_guided=recommender.source.is_guided,
            guidance_scale=recommender.guidance_scale,
            limits=asdict(limits),
        )

    @app.get("/health")
    async def health() -> Health:
        """Whether requests are answered."""
        return Health()

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def tell_metrics() -> Response:
        """Requests, seconds, batches and the queue, for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers={"content-security-policy": _PAGES_POLICY})


def _hash(tag: str) -> str:
    """Of the page's one such element, which alone may run, or style."""
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


_PAGES_POLICY = (
    f"default-src 'none'; script-src {_hash('script')}; style-src {_hash('style')}; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def _tell(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": one_line(str(error))[:_LONGEST]}, 422)


async def _tell_mistakes(request: Request, error: Exception) -> Response:
    """Where the mistakes are and what is wrong, without what was given, which may be long and anything."""
    assert isinstance(error, RequestValidationError)
    mistakes = error.errors()
    told = [_mistake(each) for each in mistakes[:_TOLD]]
    rest = f"; and {len(mistakes) - _TOLD} more" if len(mistakes) > _TOLD else ""
    return await _tell(request, ConfigError("; ".join(told) + rest))


def _mistake(error: dict[str, Any]) -> str:
    where = ".".join(map(str, error["loc"][1:])) or error["loc"][0]
    return f"{where}: {error['msg'].removeprefix('Value error, ')}"
