"""Many clients at once: silent ones, slow ones, ones that leave, and a server that stops."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from planner.service import logs, tasks, worker
from planner.service.limits import Limits
from planner.service.problems import RefusedError
from planner.service.solvers import Lane
from tests.service.conftest import Server, limited, run_async, serving, until

PLAN = {"budget": "1e21", "student": "1B"}
RECIPE = {**PLAN, "parts": ["plan", "gap"]}
SLOW = {"budget": "1e21", "student": "1B", "parts": ["curves"], "budgets": 90}
"""A question for the wide lane."""


def test_the_pages_recipe_does_not_wait_for_long_questions(server: Server) -> None:
    """`explore` for plan and gap alone is answered while the wide lane is busy with curves."""
    with ThreadPoolExecutor(1) as pool:
        with server.paused("wide"):
            curves = pool.submit(server.post, "/v1/explore", SLOW)
            until(lambda: server.count("wide", "running") == 1)
            recipe = server.post("/v1/explore", RECIPE)
            waited = not curves.done()

        assert recipe.status_code == 200
        assert waited
        assert recipe.json()["plan"]["kind"] == "plan"
        assert curves.result().status_code == 200
    for odd in ({**PLAN, "parts": [[]]}, {**PLAN, "parts": {"plan": 1}}, {**PLAN, "parts": []}):
        assert server.post("/v1/explore", odd).status_code in (200, 422)


def test_waiting_is_part_of_a_requests_time() -> None:
    """Behind a long task a short one is refused after half its time, clearly, and may come back."""
    plan = json.dumps(PLAN).encode()

    async def live() -> None:
        lane = Lane("test", 1, 8, Limits())
        await lane.warm()
        [solver] = [each.pid for each in multiprocessing.active_children() if each.pid is not None]
        os.kill(solver, signal.SIGSTOP)
        long = asyncio.create_task(lane.run("explore", json.dumps(SLOW).encode(), {}, 60))
        async with asyncio.timeout(60):
            while lane.running == 0:
                await asyncio.sleep(0.01)
        with pytest.raises(RefusedError, match=r"^No solver was free for 0\.5 s;") as refused:
            await lane.run("plan", plan, {}, 1.0)
        assert refused.value.problem.status == 503
        assert refused.value.problem.extra["retry_after"] == 5
        assert (lane.running, lane.waiting) == (1, 0)
        patient = asyncio.create_task(lane.run("plan", plan, {}, 2.0, patient=True))
        await asyncio.sleep(2.2)
        os.kill(solver, signal.SIGCONT)
        assert (await long).status == 200
        assert (await patient).status == 200  # a job's time begins with its start
        await lane.close()

    run_async(live())


def test_a_request_that_waited_is_told_that_it_did() -> None:
    """Over HTTP: 503 and Retry-After within the limit, for whoever waited behind long questions."""
    with (
        serving(code=limited(wide_seconds=3.0)) as server,
        ThreadPoolExecutor(3) as pool,
        server.paused("wide"),
    ):
        began = time.monotonic()
        asked = [pool.submit(server.post, "/v1/explore", SLOW)]
        until(lambda: server.count("wide", "running") == 1)
        asked += [
            pool.submit(server.post, "/v1/explore", {**SLOW, "budgets": 91 + i}) for i in range(2)
        ]
        ran, *waited = [each.result() for each in asked]
        took = time.monotonic() - began

        assert took < 15  # what nothing limits may take thirty
        assert ran.status_code == 504
        assert [answer.status_code for answer in waited] == [503, 503]
        for answer in (ran, *waited):
            assert answer.headers["content-type"] == "application/problem+json"
        for answer in waited:
            assert answer.headers["retry-after"] == "5"
            assert answer.json()["code"] == "busy"


def test_beyond_its_connections_the_server_answers_503() -> None:
    """Idle connections beyond the limit are the proxy's to close; here they are refused."""
    with serving(code=limited(connections=20)) as server, ExitStack() as open_:
        for _ in range(25):
            open_.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        time.sleep(0.3)
        assert server.get("/v1/health").status_code == 503


def test_a_request_beyond_the_grace_of_a_shutdown_gets_a_problem() -> None:
    """What cannot be finished in time is told so in problem+json, with when to try again."""
    code = limited().replace("workers=1", "workers=1, shutdown_seconds=1")
    with serving(code=code) as server, ThreadPoolExecutor(1) as pool, server.paused("wide"):
        asked = pool.submit(server.post, "/v1/explore", SLOW)
        until(lambda: server.count("wide", "running") == 1)
        server.process.send_signal(signal.SIGTERM)
        answer = asked.result()
        server.process.wait(20)

        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "5"
        assert "shutting down" in answer.json()["detail"]
        assert not any("traceback" in line for line in server.lines())


def test_clients_that_leave_leave_no_traceback(server: Server) -> None:
    """Leaving before or within the body, or in the queue, is a line with status 499."""
    before = len(server.lines())
    body = json.dumps({**SLOW, "budgets": 92}).encode()
    head = (
        "POST /v1/explore HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()

    def left() -> int:
        return sum(line.get("status") == 499 for line in server.lines()[before:])

    with ThreadPoolExecutor(1) as pool, server.paused("wide"):
        pool.submit(server.post, "/v1/explore", {**SLOW, "budgets": 93})
        until(lambda: server.count("wide", "running") == 1)
        for part in (head, head + body[:20], head + body):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
                link.sendall(part)
                if part == head + body:
                    until(lambda: server.count("wide", "waiting") == 1)
                else:
                    time.sleep(0.2)
        until(lambda: left() == 3)
        assert server.count("wide", "waiting") == 0

    lines = server.lines()[before:]
    assert not [line for line in lines if "traceback" in line or line["level"] == "error"]


def test_a_fault_of_ours_is_a_500_and_a_line_of_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client learns nothing of our insides; the log has the traceback, and stays JSON."""

    def fail(*_: object) -> worker.Reply:
        raise ZeroDivisionError("inside")

    monkeypatch.setitem(tasks.TASKS, "explore", fail)
    log = logging.getLogger("planner.service.worker")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logs.JsonLines())
    log.addHandler(handler)
    try:
        [reply] = tasks.work("explore", [(b"{}", {})])
    finally:
        log.removeHandler(handler)
    line = json.loads(capsys.readouterr().err)

    assert reply.status == 500
    assert b"inside" not in reply.body
    assert line["level"] == "error"
    assert "ZeroDivisionError" in line["traceback"]


def test_a_head_is_answered_where_a_get_is(server: Server) -> None:
    """Probes that send HEAD get the status and no body, where there is nothing too."""
    stated = server.get("/openapi.json").json()["paths"]
    catalogues = [path for path, methods in stated.items() if "get" in methods and "{" not in path]
    assert len(catalogues) > 3
    for path in ("/v1/health", "/v1/ready", "/openapi.json", "/metrics", "/", *catalogues):
        answer = httpx.head(server.url + path)

        assert (answer.status_code, answer.content) == (200, b"")
    assert httpx.head(server.url + "/v1/coefficients/nix").status_code == 404
    assert httpx.head(server.url + "/v1/jobs/nix").status_code == 404
    assert httpx.head(server.url + "/v1/plan").status_code == 405


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json;q=0.1, application/toml", "application/toml"),
        ("application/toml;q=0.2, application/json;q=0.9", "application/json"),
        ("application/toml;q=0, */*", "application/json"),
        ("text/csv;q=0.5, text/markdown;q=0.6, */*;q=0.1", "text/markdown"),
        ("text/*, application/json;q=0.9", "text/plain"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "text/html"),
        ("*/*", "application/json"),
        ("application/toml;q=nan", "application/json"),
        ("image/png", "application/json"),
    ],
)
def test_the_accept_header_is_weighed(server: Server, accept: str, media_type: str) -> None:
    """Qualities count, the closest range decides, nonsense and strangers leave JSON;

    a format in the query is taken whatever the header says.
    """
    answer = server.post("/v1/plan", PLAN, headers={"Accept": accept})
    named = server.post("/v1/plan?format=csv", PLAN, headers={"Accept": accept})

    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert named.headers["content-type"].partition(";")[0] == "text/csv"
