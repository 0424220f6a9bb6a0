"""A result that cannot be written is one sentence and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, where every write fails")
@pytest.mark.parametrize(
    "words", [["--budget", "1e21", "--student", "1B"], ["--help"], ["coefficients"]]
)
def test_a_full_disk_is_a_sentence(words: list[str]) -> None:
    """No traceback, nothing from the interpreter as it shuts down."""
    code = "from planner.cli import plan_entry; plan_entry()"
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "Error: cannot write the result: no space left on device; write it elsewhere.\n"
    )
