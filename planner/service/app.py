"""`create_app(settings)`: the planner as an ASGI application."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from planner.service import catalogues, openapi
from planner.service.endpoints import ENDPOINTS, Endpoint
from planner.service.jobs import Jobs
from planner.service.limits import Settings
from planner.service.metrics import CONTENT_TYPE, Metrics
from planner.service.middleware import LOOPBACK, Body, Record, Remember, Token
from planner.service.problems import MEDIA_TYPE, Problem, RefusedError, refuse
from planner.service.solvers import Solvers
from planner.service.worker import Reply

log = logging.getLogger("planner.service")
Handler = Callable[[Request], Awaitable[Response]]
PAGE = Path(__file__).parent / "page"
FOREVER = "public, max-age=31536000, immutable"


class Service:
    """What lives as long as the server: solvers, jobs and metrics."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.solvers = Solvers(settings)
        self.jobs = Jobs(self.solvers.lanes["jobs"], settings.limits)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Warm the solvers, then serve; at the end jobs are cancelled and processes ended."""
        try:
            await self.solvers.start()
            log.info("ready")
            yield
        finally:
            await self.jobs.close()
            await self.solvers.close()
            log.info("stopped")

    async def ask(
        self, request: Request, task: str, body: bytes, options: Mapping[str, Any], lane: str
    ) -> Response:
        """One question through a solver, given up while it waits if its client leaves."""
        work = asyncio.create_task(self.solvers.ask(task, body, options, lane))
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ClientDisconnect
            return _response(work.result())
        finally:
            gone.cancel()
            work.cancel()

    async def answer(self, request: Request, endpoint: Endpoint) -> Response:
        """One request through a solver, or into a job."""
        options = endpoint.options(request)
        _check_type(request, endpoint.media_types)
        body = await request.body()
        if endpoint.lane == "jobs":
            checked = await self.solvers.ask(f"check_{endpoint.task}", body, options, "wide")
            if checked.status != 200:
                return _response(checked)
            job = self.jobs.start(endpoint.task, body, options)
            return _json(job.document(), 202, {"Location": f"/v1/jobs/{job.id}"})
        lane = endpoint.lane_for(options, body)
        return await self.ask(request, endpoint.task, body, options, lane)


class Page(StaticFiles):
    """The page's files: asked again with their ETag, but for those with a version in their name."""

    def file_response(self, full_path: Any, *args: Any, **more: Any) -> Response:
        """A file with the header that says how long it holds."""
        response = super().file_response(full_path, *args, **more)
        versioned = "vendor" in Path(full_path).parts
        response.headers["Cache-Control"] = FOREVER if versioned else "no-cache"
        return response


def create_app(settings: Settings | None = None, allowed_hosts: tuple[str, ...] = ()) -> FastAPI:
    """The application. On a loopback address it answers only to loopback names and `allowed_hosts`,

    which keeps pages of other origins from reaching it by rebinding a name of theirs.
    """
    settings = settings or Settings()
    service = Service(settings)
    app = FastAPI(
        title="Distillation planner",
        version=openapi.API_VERSION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        lifespan=service.lifespan,
    )
    app.state.service = service
    for endpoint in ENDPOINTS:
        app.add_api_route(
            endpoint.path, _handler(service, endpoint), methods=["POST"], include_in_schema=False
        )
    _add_jobs(app, service)
    _add_plain(app, service)
    catalogues.add(app)
    app.mount("/page", Page(directory=PAGE))
    _add_errors(app)
    _add_middleware(app, service, allowed_hosts)
    return app


def _add_middleware(app: FastAPI, service: Service, allowed_hosts: tuple[str, ...]) -> None:
    """The last one added is the outermost."""
    settings = service.settings
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    app.add_middleware(Remember, most=settings.limits.remembered_bytes)
    app.add_middleware(Body, limits=settings.limits)
    if settings.token is not None:
        app.add_middleware(Token, token=settings.token)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    hosts = (*LOOPBACK, *allowed_hosts) if settings.host in LOOPBACK else allowed_hosts
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(Record, metrics=service.metrics)


def _check_type(request: Request, media_types: tuple[str, ...]) -> None:
    stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stated not in media_types:
        raise refuse(
            415,
            "syntax",
            f"The body's type is '{stated}'; send Content-Type: {' or '.join(media_types)} "
            "(curl --json does).",
        )


async def _gone(request: Request) -> None:
    """Returns when the client leaves; the body is read, so that nothing else can arrive."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _handler(service: Service, endpoint: Endpoint) -> Handler:
    async def handle(request: Request) -> Response:
        return await service.answer(request, endpoint)

    handle.__name__ = endpoint.task
    return handle


def _add_jobs(app: FastAPI, service: Service) -> None:
    async def job(request: Request) -> Response:
        return _json(service.jobs.get(request.path_params["id"]).document())

    async def cancel(request: Request) -> Response:
        return _json((await service.jobs.cancel(request.path_params["id"])).document())

    async def result(request: Request) -> Response:
        found = service.jobs.get(request.path_params["id"])
        if found.reply is None:
            raise refuse(
                409, "not-ready", f"The job is {found.state}; ask again later.", retry_after=1
            )
        return _response(found.reply)

    app.add_api_route("/v1/jobs/{id}", job, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/v1/jobs/{id}", cancel, methods=["DELETE"], include_in_schema=False)
    app.add_api_route(
        "/v1/jobs/{id}/result", result, methods=["GET", "HEAD"], include_in_schema=False
    )


def _add_plain(app: FastAPI, service: Service) -> None:
    async def health() -> Response:
        return _json({"status": "alive"})

    async def ready() -> Response:
        if service.solvers.ready:
            return _json({"status": "ready"})
        return _json({"status": "starting"}, 503)

    async def metrics() -> Response:
        text = service.metrics.text(service.solvers.lanes.values(), service.jobs.counts())
        return Response(text, media_type=CONTENT_TYPE)

    document = openapi.document()

    async def description() -> Response:
        return _json(document)

    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    for path, function in (
        ("/", page),
        ("/v1/health", health),
        ("/v1/ready", ready),
        ("/metrics", metrics),
        ("/openapi.json", description),
    ):
        app.add_api_route(path, function, methods=["GET", "HEAD"], include_in_schema=False)


def _add_errors(app: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return _problem(error.problem)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            problem = Problem(405, "method", f"{request.url.path} does not take this method.")
        else:
            problem = Problem(
                error.status_code, "not-found", "There is nothing at this path; see /openapi.json."
            )
        return _problem(problem, dict(error.headers or {}))

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(HTTPException, unknown)


def _problem(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if "retry_after" in problem.extra:
        headers["Retry-After"] = str(problem.extra["retry_after"])
    return Response(problem.body(), problem.status, headers, MEDIA_TYPE)


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    return Response(text, status, {"Cache-Control": "no-store", **(headers or {})},
                    "application/json")  # fmt: skip


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, {"Cache-Control": "no-store"}, reply.media_type)
