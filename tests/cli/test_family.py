"""`family` as people run it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli import plan


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner(env={"COLUMNS": "100"}).invoke(
        plan, ["family", *arguments], catch_exceptions=False
    )


def test_the_split_the_proof_and_the_count_are_shown() -> None:
    """A small family at a small budget, stored logits."""
    result = run("--budget", "1e20", "--student", "300Mx8", "--cached", "--growth", "--details")

    assert result.exit_code == 0
    for words in ("300M × 8", "Teacher pretraining", "Proven optimum", "pays from 9 students on"):
        assert words in result.stdout
    # 0.0024 nats, and outside the measured range
    assert "Not measured here: training without a teacher leads by extrapolation" in result.stdout


def test_json_adds_up() -> None:
    """Terms are the total, the bound is below the value, the weighted mean is the value."""
    text = run(
        "--budget", "1e21", "--student", "300M,1B", "--weight", "1,3", "--format", "json"
    ).stdout
    document = json.loads(text)
    flops = document["flops"]
    rows = document["students"]

    terms = ("student_training", "teacher_inference", "teacher_pretraining", "serving")
    assert sum(flops[term] for term in terms) == pytest.approx(flops["total"])
    assert flops["total"] == pytest.approx(1e21, rel=1e-6)
    mean = (rows[0]["model"]["cross_entropy"] + 3 * rows[1]["model"]["cross_entropy"]) / 4
    assert document["objective"] == pytest.approx(mean, abs=1e-12)
    assert document["lower_bound"] <= document["objective"]
    assert document["proven"]
    assert document["growth"] is None


def test_targets_find_the_budget() -> None:
    """No budget given, one found."""
    document = json.loads(
        run("--student", "300M,1B", "--target", "2.6,2.35", "--format", "json").stdout
    )
    assert document["by_targets"]
    assert document["lower_bound"] <= document["objective"]
    for row in document["students"]:
        assert row["model"]["cross_entropy"] <= row["member"]["target"] + 1e-9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--student", "1B"), "either --budget"),
        (("--student", "1B", "--budget", "1e21", "--target", "2.3"), "either --budget"),
        (("--student", "1B,,2B", "--budget", "1e21"), "empty entry"),
        (("--student", "1Bxmany", "--budget", "1e21"), "no count"),
        (("--student", "1B,2B", "--budget", "1e21", "--weight", "1,2,3"), "3 entries for 2"),
        (("--student", "1B", "--budget", "1e21", "--weight", "-1"), "positive"),
        (("--student", "1B", "--budget", "1e12"), "too small"),
        (("--student", "1B", "--target", "1.3"), "cannot reach"),
        (("--student", "1B", "--budget", "1e21", "--plot", "family.gif"), ".png, .svg, .pdf"),
        (("--student", "1B", "--budget", "1e21", "--plot", "/no/such/family.png"), "does not"),
    ],
)
def test_mistakes_get_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    result = run(*arguments)

    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_the_picture_is_written_whole(tmp_path: Path) -> None:
    """One file and nothing beside it; the kinds of files are the same for every picture."""
    target = tmp_path / "family.png"
    result = run("--budget", "1e20", "--student", "300M,500M", "--plot", str(target), "--quiet")

    assert result.exit_code == 0
    assert target.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [target]
