"""What a client may not do: too much, too long, too many, or without a token."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from planner.service.limits import Limits
from planner.service.middleware import OVERHEAD, Remember
from planner.service.problems import RefusedError
from planner.service.solvers import Lane
from tests.service.conftest import Server, limited, run_async, serving, until

PLAN = {"budget": "1e21", "student": "1B"}
SLOW = {"budget": "1e21", "parts": ["curves"], "budgets": 90}
"""Planning the size too over many budgets takes seconds."""


@pytest.mark.parametrize("path", ["/v1/plan", "/v1/explore", "/v1/compare-supervised"])
def test_large_bodies_are_refused_before_they_are_read(server: Server, path: str) -> None:
    """64 KiB are taken; more is a 413, stated or chunked."""

    def chunks():  # type: ignore[no-untyped-def]
        for _ in range(80):
            yield b" " * 1024

    headers = {"Content-Type": "application/json"}
    stated = httpx.post(server.url + path, content=b" " * 70_000, headers=headers)
    chunked = httpx.post(server.url + path, content=chunks(), headers=headers)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
        link.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {10**15}\r\n\r\n".encode()
        )
        promised = link.recv(100)

    assert (stated.status_code, chunked.status_code) == (413, 413)
    assert promised.startswith(b"HTTP/1.1 413")
    assert stated.json()["limit_bytes"] == 65536


def test_other_media_types_are_refused(server: Server) -> None:
    """Forms and plain text, which any web page may send unasked, are no questions."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = httpx.post(
            server.url + "/v1/plan", content=b"{}", headers={"Content-Type": kind} if kind else {}
        )

        assert answer.status_code == 422


def test_grids_have_a_limit(server: Server) -> None:
    """A grid beyond the limit is refused in words, one within works."""
    large = server.post("/v1/explore", {**PLAN, "map_budgets": 200, "map_students": 200})
    comparison = server.post(
        "/v1/compare-supervised", {"budget": "1e19:1e26:3000", "students": ["1B"]}
    )
    strange = server.post("/v1/explore", {**PLAN, "budgets": 2.5})
    teachers = server.post("/v1/plan", {"budget": 1e21, "teachers": ["size=7B,loss=2"] * 65})

    assert large.status_code == 422
    assert "at most 10,000" in large.json()["detail"]
    assert comparison.status_code == 422
    assert "Budgets: input should be a valid integer" in strange.json()["detail"]
    assert "at most 64" in teachers.json()["detail"]


def test_a_long_request_is_ended_and_the_server_goes_on() -> None:
    """Beyond its seconds a request is a 504, its solver is replaced, and others are answered."""
    with serving(code=limited(wide_seconds=0.3, body_seconds=0.5)) as server:
        began = time.monotonic()
        slow = server.post("/v1/explore", SLOW)
        took = time.monotonic() - began
        after = server.post("/v1/plan", PLAN)
        again = server.post("/v1/explore", {**PLAN, "parts": ["gap"]})

        assert slow.status_code == 504
        assert took < 15  # what nothing limits may take thirty
        assert slow.json()["limit_seconds"] == 0.3
        assert after.status_code == 200
        assert again.status_code in (200, 504)  # the new process may still be starting
        assert 'planner_lane{lane="wide",state="replaced"}' in server.get("/metrics").text


def test_a_body_that_trickles_is_given_up() -> None:
    """A client that sends too slowly gets a 408 instead of a place for ever."""
    with (
        serving(code=limited(body_seconds=0.4)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow,
    ):
        slow.sendall(
            b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 50\r\n\r\n{"
        )

        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_short_questions_do_not_wait_for_long_ones(server: Server) -> None:
    """While a wide question keeps its solver busy, plans are answered in the meantime."""
    with ThreadPoolExecutor(1) as pool:
        with server.paused("wide"):
            long = pool.submit(server.post, "/v1/explore", SLOW)
            until(lambda: server.count("wide", "running") == 1)
            answers = [
                server.post("/v1/plan", {**PLAN, "budget": 1e21 + index * 1e18})
                for index in range(5)
            ]
            waited = not long.done()

        assert [answer.status_code for answer in answers] == [200] * 5
        assert waited
        assert long.result().status_code == 200


def test_a_full_queue_is_refused_at_once() -> None:
    """With two places to wait, the surplus is told to come back, and the rest are answered."""
    with serving(code=limited(waiting=2, quick_seconds=55.0)) as server:
        with ThreadPoolExecutor(12) as pool:
            with server.paused("quick"):
                asked = [pool.submit(server.post, "/v1/plan", PLAN) for _ in range(12)]
                until(lambda: any(each.done() for each in asked))
            answers = [each.result() for each in asked]

        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 503}
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["code"] == "busy"
        assert server.post("/v1/plan", PLAN).status_code == 200


def test_a_token_opens_the_api_and_nothing_else_does() -> None:
    """Without the token only the page and health answer; with it everything does."""
    with serving("--token", "sesame", "--cors-origin", "https://a.example") as server:
        bare = server.post("/v1/plan", PLAN)
        wrong = server.post("/v1/plan", PLAN, headers={"Authorization": "Bearer open"})
        right = server.post("/v1/plan", PLAN, headers={"Authorization": "Bearer sesame"})
        asked = httpx.options(
            server.url + "/v1/plan",
            headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"},
        )

        assert (bare.status_code, wrong.status_code, right.status_code) == (401, 401, 200)
        assert bare.headers["www-authenticate"] == "Bearer"
        assert server.get("/metrics").status_code == 401
        assert server.get("/v1/health").status_code == 200
        assert server.get("/").status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://a.example"
        assert "sesame" not in server.log.read_text()


def test_other_origins_and_host_names_are_shut_out(server: Server) -> None:
    """No CORS header by default, and a foreign host name on a loopback server is refused."""
    cross = server.post("/v1/plan", PLAN, headers={"Origin": "https://evil.example"})
    rebound = server.get("/v1/scenarios", headers={"Host": "evil.example"})
    local = server.get("/v1/scenarios", headers={"Host": f"localhost:{server.port}"})

    assert "access-control-allow-origin" not in cross.headers
    assert rebound.status_code == 400
    assert local.status_code == 200


def test_logs_hold_routes_and_times_but_no_payloads(server: Server) -> None:
    """Every line is JSON; a request's content, path parameters and query are in none of them."""
    secret = "moonshot-7391"
    answer = server.post("/v1/plan", {"budget": secret}, headers={"X-Request-ID": "abc-1"})
    server.get(f"/v1/coefficients/{secret}")
    server.get(f"/{secret}?q={secret}")

    line = next(each for each in server.lines() if each.get("request_id") == "abc-1")
    assert answer.headers["x-request-id"] == "abc-1"
    assert {"time", "level", "event", "method", "milliseconds"} <= line.keys()
    assert (line["route"], line["status"], line["bytes_in"]) == (
        "/v1/plan", 422, len(answer.request.content),
    )  # fmt: skip
    assert secret not in server.log.read_text()


def test_metrics_count_requests_by_route(server: Server) -> None:
    """The Prometheus text holds counts, times and lanes, and no label a client can invent."""
    before = server.get("/metrics").text
    server.post("/v1/plan", PLAN)
    server.get("/made-up-path")
    after = server.get("/metrics").text

    key = 'planner_requests_total{method="POST",route="/v1/plan",status="200"}'

    def count(text: str) -> float:
        lines = (line for line in text.splitlines() if line.startswith(key))
        return float(next(lines, "x 0").rsplit(" ", 1)[1])

    assert count(after) == count(before) + 1
    assert 'planner_request_seconds_bucket{le="0.05",route="/v1/plan"}' in after
    assert "made-up-path" not in after


def test_a_dead_solver_costs_nobody_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Killed idle it is replaced warm, killed at work its question is asked again; both are logged;

    a wait that is cancelled leaves no trace.
    """

    async def live() -> None:
        lane = Lane("test", 1, 8, Limits())
        body = b'{"budget": 1e21, "student": 1e9}'
        await lane.warm()
        [first] = _solvers()
        os.kill(first, signal.SIGKILL)
        await _until(lambda: _solvers() not in ([], [first]) and lane.ready)
        assert (await lane.run("plan", body, {}, 30)).status == 200

        slow = asyncio.create_task(lane.run("explore", b'{"budget": 1e21}', {}, 60))
        await _until(lambda: lane.running == 1)
        waiting = asyncio.create_task(lane.run("plan", body, {}, 30))
        await _until(lambda: lane.waiting == 1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (lane.running, lane.waiting) == (1, 0)
        [second] = _solvers()
        os.kill(second, signal.SIGKILL)
        assert (await slow).status == 200  # asked again of the next solver
        assert lane.replaced == 2
        await lane.close()
        await _until(lambda: not _solvers())

    run_async(live())
    assert [each.message for each in caplog.records].count("a solver ended and is replaced") == 2


def test_a_question_that_kills_its_solver_twice_is_refused() -> None:
    """A second death is the question's own doing: one refusal, and the lane goes on."""

    async def live() -> None:
        lane = Lane("test", 1, 8, Limits())
        await lane.warm()
        slow = asyncio.create_task(lane.run("explore", b'{"budget": 1e21}', {}, 60))
        for _ in range(2):
            await _until(lambda: lane.running == 1 and lane.ready)
            os.kill(_solvers()[0], signal.SIGKILL)
            await _until(lambda: lane.running == 0)
        with pytest.raises(RefusedError, match="ended twice"):
            await slow
        assert (await lane.run("plan", b'{"budget": 1e21, "student": 1e9}', {}, 60)).status == 200
        await lane.close()

    run_async(live())


def _solvers() -> list[int]:
    """Process ids of the solvers that run in this process's lanes."""
    return [each.pid for each in multiprocessing.active_children() if each.pid is not None]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


def test_answers_are_kept_within_their_bytes() -> None:
    """The same question is answered from memory, the least recently used goes first,

    refusals are asked again, and what a client accepts is part of the question.
    """
    asked: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        asked.append(body)
        status = 422 if body == b"bad" else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body * 100})

    memory = Remember(app, 3 * (OVERHEAD + 200))

    async def ask(body: bytes, accept: bytes = b"") -> bytes:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/plan", "query_string": b"",
                 "headers": [(b"accept", accept)]}  # fmt: skip
        await memory(scope, receive, send)
        return bytes(sent[1]["body"])

    async def live() -> None:
        for body in (b"a", b"b", b"a", b"bad", b"bad", b"c", b"d"):
            assert await ask(body) == body * 100
        assert asked == [b"a", b"b", b"bad", b"bad", b"c", b"d"]
        asked.clear()
        await ask(b"a")
        await ask(b"b")  # went when d came
        await ask(b"a", b"text/csv")
        assert asked == [b"b", b"a"]
        assert memory.size <= memory.most

    run_async(live())
