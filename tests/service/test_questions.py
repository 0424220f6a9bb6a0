"""The questions around a plan answer over HTTP with the bytes their commands print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import ROOT, Server

PAIRS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("compare-supervised", {"budget": "1e20:1e22:5", "students": ["300M", "1B"]},
     ["compare-supervised", "--budget", "1e20:1e22:5", "--student", "300M,1B"]),
    ("target", {"loss": 2.3, "student": "1B"}, ["target", "--loss", "2.3", "--student", "1B"]),
    ("target", {"like": "size=3B,tokens=60B", "student": "1B"},
     ["target", "--like", "size=3B,tokens=60B", "--student", "1B"]),
    ("evaluate", {"student": "1B", "student_tokens": "40B",
                  "teacher": {"size": "7B", "tokens": "140B"}},
     ["evaluate", "--student", "1B", "--student-tokens", "40B",
      "--teacher", "size=7B,tokens=140B"]),
    ("explain", {"budget": "1e21", "student": "1B"},
     ["explain", "--budget", "1e21", "--student", "1B"]),
    ("near-optimal", {"budget": "1e21", "student": "1B", "within": 0.002},
     ["near-optimal", "--budget", "1e21", "--student", "1B", "--within", "0.2%"]),
    ("family", {"budget": "1e22", "students": ["300M", "1Bx2"], "cached": True},
     ["family", "--budget", "1e22", "--student", "300M,1Bx2", "--cached"]),
    ("teachers", {"budget": "1e21", "student": "1B", "logits": "stored"},
     ["teachers", "--budget", "1e21", "--student", "1B", "--logits", "stored"]),
]  # fmt: skip


def _command(*words: str) -> str:
    code = "from planner.cli import planner_entry; planner_entry()"
    run = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True,
        timeout=120, env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(("path", "body", "words"), PAIRS, ids=lambda each: str(each)[:30])
def test_a_question_is_answered_with_its_commands_bytes(
    server: Server, path: str, body: dict[str, Any], words: list[str]
) -> None:
    """JSON and table of each report are byte for byte those of the command line."""
    for form in ("json", "table") if path in ("target", "evaluate") else ("json",):
        answer = server.post(f"/v1/{path}?format={form}", body)

        assert answer.status_code == 200, answer.text
        assert answer.text == _command(*words, "--format", form)


def test_a_sweep_has_the_commands_columns(server: Server, tmp_path: Path) -> None:
    """Columns and values are those of the file that `sweep` writes."""
    path = tmp_path / "sweep.jsonl"
    _command("sweep", "--budget", "1e12,1e20:1e22:3", "--student", "300M,1B", "--scenario", "all",
             "--output", str(path), "--quiet")  # fmt: skip
    rows = [json.loads(line) for line in path.read_text().splitlines()]

    body = {"budget": ["1e12", "1e20:1e22:3"], "students": ["300M", 1e9], "scenarios": "all"}
    columns = server.post("/v1/sweep", body).json()["columns"]

    assert len(rows) == 4 * 2 * 4
    assert columns == {name: [row[name] for row in rows] for name in rows[0]}
    assert not any(columns["feasible"][:8])


def test_a_plan_can_be_evaluated_as_it_came(server: Server) -> None:
    """The document of /v1/plan is a recipe for /v1/evaluate, which finds nothing to better."""
    plan = server.post("/v1/plan", {"budget": "1e21", "student": "1B"}).json()

    found = server.post("/v1/evaluate", {"recipe": plan})
    broken = server.post("/v1/evaluate", {"recipe": {**plan, "recipe": {}}})
    both = server.post("/v1/evaluate", {"recipe": plan, "student": "1B"})

    assert found.status_code == 200
    assert found.json()["kind"] == "evaluate"
    assert broken.status_code == 422
    assert broken.json()["problems"]
    assert "are given" in both.json()["detail"]


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("compare-supervised", {"students": ["1B"]}, "field required"),
    ("compare-supervised", {"budget": "1e22:1e20"}, "does not rise"),
    ("target", {}, "give either --loss 2.2 or --like"),
    ("target", {"loss": 0.5, "student": "1B"}, ""),
    ("target", {"loss": 2.3, "budget": 1e21}, "unknown key 'budget'"),
    ("evaluate", {"student": "1B"}, "a recipe needs"),
    ("near-optimal", {"budget": 1e21, "within": 0.1, "compute": 0.1}, "not both"),
    ("family", {"budget": 1e21, "students": []}, "needs students"),
    ("family", {"students": ["1B"]}, "give either"),
    ("family", {"budget": 1e21, "students": ["1Bxx"]}, "no count after the x"),
    ("teachers", {"budget": 1e21, "student": "1B", "logits": "free"}, "'paid' or 'stored'"),
    ("sweep", {"budget": "1e19:1e20:5000,1e20:1e21:9000"}, "at most 10,000"),
    ("sweep", {"budget": 1e21, "scenarios": ["half"]}, "unknown scenario"),
    ("sweep", {"budget": []}, "a sweep needs budgets"),
]


@pytest.mark.parametrize(("path", "body", "words"), MISTAKES, ids=lambda each: str(each)[:30])
def test_mistakes_are_sentences(
    server: Server, path: str, body: dict[str, Any], words: str
) -> None:
    """Each is a 422 with one sentence; an unreachable loss tells the floor."""
    answer = server.post(f"/v1/{path}", body)

    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"].lower()
    assert not answer.json()["detail"][0].islower()
    if answer.json()["code"] == "unreachable":
        assert answer.json()["floor"] > 0.5


def test_a_family_with_capped_tokens_is_answered_in_time(server: Server) -> None:
    """Where the cap leaves compute that only the teacher can use, the proof still ends soon."""
    question = {"budget": "1e22", "students": ["300M", "1B"], "max_student_tokens": "1B"}
    began = time.monotonic()
    answer = server.post("/v1/family", question)

    assert answer.status_code == 200, answer.text
    assert time.monotonic() - began < 15
    assert answer.json()["proven"]
