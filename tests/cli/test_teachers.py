"""`teachers` as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import plan


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "120"}).invoke(
        plan, ["teachers", *arguments], catch_exceptions=False
    )


def test_the_catalogue_is_ranked_unless_teachers_are_named() -> None:
    """Estimates are marked, the gap is named."""
    result = run("--budget", "1e21", "--student", "1B", "--details")

    assert result.exit_code == 0
    assert "49 teachers" in result.stdout
    assert "estimate" in result.stdout
    assert "Llama-3.1-70B" in result.stdout
    assert "capacity gap" in result.stdout


def test_named_teachers_and_stored_logits() -> None:
    """A teacher known by its loss alone will do if nobody pays for its logits."""
    document = json.loads(
        run("--budget", "1e21", "--student", "1B", "--teacher", "loss=2.0,name=ours",
            "--teacher", "size=7B,loss=1.6", "--logits", "stored", "--format", "json").stdout
    )  # fmt: skip
    first, second = document["candidates"]

    assert first["entry"]["teacher"]["name"] == "ours"
    assert second["capacity_gap"]
    assert first["recipe"]["student"] == first["cached"]["student"]


def test_csv_has_one_line_per_teacher_with_its_source() -> None:
    """For people who go on in a spreadsheet."""
    lines = run("--budget", "1e21", "--student", "1B", "--format", "csv").stdout.splitlines()

    assert len(lines) == 50
    assert "source" in lines[0]
    assert "arXiv" in lines[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--student", "1B", "--budget", "1e21", "--teacher", "loss=2.0"), "has no size"),
        (("--student", "1B", "--budget", "1e21", "--teachers", "none.toml"), "cannot read"),
        (("--student", "1B", "--budget", "1e21", "--teacher", "size=7B"), "size and tokens"),
        (("--student", "1B", "--budget", "1e10"), "too small"),
        (("--student", "1B", "--budget", "1e21", "--plot", "x.bmp"), ".png, .svg, .pdf, .html"),
    ],
)
def test_mistakes_get_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, one line on stderr."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert words in result.stderr.lower()
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_picture_is_written(tmp_path: Path) -> None:
    """One whole SVG."""
    target = tmp_path / "teachers.svg"
    run("--budget", "1e21", "--student", "1B", "--plot", str(target), "--quiet")

    assert b"<svg" in target.read_bytes()
    assert list(tmp_path.iterdir()) == [target]
