"""Outermost layer: ids, logs and metrics of requests; host, token and size before any work."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planner.service.metrics import Metrics
from planner.service.problems import MEDIA_TYPE, Problem

log = logging.getLogger("planner.service")

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = ("/", "/v1/health", "/v1/ready", "/openapi.json")
OPEN_PREFIX = "/page/"
NEVER_SHED = ("/v1/health", "/v1/ready", "/metrics")
"""What operators ask a busy server."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Load:
    """How many requests are being read or answered, and how many may be at once."""

    def __init__(self, most: int) -> None:
        self.active = 0
        self.most = most

    @property
    def full(self) -> bool:
        """Whether one more is too many."""
        return self.active > self.most

    async def ended(self, seconds: float) -> None:
        """Wait for the requests under way to be answered, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.active:
                    await asyncio.sleep(0.01)


class Guard:
    """ASGI middleware. `hosts` are the names a request may use for this server; empty for any."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, load: Load, token: str | None, hosts: Iterable[str]
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.load = load
        self.token = token
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse one request, and record that."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = _Record(scope)

        async def counted_receive() -> Message:
            message = await receive()
            record.bytes_in += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                extra = [*HEADERS, (b"x-request-id", record.id.encode())]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            else:
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        self.load.active += 1
        with self.metrics.in_flight.track_inprogress():
            try:
                refusal = self._refusal(scope)
                if refusal is not None:
                    await _send_problem(refusal, counted_send)
                else:
                    await self._answer(scope, counted_receive, counted_send, record)
            finally:
                self.load.active -= 1
                self._finish(scope, record)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, record: _Record) -> None:
        """The application's answer, or a refusal where it has none: never a bare text."""
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return  # the client left; the log line says 499
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if record.status != UNANSWERED or task is None:
                raise
            task.uncancel()  # the server stops, and this request took longer than it waits
            await _send_problem(STOPPING, send)
        except Exception as error:
            log.error("unhandled", exc_info=error)
            if record.status != UNANSWERED:
                raise
            await _send_problem(
                Problem(500, "internal", "The server failed; please report it."), send
            )

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = dict(scope["headers"])
        if self.hosts and _host(headers.get(b"host", b"")) not in self.hosts:
            return Problem(
                421,
                "not-found",
                "This server does not answer under that host name; start it with --allowed-host.",
            )
        path = scope["path"]
        if self.load.full and path not in NEVER_SHED:
            return CROWDED
        if self.token is None or path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return None
        if scope["method"] == "OPTIONS":  # a browser asks before it may send a token
            return None
        given = headers.get(b"authorization", b"")
        scheme, _, token = given.partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self.token.encode()):
            return None
        return Problem(
            401, "unauthorised", "This server wants a token: send Authorization: Bearer TOKEN."
        )

    def _finish(self, scope: Scope, record: _Record) -> None:
        seconds = time.perf_counter() - record.began
        route = getattr(scope.get("route"), "path", None) or scope.get("planner.route", "other")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.answered(route, method, record.status, seconds)
        log.info(
            "request",
            extra={
                "method": method,
                "route": route,
                "status": record.status,
                "milliseconds": round(1e3 * seconds, 2),
                "bytes_in": record.bytes_in,
                "bytes_out": record.bytes_out,
                "request_id": record.id,
            },
        )


UNANSWERED = 499
STOPPING = Problem(
    503,
    "busy",
    "The server is shutting down before it could answer; send the request again.",
    {"retry_after": 5},
)
CROWDED = Problem(
    503,
    "busy",
    "The server is answering as many requests as it will take; try again in a second.",
    {"retry_after": 1},
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class _Record:
    """What is remembered about one request."""

    def __init__(self, scope: Scope) -> None:
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        self.id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.began = time.perf_counter()
        self.status = UNANSWERED  # nothing was sent: the client left first
        self.bytes_in = 0
        self.bytes_out = 0


def _host(header: bytes) -> str:
    text = header.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if ":" in text else text


async def _send_problem(problem: Problem, send: Send) -> None:
    body = problem.body()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if "retry_after" in problem.extra:
        headers.append((b"retry-after", str(problem.extra["retry_after"]).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
