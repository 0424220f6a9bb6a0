"""`near-optimal`, and `plan --near-optimal`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import plan
from planner.questions.plan.answer import Plan

QUESTION = ["--budget", "1e21", "--student", "1B"]


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(plan, arguments, catch_exceptions=False)


def test_the_table_shows_ranges_teacher_and_shapes() -> None:
    """Ranges, the cheapest teacher and buildable models."""
    result = run("near-optimal", *QUESTION, "--details")

    assert result.exit_code == 0
    for words in ("student tokens", "cheapest teacher", "Buildable teachers in the set"):
        assert words in result.stdout


def test_a_set_around_an_extrapolation_says_so_first() -> None:
    """In the headline and the line below it, before any range."""
    result = run(
        "near-optimal", "--budget", "1e21", "--student", "3B", "--scenario", "teacher-inference"
    )
    lines = result.stdout.splitlines()

    assert "Not measured here" in lines[1]
    below = next(i for i, line in enumerate(lines) if line.startswith("╰")) + 1
    assert lines[below].startswith(" ! Optimum outside the measured range")


def test_plan_shows_the_set_below_the_plan() -> None:
    """The option without a value means half a per cent; the plan itself stays what it was."""
    alone = run(*QUESTION).stdout
    both = run(*QUESTION, "--near-optimal").stdout

    assert set(alone.splitlines()) <= set(both.splitlines())
    assert "cheapest teacher" in both and "cheapest teacher" not in alone


def test_plans_documents_hold_the_set(tmp_path: Path) -> None:
    """JSON and TOML have it, and can still be read back."""
    path = tmp_path / "recipe.toml"
    document = json.loads(run(*QUESTION, "--near-optimal", "1%", "--format", "json").stdout)
    run(*QUESTION, "--near-optimal", "1%", "--output", str(path), "--quiet")
    best = document["recipe"]["student"]["cross_entropy"]

    assert document["near_optimal"]["ceiling"] == pytest.approx(1.01 * best)
    assert Plan.read(path).cross_entropy == pytest.approx(best)


def test_the_picture_is_written(tmp_path: Path) -> None:
    """One whole page."""
    target = tmp_path / "near.html"
    run("near-optimal", *QUESTION, "--plot", str(target), "--quiet")

    assert "<svg" in target.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["near-optimal", *QUESTION, "--within", "x"], "like 0.5%"),
        (["near-optimal", *QUESTION, "--within", "0"], "between 0 and 100%"),
        (["near-optimal", *QUESTION, "--within", "1%", "--compute", "5%"], "not both"),
        ([*QUESTION, "--near-optimal", "200%"], "between 0 and 100%"),
    ],
)
def test_mistakes_get_one_sentence(arguments: list[str], says: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
