"""`sweep` as people run it, killed and continued."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.catalogue import catalogue
from planner.cli import plan

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> Result:
    """The command; anything but a clean exit is a traceback here."""
    return CliRunner().invoke(plan, ["sweep", *arguments], catch_exceptions=False)


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_becomes_a_file_and_a_picture(tmp_path: Path) -> None:
    """Every point one row; stdout stays empty, remarks go to stderr."""
    target, picture = tmp_path / "out.csv", tmp_path / "out.png"
    result = run("--budget", "1e19:1e23:5", "--student", "300M,1B", "--scenario", "all",
                 "--output", str(target), "--plot", str(picture))  # fmt: skip
    rows = read(target)

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "40 points" in result.stderr
    assert len(rows) == 40
    assert {row["scenario"] for row in rows} >= {"best-case", "full"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out.csv", "out.png"]


def test_charges_and_teachers_span_the_grid(tmp_path: Path) -> None:
    """Fractional charges; existing teachers pay for logits unless said otherwise."""
    target = tmp_path / "out.csv"
    run("--budget", "1e21", "--student", "1B", "--charges", "1:0.125,0.5:0", "--output",
        str(target), "--quiet")  # fmt: skip
    assert [row["scenario"] for row in read(target)] == ["custom", "custom"]

    run("--budget", "1e21", "--student", "1B", "--teachers", "catalogue", "--output",
        str(target), "--quiet")  # fmt: skip
    rows = read(target)
    assert len(rows) == len(catalogue()) > 40
    assert {row["scenario"] for row in rows} == {"teacher-inference"}


def test_a_sweep_killed_by_a_signal_continues(tmp_path: Path) -> None:
    """SIGKILL in the middle; the same command ends with the same bytes as an undisturbed one."""
    arguments = ["--budget", "1e19:1e24:60", "--student", "300M,1B,3B", "--scenario", "all",
                 "--chunk", "20", "--quiet", "--output"]  # fmt: skip
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    assert run(*arguments, str(whole)).exit_code == 0
    command = [sys.executable, "-m", "planner.cli", "sweep", *arguments, str(broken)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    parts = tmp_path / "broken.jsonl.parts"
    limit = time.monotonic() + 60
    while len(list(parts.glob("*.jsonl"))) < 3 and time.monotonic() < limit:
        assert process.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(parts.glob("*.json")))

    assert not broken.exists()
    assert kept >= 2
    assert run(*arguments, str(broken)).exit_code == 0
    assert broken.read_bytes() == whole.read_bytes()
    assert not parts.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--budget", "1e23:1e19:5", "--output", "out.csv"), "swap"),
        (("--budget", "1e19:1e23:0", "--output", "out.csv"), "point"),
        (("--budget", "1e21", "--output", "out.txt"), ".csv, .jsonl, .parquet"),
        (("--budget", "1e21", "--scenario", "cheap", "--output", "out.csv"), "unknown scenario"),
        (("--budget", "1e21", "--charges", "2:0", "--output", "out.csv"), "between 0 and 1"),
        (("--budget", "1e21", "--charges", "1", "--output", "out.csv"), "INFERENCE:PRETRAINING"),
        (("--budget", "1e21", "--output", "/no/such/out.csv"), "does not exist"),
        (("--budget", "1e21", "--output", "out.csv", "--plot", "out.tif"), ".png, .svg"),
    ],
)
def test_mistakes_get_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    """Exit code 2, one line on stderr, no file left."""
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)

    assert result.exit_code == 2
    assert words.lower() in result.stderr.lower()
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
