"""`create_app(settings)`: the planner as an ASGI application."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from planner.documents import sentence
from planner.errors import INPUT_ERRORS
from planner.questions import QUESTIONS, Entry
from planner.reports import FORMATS
from planner.service import accept, catalogues, fitting
from planner.service.jobs import Jobs, JobStatus
from planner.service.limits import Settings
from planner.service.metrics import CONTENT_TYPE, Metrics
from planner.service.middleware import LOOPBACK, Record, Remember, Token
from planner.service.middleware import Body as BodyLimits
from planner.service.problems import MEDIA_TYPE, Problem, RefusedError, of_error, refuse
from planner.service.solvers import Solvers
from planner.service.worker import Reply

log = logging.getLogger("planner.service")
PAGE = Path(__file__).parent / "page"
JSON = "application/json"
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
        version=API_VERSION,
        description="Plans model distillation under a compute budget, with a proven optimum. "
        "Budgets are FLOPs, sizes non-embedding parameters, losses nats per token. Every refusal "
        "is problem+json.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        servers=[{"url": "/"}],
        responses={int(status): _refusal_schema(text) for status, text in REFUSALS.items()},
        lifespan=service.lifespan,
    )
    app.state.service = service
    for name, entry in QUESTIONS.items():
        _add_question(app, service, name, entry)
    _add_fit(app, service)
    _add_jobs(app, service)
    _add_plain(app, service)
    catalogues.add(app)
    _add_heads(app)
    app.mount("/page", Page(directory=PAGE))
    _add_errors(app)
    _add_middleware(app, service, allowed_hosts)
    return app


def _add_middleware(app: FastAPI, service: Service, allowed_hosts: tuple[str, ...]) -> None:
    """The last one added is the outermost."""
    settings = service.settings
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    app.add_middleware(Remember, most=settings.limits.remembered_bytes)
    app.add_middleware(BodyLimits, limits=settings.limits)
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


async def _gone(request: Request) -> None:
    """Returns when the client leaves; the body is read, so that nothing else can arrive."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_question(app: FastAPI, service: Service, name: str, entry: Entry) -> None:
    """POST /v1/NAME: the question's fields in, its answer's document out, or another format."""
    form: Any = Literal[tuple(FORMATS)]

    async def answer(
        request: Request,
        question: Any,
        format: Any = None,  # noqa: A002 - the name of the query parameter
        width: Any = 100,
        colour: bool = False,
        unicode: bool = True,
        details: bool = False,
    ) -> Response:
        _check_query(request, QUERY)
        options = {
            "format": format or accept.choose(request.headers.get("accept", "")),
            "width": width,
            "colour": colour,
            "unicode": unicode,
            "details": details,
        }
        lane = "quick" if question.quick else "wide"
        return await service.ask(request, name, await request.body(), options, lane)

    answer.__name__ = name.replace("-", "_")
    answer.__doc__ = inspect.getdoc(entry.question)
    answer.__annotations__ |= {
        "question": Annotated[entry.question, Body(openapi_examples=_examples(entry))],
        "format": Annotated[form, Query(description=WRITTEN)],
        "width": Annotated[int, Query(ge=40, le=400, description="Columns of a table.")],
    }
    app.add_api_route(
        f"/v1/{name}",
        answer,
        methods=["POST"],
        response_model=entry.answer,
        summary=entry.summary,
        operation_id=answer.__name__,
        tags=["questions"],
        responses={200: {"content": {FORMATS[each].media_type: {} for each in FORMATS}}},
    )


WRITTEN = "How the answer is written; unless given, as the Accept header likes best, or JSON."
QUERY = ("format", "width", "colour", "unicode", "details")


def _examples(entry: Entry) -> dict[str, Any]:
    return {"one": {"summary": "One that works", "value": dict(entry.question.EXAMPLE)}}


def _check_query(request: Request, known: tuple[str, ...]) -> None:
    """Misspelt and repeated parameters are refused rather than ignored."""
    for key in request.query_params:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}."
            raise refuse(422, "problem", f"Unknown query parameter '{key}'{hint}")
        if len(request.query_params.getlist(key)) > 1:
            raise refuse(422, "problem", f"The query parameter '{key}' is given twice.")


def _add_fit(app: FastAPI, service: Service) -> None:
    async def fit(request: Request) -> Response:
        """Fit a scaling law to the runs in the body, as a job; its result holds the fit's judgement
        and the coefficient set as TOML and as an object to send along with other questions."""
        stated = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if stated not in fitting.UPLOADS:
            raise refuse(
                415,
                "syntax",
                f"The body's type is '{stated}'; send Content-Type: "
                f"{' or '.join(fitting.UPLOADS)}.",
            )
        try:
            options = fitting.read_options(request.query_params, stated)
        except INPUT_ERRORS as error:
            raise RefusedError(of_error(error)) from error
        body = await request.body()
        checked = await service.solvers.ask("check_fit", body, options, "wide")
        if checked.status != 200:
            return _response(checked)
        job = service.jobs.start("fit", body, options)
        return _json(job.document(), 202, {"Location": f"/v1/jobs/{job.id}"})

    content: dict[str, Any] = {
        kind: {"schema": {"type": "string"}} for kind in fitting.UPLOADS if kind != JSON
    }
    content[JSON] = {
        "schema": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("runs", "supervised_runs")},
            "required": ["runs", "supervised_runs"],
        }
    }
    parameters = [
        {
            "name": name,
            "in": "query",
            "schema": {"type": "array", "items": {"type": "string"}}
            if name in ("fix", "bound")
            else {"type": "string"},
        }
        for name in fitting.KNOWN
    ]
    app.add_api_route(
        "/v1/fit",
        fit,
        methods=["POST"],
        status_code=202,
        response_model=JobStatus,
        operation_id="fit",
        tags=["jobs"],
        openapi_extra={"requestBody": {"required": True, "content": content},
                       "parameters": parameters},
    )  # fmt: skip


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

    for path, method, function, model in (
        ("/v1/jobs/{id}", "GET", job, JobStatus),
        ("/v1/jobs/{id}", "DELETE", cancel, JobStatus),
        ("/v1/jobs/{id}/result", "GET", result, None),
    ):
        app.add_api_route(
            path,
            function,
            methods=[method],
            response_model=model,
            operation_id=f"{function.__name__}_{method.lower()}",
            tags=["jobs"],
            openapi_extra={"parameters": [ID]},
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

    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    for path, function in (
        ("/", page),
        ("/v1/health", health),
        ("/v1/ready", ready),
        ("/metrics", metrics),
    ):
        app.add_api_route(path, function, methods=["GET"], include_in_schema=False)


def _add_heads(app: FastAPI) -> None:
    """HEAD wherever GET is; the document does not state it, since it tells nothing of its own."""
    for route in [each for each in app.routes if isinstance(each, APIRoute)]:
        if "GET" in (route.methods or ()):
            app.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


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

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _problem(_of_validation(error, request.url.path.removeprefix("/v1/")))

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(HTTPException, unknown)


def _of_validation(error: RequestValidationError, name: str) -> Problem:
    """Every fault of a body or a query; the planner's own error speaks for itself."""
    faults = error.errors()
    for fault in faults:
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, INPUT_ERRORS):
            return of_error(cause)
        if fault["type"] == "json_invalid":
            return Problem(400, "syntax", f"The body is not JSON: {fault['ctx']['error']}.")
    known = [each.name for each in fields(QUESTIONS[name].question)] if name in QUESTIONS else []
    sentences = [_fault({**each, "loc": each["loc"][1:]}, known) for each in faults]
    return Problem(422, "problem", " ".join(sentences), {"problems": sentences})


def _fault(fault: Mapping[str, Any], known: list[str]) -> str:
    """One fault as a sentence; a key that is misspelt with the nearest that is known."""
    if fault["type"] == "unexpected_keyword_argument":
        key = str(fault["loc"][-1])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}."
        return f"Unknown key '{key}'{hint}"
    text = sentence(fault).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _refusal_schema(text: str) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}


API_VERSION = "2"
ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "minimum_budget": {"type": "number"},
        "floor": {"type": "number"},
        "problems": {"type": "array", "items": {"type": "string"}},
    },
}
REFUSALS = {
    400: "The body is not JSON.",
    401: "The server wants a bearer token.",
    404: "There is nothing of this name.",
    409: "The job has not ended.",
    413: "The body is larger than allowed.",
    415: "The body is of another type than stated here.",
    422: "The question cannot be answered; `detail` says why in the command line's words, and "
    "`minimum_budget` what would do where the budget is too small.",
    503: "The server is busy; Retry-After says when to try again.",
    504: "The answer would take longer than one request may.",
}


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
