"""`target` as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import plan


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(
        plan, ["target", *arguments], catch_exceptions=False
    )


def test_budgets_come_cheapest_first_with_recipes() -> None:
    """Measured ways first, then by their budgets, with the multiple of the cheapest."""
    result = run("--loss", "2.2", "--student", "1B", "--details")
    order = [
        line.split()[0].rstrip("*")
        for line in result.stdout.splitlines()
        if " on " in line and "×" in line and "│" not in line
    ]

    assert result.exit_code == 0
    assert order == [
        "supervised", "best-case", "teacher-inference", "teacher-pretraining", "full",
    ]  # fmt: skip
    assert "no budget more than" in result.stdout


def test_json_holds_budgets_and_proofs() -> None:
    """Each way has its budget and the one proven too small."""
    document = json.loads(run("--loss", "2.2", "--student", "1B", "--format", "json").stdout)
    for way in document["ways"]:
        assert way["reachable"]
        assert way["unreachable_below"] <= way["budget"]


def test_a_target_like_another_model() -> None:
    """The loss is that model's."""
    document = json.loads(
        run("--like", "size=3B,tokens=60B", "--student", "1B", "--format", "json").stdout
    )
    assert document["loss"] == pytest.approx(2.1578, abs=1e-4)
    assert document["like"] == {"size": 3e9, "tokens": 60e9}


def test_the_picture_is_written(tmp_path: Path) -> None:
    """One whole PNG."""
    target = tmp_path / "way.png"
    run("--loss", "2.2", "--student", "1B", "--plot", str(target), "--quiet")

    assert target.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--student", "1B"], "--loss 2.2 or --like"),
        (["--loss", "2.2", "--like", "size=3B,tokens=60B"], "--loss 2.2 or --like"),
        (["--loss", "two", "--student", "1B"], "not a number"),
        (["--loss", "1.0", "--student", "1B"], "irreducible"),
        (["--loss", "2.0", "--student", "1B"], "below the floor of 2.0750"),
        (["--like", "size=3B", "--student", "1B"], "size=3B,tokens=60B"),
    ],
)
def test_mistakes_get_one_sentence(arguments: list[str], says: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
