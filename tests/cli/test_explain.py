"""`explain` as people run it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import plan

QUESTION = ["--budget", "1e21", "--student", "1B"]


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(
        plan, ["explain", *arguments], catch_exceptions=False
    )


def test_the_verdict_says_what_limits_the_student() -> None:
    """And where its teacher stands in the capacity gap."""
    result = run(*QUESTION, "--details")
    words = " ".join(result.stdout.replace("│", "").split())

    assert result.exit_code == 0
    assert "what limits it most is its size" in words
    assert "10% more" in words and "irreducible" in words


def test_json_and_csv_hold_the_curves() -> None:
    """Three curves, each with its flags of the domain."""
    document = json.loads(run(*QUESTION, "--format", "json").stdout)
    rows = list(csv.DictReader(io.StringIO(run(*QUESTION, "--format", "csv").stdout)))

    assert len({row["curve"] for row in rows}) == 3
    for name in ("gap", "along_teacher", "along_share"):
        assert len(document[name]["x"]) == len(document[name]["inside"]) > 50
    assert document["limit"]["what"] == "student size"


@pytest.mark.parametrize(
    "teacher", [[], ["--teacher", "size=7B,loss=2.0", "--teacher", "size=2B,tokens=40B"]]
)
def test_the_picture_is_written(tmp_path: Path, teacher: list[str]) -> None:
    """With a planned teacher and with existing ones."""
    target = tmp_path / "why.svg"
    result = run(*QUESTION, *teacher, "--plot", str(target), "--quiet")

    assert result.exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("<?xml")
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_budget_is_one_sentence() -> None:
    """Exit code 2 and what to write."""
    result = run("--student", "1B")

    assert result.exit_code == 2
    assert "budget is missing" in result.stderr
    assert result.stderr.count("\n") == 1
