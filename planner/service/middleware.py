"""Around the application: ids, logs and metrics of requests; token and size before any work.

Host names are Starlette's TrustedHostMiddleware, compression its GZipMiddleware.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections import OrderedDict
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from planner.service.limits import Limits
from planner.service.metrics import Metrics
from planner.service.problems import MEDIA_TYPE, Problem

log = logging.getLogger("planner.service")

LOOPBACK = ("localhost", "127.0.0.1", "::1")
OPEN_PATHS = ("/", "/v1/health", "/v1/ready", "/openapi.json")
OPEN_PREFIX = "/page/"
UPLOADS = ("/v1/fit",)
"""Paths whose body is a file."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", POLICY.encode()),
)
UNANSWERED = 499
STOPPING = Problem(
    503,
    "busy",
    "The server is shutting down before it could answer; send the request again.",
    {"retry_after": 5},
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Record:
    """Outermost: every request has an id, a log line, its place in the metrics, and an answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on and record what became of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id").decode("latin-1")
        identity = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        began, status, received, sent = time.perf_counter(), UNANSWERED, 0, 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = (*HEADERS, (b"x-request-id", identity.encode()))
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            else:
                sent += len(message.get("body", b""))
            await send(message)

        with self.metrics.in_flight.track_inprogress():
            try:
                await self.app(scope, counted_receive, counted_send)
            except ClientDisconnect:
                pass  # the client left; the log line says 499
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if status != UNANSWERED or task is None:
                    raise
                task.uncancel()  # the server stops, and this request took longer than it waits
                await send_problem(STOPPING, counted_send)
            except Exception as error:
                log.error("unhandled", exc_info=error)
                if status != UNANSWERED:
                    raise
                failed = Problem(500, "internal", "The server failed; please report it.")
                await send_problem(failed, counted_send)
            finally:
                seconds = time.perf_counter() - began
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self.metrics.answered(route, method, status, seconds)
                log.info(
                    "request",
                    extra={
                        "method": method,
                        "route": route,
                        "status": status,
                        "milliseconds": round(1e3 * seconds, 2),
                        "bytes_in": received,
                        "bytes_out": sent,
                        "request_id": identity,
                    },
                )


class Token:
    """Asks every request but those for the page and for health for a bearer token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app = app
        self.token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it (401)."""
        if scope["type"] != "http" or self._open(scope):
            await self.app(scope, receive, send)
            return
        refusal = Problem(
            401, "unauthorised", "This server wants a token: send Authorization: Bearer TOKEN."
        )
        await send_problem(refusal, send)

    def _open(self, scope: Scope) -> bool:
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return True
        if scope["method"] == "OPTIONS":  # a browser asks before it may send a token
            return True
        scheme, _, token = _header(scope, b"authorization").partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self.token)


class Body:
    """Reads the body within its size (413) and time (408), so that no route has to."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the whole body on as one message, or refuse the request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        limits = self.limits
        most = limits.upload_bytes if scope["path"] in UPLOADS else limits.body_bytes
        length = _header(scope, b"content-length").decode("latin-1")
        if length.isdigit() and (len(length) > 12 or int(length) > most):
            await send_problem(_too_large(most), send)
            return
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > most:
                        await send_problem(_too_large(most), send)
                        return
        except TimeoutError:
            slow = Problem(
                408,
                "timeout",
                f"The body did not arrive within {limits.body_seconds:g} s; send it again.",
            )
            await send_problem(slow, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": b"".join(parts)}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)


class Remember:
    """Gives the same answer to the same question, as long as it is among the last `most` bytes.

    Answers are kept as they were sent, compressed too; only POST has them, and only with 200.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self.most = most
        self.size = 0
        self._kept: OrderedDict[tuple[bytes, ...], tuple[list[Message], Any, int]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or pass on and remember."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        question = await receive()  # `Body` hands on the whole of it
        key = (
            scope["path"].encode(),
            scope["query_string"],
            *(_header(scope, name) for name in _DECIDING),
            question["body"],
        )
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            messages, scope["route"], _ = known
            for message in messages:
                await send(message)
            return
        asked: list[Message] = [question]
        messages = []

        async def replay() -> Message:
            return asked.pop() if asked else await receive()

        async def noted_send(message: Message) -> None:
            messages.append(message)
            await send(message)

        await self.app(scope, replay, noted_send)
        if messages and messages[0].get("status") == 200:
            self._keep(key, messages, scope.get("route"))

    def _keep(self, key: tuple[bytes, ...], messages: list[Message], route: Any) -> None:
        size = len(key[-1]) + sum(len(each.get("body", b"")) for each in messages) + OVERHEAD
        if size > self.most or key in self._kept:
            return
        self._kept[key] = (messages, route, size)
        self.size += size
        while self.size > self.most:
            self.size -= self._kept.popitem(last=False)[1][2]


OVERHEAD = 2048
"""Bytes that an answer takes beside its body and its question."""
_DECIDING = (b"accept", b"accept-encoding", b"content-type")
"""Headers that an answer depends on."""


def _too_large(most: int) -> Problem:
    return Problem(
        413,
        "too-large",
        f"The body is larger than the {most:,} bytes allowed.",
        {"limit_bytes": most},
    )


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


async def send_problem(problem: Problem, send: Send) -> None:
    """A refusal as an answer, with the headers that belong to it."""
    body = problem.body()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    if "retry_after" in problem.extra:
        headers.append((b"retry-after", str(problem.extra["retry_after"]).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
