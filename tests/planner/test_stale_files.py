"""What killed writers leave behind is cleared up, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from planner.files import clear_stale, temporary_name, write_whole

ROOT = Path(__file__).parents[2]

KILLED = """
import os, signal, sys
from pathlib import Path
from planner.files import whole
from planner.trainer.files import write_directory

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def fill(folder):
    (folder / "part").write_text("half")
    die()

kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "folder":
    write_directory(path, fill)
with whole(path) as file:
    file.write(b"half")
    file.flush()
    die()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writers_remains_are_cleared_by_the_next(kind: str, tmp_path: Path) -> None:
    """The next write into a folder removes what a killed process left, and keeps what was there."""
    target = tmp_path / "plan.json"
    if kind == "file":
        target.write_text("old")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    dead = subprocess.run(
        [sys.executable, "-c", KILLED, kind, str(target)], env=environment, check=False
    )
    assert dead.returncode == -signal.SIGKILL
    assert len([path for path in tmp_path.iterdir() if path != target]) == 1
    if kind == "file":
        assert target.read_text() == "old"
    write_whole(tmp_path / "other.json", "new")
    assert {path.name for path in tmp_path.iterdir()} <= {"plan.json", "other.json"}
    assert target.exists() == (kind == "file")


def test_what_others_write_stays(tmp_path: Path) -> None:
    """A live process's files, another machine's, and files that only look alike are left alone."""
    mine = temporary_name("a")
    dead = subprocess.Popen([sys.executable, "-c", "0"])
    dead.wait()

    def of(process: int) -> str:
        return mine.replace(f"-{os.getpid()}.tmp", f"-{process}.tmp")

    kept = {
        mine,
        of(os.getppid()),
        of(1),  # which need not be ours to signal
        f".a.elsewhere-{dead.pid}.tmp",
        f".a.{dead.pid}.tmp",
        of(dead.pid).removeprefix("."),
        ".a",
    }
    for name in kept:
        (tmp_path / name).write_text("theirs")
    (tmp_path / of(dead.pid)).write_text("left")
    clear_stale(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept
