"""`compare-supervised` as people run it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import plan

PUBLISHED = ["--coefficients", "busbridge2025"]
RANGE = ["compare-supervised", "--student", "1B", "--budget", "1e20:1e23", *PUBLISHED]


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(plan, arguments, catch_exceptions=False)


def test_a_range_gives_verdict_crossovers_and_a_picture_of_text() -> None:
    """The table says where distilling wins and shows it as bars."""
    result = run(*RANGE)

    assert result.exit_code == 0
    said = " ".join(result.stdout.replace("│", "").split())
    assert "wins below 2.21e22, partly by extrapolation (best-case)" in said
    assert "wins below 3.04e21, by extrapolation (teacher-inference)" in said
    assert "never wins, partly by extrapolation (teacher-pretraining, full)" in said
    assert "█" in result.stdout and "Crossovers" in result.stdout


def test_one_budget_gives_a_table_of_ratios() -> None:
    """Compute and data that supervised training needs for the same loss."""
    result = run("compare-supervised", "--student", "1B", "--budget", "1e21", *PUBLISHED)

    assert "1.77×" in result.stdout
    assert "Crossovers" not in result.stdout


def test_json_holds_curves_and_brackets() -> None:
    """Every scenario with its arrays; crossovers with both proven ends."""
    document = json.loads(run(*RANGE, "--format", "json").stdout)
    [comparison] = document["comparisons"]
    best = comparison["curves"][0]
    [crossing] = best["crossovers"]

    assert document["kind"] == "compare-supervised"
    assert len(best["difference"]) == len(comparison["budgets"]) == 25
    assert crossing["low"] < crossing["budget"] < crossing["high"]


def test_csv_has_a_row_for_every_student_scenario_and_budget() -> None:
    """A rectangular table with one header."""
    text = run(
        "compare-supervised", "--student", "300M,1B", "--budget", "1e20:1e23:5", "--format", "csv"
    ).stdout
    rows = list(csv.DictReader(io.StringIO(text)))

    assert len(rows) == 2 * 4 * 5
    assert {row["scenario"] for row in rows} >= {"full", "best-case"}
    assert all(float(row["supervised_cross_entropy"]) > 2 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--student", "1B", "--budget", "1e23:1e20"], "swap them"),
        (["--student", "1B", "--budget", "1e20:1e23:1"], "between 2 and"),
        (["--student", "1B", "--budget", "1e20:1e23:x"], "whole number"),
        (["--student", "1B", "--budget", "1:2:3:4"], "1e19:1e26"),
        (["--student", "1B,,3B", "--budget", "1e21"], "empty entry"),
        (["--student", "1B", "--budget", "1e10"], "too small"),
        (
            ["--student", "1B", "--budget", "1e20:1e23", "--plot", "x.bmp"],
            ".png, .svg, .pdf, .html",
        ),
        (["--student", "1B", "--budget", "1e20:1e23", "--plot", "/none/x.png"], "does not exist"),
        (["--student", "1B", "--budget", "1e21", "--output", "/none/x.csv"], "does not exist"),
    ],
)
def test_mistakes_get_one_sentence(arguments: list[str], says: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    result = run("compare-supervised", *arguments)

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "html"])
def test_pictures_are_whole_files_of_their_kind(tmp_path: Path, suffix: str) -> None:
    """Each suffix gives its format, and nothing else is left beside it."""
    target = tmp_path / f"win.{suffix}"
    result = run(*RANGE, "--plot", str(target), "--quiet")
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype"}[suffix]

    assert result.exit_code == 0
    assert target.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [target]


def test_a_picture_of_one_budget_is_refused_without_a_file(tmp_path: Path) -> None:
    """A point is no curve."""
    target = tmp_path / "win.png"
    result = run("compare-supervised", "--student", "1B", "--budget", "1e21", "--plot", str(target))

    assert result.exit_code == 2
    assert "range of budgets" in result.stderr
    assert not target.exists()
