"""`create_app(settings)`: the planner as an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from planner.service import catalogues, openapi, static
from planner.service.endpoints import ENDPOINTS, Endpoint
from planner.service.guard import LOOPBACK, Guard, Load
from planner.service.jobs import Jobs
from planner.service.limits import Settings
from planner.service.metrics import CONTENT_TYPE, Metrics
from planner.service.pool import Lane, Reply
from planner.service.problems import MEDIA_TYPE, Problem, RefusedError, refuse

log = logging.getLogger("planner.service")
Handler = Callable[[Request], Awaitable[Response]]
ANSWERING_SECONDS = 2.0
"""For the last answers to leave when the server stops."""


class Service:
    """What lives as long as the server: solver lanes, jobs and metrics."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.settings = settings
        self.metrics = Metrics()
        self.lanes = {
            "quick": Lane("quick", settings.workers, limits.waiting),
            "wide": Lane("wide", settings.workers, limits.waiting, niceness=2),
            "jobs": Lane("jobs", limits.jobs_running, limits.jobs_waiting, niceness=5),
        }
        self.seconds = {"quick": limits.quick_seconds, "wide": limits.wide_seconds}
        self.jobs = Jobs(self.lanes["jobs"], limits)
        self.load = Load(limits.active)
        self.ready = False

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Warm the solvers, then serve; at the end jobs are cancelled and processes ended."""
        try:
            await self.lanes["quick"].warm()
            await self.lanes["wide"].warm()
            self.ready = True
            log.info("ready")
            yield
        finally:
            self.ready = False
            await self.load.ended(ANSWERING_SECONDS)  # what was cancelled says so
            await self.jobs.close()
            for lane in self.lanes.values():
                await lane.close()
            log.info("stopped")

    async def answer(self, request: Request, endpoint: Endpoint) -> Response:
        """One request through a solver, or into a job."""
        limits = self.settings.limits
        options = endpoint.options(request)
        most = limits.upload_bytes if endpoint.upload else limits.body_bytes
        body = await read_body(request, most, limits.body_seconds, endpoint.media_types)
        if endpoint.lane == "jobs":
            job = self.jobs.start(endpoint.task, body, options)
            place = f"/v1/jobs/{job.id}"
            return _json(job.document(), 202, {"Location": place})
        name, started = endpoint.lane_for(options, body), asyncio.Event()
        work = asyncio.create_task(
            self.lanes[name].run(endpoint.task, body, options, self.seconds[name], started=started)
        )
        gone = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            gone.cancel()
        if not work.done() and not started.is_set():
            work.cancel()  # the client left; what runs already costs less than a new process
            raise ClientDisconnect
        try:
            return _response(await work)
        except asyncio.CancelledError:
            work.cancel()
            raise


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
    static.add(app)
    _add_errors(app)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
        )
    hosts = (*LOOPBACK, *allowed_hosts) if settings.host in LOOPBACK else allowed_hosts
    app.add_middleware(
        Guard, metrics=service.metrics, load=service.load, token=settings.token, hosts=hosts
    )
    return app


async def read_body(
    request: Request, most: int, seconds: float, media_types: tuple[str, ...]
) -> bytes:
    """The body within its limits: 413 beyond the size, 415 for another type, 408 if too slow."""
    stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if stated not in media_types:
        raise refuse(
            415,
            "syntax",
            f"The body's type is '{stated}'; send Content-Type: {' or '.join(media_types)} "
            "(curl --json does).",
        )
    length = request.headers.get("content-length", "")
    if length.isdigit() and (len(length) > 12 or int(length) > most):
        raise _too_large(most)
    chunks, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                chunks.append(chunk)
    except TimeoutError:
        raise refuse(
            408, "timeout", f"The body did not arrive within {seconds:g} s; send it again."
        ) from None
    return b"".join(chunks)


def _too_large(most: int) -> RefusedError:
    return refuse(
        413, "too-large", f"The body is larger than the {most:,} bytes allowed.", limit_bytes=most
    )


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
        return _json({"status": "ready"} if service.ready else {"status": "starting"},
                     200 if service.ready else 503)  # fmt: skip

    async def metrics() -> Response:
        text = service.metrics.text(service.lanes.values(), service.jobs.counts())
        return Response(text, media_type=CONTENT_TYPE)

    document = openapi.document()

    async def description() -> Response:
        return _json(document)

    for path, function in (
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
    import json

    text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    return Response(text, status, {"Cache-Control": "no-store", **(headers or {})},
                    "application/json")  # fmt: skip


def _response(reply: Reply) -> Response:
    return Response(reply.body, reply.status, {"Cache-Control": "no-store"}, reply.media_type)


async def _disconnected(request: Request) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(0.1)
