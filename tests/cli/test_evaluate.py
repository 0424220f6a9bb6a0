"""`evaluate` as people run it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import plan

RECIPE = ["--student", "1B", "--student-tokens", "40B", "--teacher", "size=7B,tokens=20B"]


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(
        plan, ["evaluate", *arguments], catch_exceptions=False
    )


def test_options_give_verdict_changes_and_rules() -> None:
    """What to change first stands in the verdict, rules of thumb below."""
    result = run(*RECIPE, "--details")
    words = " ".join(result.stdout.replace("│", "").split())

    assert result.exit_code == 0
    assert "Change first: teacher size and tokens" in words
    assert "38.3% less compute" in words
    assert "capacity-gap" in words and "chinchilla-teacher" in words


def test_markdown_and_csv_hold_the_same_alternatives() -> None:
    """Every move and every affordable rule is a row."""
    markdown = run(*RECIPE, "--format", "markdown", "--details").stdout
    rows = list(csv.DictReader(io.StringIO(run(*RECIPE, "--format", "csv").stdout)))
    names = [row["name"] for row in rows]

    assert "| half-half |" in markdown
    assert names[:2] == ["your recipe", "best"]
    assert "rule: half-half" in names and "move: teacher size" in names


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_recipe_file_is_judged(tmp_path: Path, suffix: str) -> None:
    """What plan wrote comes back as the optimum."""
    path = tmp_path / f"recipe.{suffix}"
    CliRunner().invoke(
        plan, ["--budget", "1e21", "--student", "1B", "--output", str(path), "--quiet"]
    )
    document = json.loads(run(str(path), "--format", "json").stdout)

    assert document["cost"] == pytest.approx(1e21)
    assert document["excess"] <= 1e-6


def test_an_existing_teacher_is_known_by_its_loss() -> None:
    """It is kept, and its training is not charged."""
    result = run("--student", "1B", "--student-tokens", "40B", "--teacher", "size=7B,loss=2.05",
                 "--details")  # fmt: skip

    assert result.exit_code == 0
    assert "kept as it is" in result.stdout
    assert "Rules of thumb" not in result.stdout


def test_a_recipe_that_was_not_measured_says_so_first() -> None:
    """Whatever the law makes of it."""
    lines = run(
        "--student", "3B", "--student-tokens", "5B", "--teacher", "size=84B,tokens=20T"
    ).stdout.splitlines()

    assert "Not measured here" in lines[1]
    assert any(line.startswith(" ! Your recipe outside the measured range") for line in lines)


def test_the_picture_is_written(tmp_path: Path) -> None:
    """One whole PNG."""
    target = tmp_path / "mine.png"
    run(*RECIPE, "--plot", str(target), "--quiet")

    assert target.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--student-tokens"),
        (["--student", "1B", "--student-tokens", "40B"], "--teacher"),
        (["--student", "1B", "--student-tokens", "40B", "--teacher", "tokens=2B"], "size"),
        (["nowhere.toml"], "cannot be read"),
        (["nowhere.toml", *RECIPE], "give one of them"),
        ([*RECIPE, "--scenario", "ful"], "did you mean full"),
    ],
)
def test_mistakes_get_one_sentence(arguments: list[str], says: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
