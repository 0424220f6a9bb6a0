"""`planner serve` as a process, and the client: starting, stopping, restarting under load."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from planner import InfeasibleError, Problem, solve
from planner.client import BusyError, Client, ServiceError
from planner.errors import INPUT_ERRORS, ProblemError
from tests.service.conftest import ROOT, Server, limited, serving

PLAN = {"budget": "1e21", "student": "1B"}


def _command(*words: str) -> subprocess.CompletedProcess[str]:
    code = "from planner.cli import planner_entry; planner_entry()"
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_a_taken_port_is_one_sentence(server: Server) -> None:
    """No traceback: which address, why, what to do."""
    run = _command("serve", "--port", str(server.port))

    assert run.returncode == 2
    assert "cannot listen on 127.0.0.1" in run.stderr.lower()
    assert "Traceback" not in run.stderr


def test_an_open_address_without_a_token_is_remarked() -> None:
    """Listening beyond this machine without a token is said aloud."""
    with serving("--host", "0.0.0.0") as server:
        assert "without a token" in server.log.read_text()


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_a_signal_finishes_what_was_accepted(name: str, code: int) -> None:
    """A request in flight at the signal is answered in full, and no solver stays behind."""
    with serving() as server:
        answers: list[httpx.Response] = []
        slow = {"budget": "1e21", "student": "1B", "map_budgets": 90, "map_students": 90}
        asking = threading.Thread(
            target=lambda: answers.append(server.post("/v1/explore", {**slow, "parts": ["map"]}))
        )
        asking.start()
        time.sleep(0.25)
        children = _children(server.process.pid)
        server.process.send_signal(getattr(signal, name))
        asking.join(30)

        assert server.process.wait(20) == code
        assert answers[0].status_code == 200
        assert len(answers[0].json()["map"]["difference"]) == 90
        assert len(children) >= 2
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{child}").exists() for child in children):
            assert time.monotonic() < deadline, "a solver outlived its server"
            time.sleep(0.05)


def _children(parent: int) -> list[int]:
    path = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in path.read_text().split()]


def test_solvers_end_with_a_killed_front() -> None:
    """Even a front that is killed outright leaves no solver behind."""
    with serving() as server:
        children = _children(server.process.pid)
        server.process.kill()
        deadline = time.monotonic() + 10
        while any(_runs(child) for child in children):
            assert time.monotonic() < deadline, "a solver outlived its server"
            time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_restart_under_load_loses_nothing_silently() -> None:
    """Every client of a server that is restarted gets the right answer or a clear error."""
    budgets = [1e20 * 1.01**index for index in range(120)]
    expected = {b: solve(Problem(budget=b, student=1e9)).cross_entropy for b in budgets[:3]}

    with serving() as first:
        client = Client(first.url, retries=0)

        def ask(budget: float) -> float | str:
            try:
                plan = client.plan(budget=budget, student="1B")
            except ServiceError as error:
                return str(error)
            return float(plan["recipe"]["student"]["cross_entropy"])

        with ThreadPoolExecutor(6) as pool:
            pending = [pool.submit(ask, budget) for budget in budgets]
            time.sleep(0.6)
            port = first.port
            first.stop()
            with serving(port=port) as second:
                answers = dict(zip(budgets, (each.result() for each in pending), strict=True))
                patient = Client(second.url, retries=3)
                assert patient.ready()
                later = patient.plan(budget=budgets[0], student="1B")

    refused = [answer for answer in answers.values() if isinstance(answer, str)]
    assert all("does not answer" in each for each in refused)
    assert any(isinstance(answer, float) for answer in answers.values())
    for budget, loss in expected.items():
        # plans that arrive together are solved in one batch, which may change the last digits
        assert answers[budget] in refused or answers[budget] == pytest.approx(loss, abs=1e-9)
    loss = later["recipe"]["student"]["cross_entropy"]
    assert loss == pytest.approx(expected[budgets[0]], abs=1e-9)


def test_the_client_raises_what_the_library_raises(server: Server) -> None:
    """Same class, same sentence, same minimum budget; a Problem may be sent as it is."""
    client = Client(server.url)
    problem = Problem(budget=1e22, student=2e9, stay_in_domain=True)

    assert client.plan(problem) == solve(problem).to_dict()
    for given in ({"budget": 1e12, "student": "1B"}, {"budget": "x"},
                  {"budget": 1e21, "coefficients": "hoffmann2022"}):  # fmt: skip
        with pytest.raises(INPUT_ERRORS) as here:
            solve(Problem.from_mapping(given))
        with pytest.raises(type(here.value)) as there:
            client.plan(given)
        assert str(there.value).lower() == str(here.value).lower()
    with pytest.raises(ProblemError, match="Unknown key 'budgte'; did you mean budget"):
        client.plan(budget=1e21, budgte=1e21)
    with pytest.raises(InfeasibleError) as small:
        client.plan(budget=1e12, student="1B")
    assert small.value.minimum_budget is not None
    assert client.scenarios()["default"] == "full"
    assert client.coefficients("busbridge2025")["name"] == "busbridge2025"
    assert client.target(loss=2.3, student="1B")["kind"]
    compared = client.compare_supervised(budget="1e20:1e22:5", students=["1B"])
    assert compared["kind"] == "compare-supervised"


def test_the_client_says_what_is_wrong_with_a_server() -> None:
    """Nobody there, no address, a token wanted, no room: one sentence each, no traceback."""
    with pytest.raises(ServiceError, match="does not answer"):
        Client("http://127.0.0.1:9", retries=0).ready()
    with pytest.raises(INPUT_ERRORS, match="is no address"):
        Client("ftp://127.0.0.1").ready()
    with serving("--token", "sesame") as server:
        with pytest.raises(INPUT_ERRORS, match="wants a token"):
            Client(server.url).scenarios()
        assert Client(server.url, "sesame").plan(**PLAN)["kind"] == "plan"
    with serving(code=limited(quick_seconds=0.001)) as server, pytest.raises(BusyError):
        Client(server.url, retries=0).plan(**PLAN)


@pytest.mark.parametrize("form", ["table", "json", "toml", "csv", "markdown"])
def test_plan_with_a_server_prints_the_same(server: Server, form: str) -> None:
    """`plan --server URL` writes byte for byte what `plan` writes, remarks included."""
    words = ("plan", "--budget", "8xH100*90d@50%", "--student", "3B", "--format", form)

    here, there = _command(*words), _command(*words, "--server", server.url)

    assert there.stdout == here.stdout
    assert there.stderr == here.stderr


@pytest.mark.parametrize(
    "view", [("--robust",), ("--robust", "worst"), ("--sensitivity",), ("--near-optimal", "1%")]
)
def test_the_wider_views_come_from_a_server_too(server: Server, view: tuple[str, ...]) -> None:
    """Every option of `plan` works with --server, in the table and in the document."""
    words = ("plan", "--budget", "3e22", "--student", "3B", "--coefficients", "busbridge2025-refit")
    for form in ("table", "json"):
        here = _command(*words, "--format", form, *view)
        there = _command(*words, "--format", form, *view, "--server", server.url)

        assert here.returncode == there.returncode == 0
        assert there.stdout == here.stdout
        assert there.stderr == here.stderr


def test_wider_views_do_not_hold_up_plans_and_bad_ones_are_refused(server: Server) -> None:
    """They are answered in the wide lane; a view that is none gets a sentence."""
    from planner.questions.plan.question import PlanQuestion

    assert PlanQuestion(**PLAN).quick
    assert not PlanQuestion(**PLAN, sensitivity=True).quick
    for view, says in (
        ({"robust": "best"}, "should be 'expected' or 'worst'"),
        ({"sensitivity": "perhaps"}, "Sensitivity: input should be a valid boolean"),
        ({"near_optimal": "200%"}, "between 0 and 100%"),
    ):
        answer = server.post("/v1/plan", {**PLAN, **view})

        assert answer.status_code == 422
        assert says in str(answer.json())


def test_plan_with_a_server_fails_the_same(server: Server) -> None:
    """Exit code 2 and the same sentence for a mistake, and one for a server that is away."""
    words = ("plan", "--budget", "1e12", "--student", "1B")

    here, there = _command(*words), _command(*words, "--server", server.url)
    away = _command(*words, "--server", "http://127.0.0.1:9")

    assert (here.returncode, here.stderr) == (there.returncode, there.stderr)
    assert away.returncode == 2
    assert "does not answer" in away.stderr


def test_own_coefficients_travel_to_the_server(server: Server, tmp_path: Path) -> None:
    """A coefficient file of the user's gives the same plan through a server that cannot read it."""
    from importlib import resources

    text = (resources.files("coefficients") / "busbridge2025.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace('name = "busbridge2025"', 'name = "mine"').replace("3355", "3400"))
    words = ("plan", "--budget", "1e21", "--student", "1B", "--format", "csv", "--quiet",
             "--coefficients", str(path))  # fmt: skip

    here, there = _command(*words), _command(*words, "--server", server.url)

    assert here.returncode == 0
    assert there.stdout == here.stdout
