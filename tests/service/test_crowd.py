"""Many clients at once: silent ones, slow ones, ones that leave, and a server that stops."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack

import httpx
import pytest

from planner.service import logs, tasks, worker
from planner.service.limits import Limits
from planner.service.problems import RefusedError
from planner.service.solvers import Lane
from tests.service.conftest import Server, limited, run_async, serving

PLAN = {"budget": "1e21", "student": "1B"}
RECIPE = {**PLAN, "parts": ["plan", "gap"]}
SLOW = {"budget": "1e21", "parts": ["curves"], "budgets": 200}
"""Planning the size too over many budgets takes seconds."""


def _in_background(server: Server, body: object) -> tuple[threading.Thread, list[httpx.Response]]:
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.post("/v1/explore", body)))
    asking.start()
    time.sleep(0.3)
    return asking, answers


def test_the_pages_recipe_does_not_wait_for_long_questions(server: Server) -> None:
    """`explore` for plan and gap alone is answered while the wide lane is busy with curves."""
    asking, answers = _in_background(server, SLOW)
    recipe = server.post("/v1/explore", RECIPE)

    assert recipe.status_code == 200
    assert not answers, "the curves were too quick to show anything"
    assert recipe.json()["plan"]["kind"] == "plan"
    asking.join()
    assert answers[0].status_code == 200
    for odd in ({**PLAN, "parts": [[]]}, {**PLAN, "parts": {"plan": 1}}, {**PLAN, "parts": []}):
        assert server.post("/v1/explore", odd).status_code in (200, 422)


def test_waiting_is_part_of_a_requests_time() -> None:
    """Behind a long task a short one is refused after half its time, clearly, and may come back."""

    async def live() -> None:
        lane = Lane("test", 1, 8, Limits())
        await lane.warm()
        curves = json.dumps({**SLOW, "budgets": 300}).encode()
        long = asyncio.create_task(lane.run("explore", curves, {}, 60))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(RefusedError) as refused:
            await lane.run("plan", json.dumps(PLAN).encode(), {}, 1.0)
        assert time.monotonic() - began < 0.9
        assert refused.value.problem.status == 503
        assert refused.value.problem.extra["retry_after"] == 5
        assert (lane.running, lane.waiting) == (1, 0)
        patient = asyncio.create_task(
            lane.run("plan", json.dumps(PLAN).encode(), {}, 1.0, patient=True)
        )
        assert (await long).status == 200
        assert (await patient).status == 200  # a job's time begins with its start
        await lane.close()

    run_async(live())


def test_a_request_that_waited_is_told_that_it_did() -> None:
    """Over HTTP: 503 and Retry-After within the limit, for whoever waited behind long questions."""
    with serving(code=limited(wide_seconds=3.0)) as server:
        threads = [_in_background(server, {**SLOW, "budgets": 400 + i}) for i in range(3)]
        began = time.monotonic()
        for asking, _ in threads:
            asking.join()
        took = time.monotonic() - began
        answers = [answers[0] for _, answers in threads]

        assert took < 6
        assert sorted(answer.status_code for answer in answers) == [503, 503, 504]
        for answer in answers:
            assert answer.headers["content-type"] == "application/problem+json"
            if answer.status_code == 503:
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
    with serving(code=code) as server:
        asking, answers = _in_background(server, {**SLOW, "budgets": 450})
        server.process.send_signal(signal.SIGTERM)
        asking.join(20)
        server.process.wait(10)

        assert answers[0].status_code == 503
        assert answers[0].headers["content-type"] == "application/problem+json"
        assert answers[0].headers["retry-after"] == "5"
        assert "shutting down" in answers[0].json()["detail"]
        assert not any("traceback" in line for line in server.lines())


def test_clients_that_leave_leave_no_traceback(server: Server) -> None:
    """Leaving before or within the body, or in the queue, is a line with status 499."""
    before = len(server.lines())
    asking, _ = _in_background(server, {**SLOW, "budgets": 210})
    body = json.dumps({**SLOW, "budgets": 220}).encode()
    head = (
        "POST /v1/explore HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    for part in (head, head + body[:20], head + body):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as link:
            link.sendall(part)
            time.sleep(0.2)
    asking.join()
    time.sleep(0.3)
    lines = server.lines()[before:]

    assert not [line for line in lines if "traceback" in line or line["level"] == "error"]
    assert sum(line.get("status") == 499 for line in lines) == 3


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
    """Probes that send HEAD get the status and no body."""
    for path in ("/v1/health", "/v1/ready", "/v1/scenarios", "/openapi.json", "/metrics", "/"):
        answer = httpx.head(server.url + path)

        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/json;q=0.1, application/toml", "application/toml"),
        ("application/toml;q=0.2, application/json;q=0.9", "application/json"),
        ("application/toml;q=0, */*", "application/json"),
        ("text/csv;q=0.5, text/markdown;q=0.6, */*;q=0.1", "text/markdown"),
        ("text/*, application/json;q=0.9", "text/plain"),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("application/toml;q=nan", "application/json"),
        ("image/png", "application/json"),
    ],
)
def test_the_accept_header_is_weighed(server: Server, accept: str, media_type: str) -> None:
    """Qualities count, the closest range decides, nonsense and strangers leave JSON."""
    answer = server.post("/v1/plan", PLAN, headers={"Accept": accept})

    assert answer.headers["content-type"].partition(";")[0] == media_type
