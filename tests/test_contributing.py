"""The worked examples of CONTRIBUTING are built in a copy of the tree, and their commands run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.fit.simulated import supervised

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### (.+?)\n(.*?)(?=^###? )", re.MULTILINE | re.DOTALL)
PIECE = re.compile(r"^`([\w/.]+)`:$|^```(py|diff|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    title: body
    for title, body in SECTION.findall(PAGE[PAGE.index("## How to add") :])
    if "```console" in body
}


def pieces(body: str) -> Iterator[tuple[str, str, str]]:
    """(path, kind, text) of every block of an example; a block belongs to the path before it."""
    path = ""
    for named, kind, text in PIECE.findall(body):
        path = named or path
        if kind:
            yield path, kind, text


def insert(path: Path, change: str) -> None:
    """Add the marked lines where the others stand in the file, which has them once."""
    lines = change.splitlines()
    before = "".join(f"{line[1:]}\n" for line in lines if line.startswith(" "))
    after = "".join(f"{line[1:]}\n" for line in lines)
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path} has no such lines: {before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the packages, with runs to fit."""
    for package in ("laws", "coefficients", "planner"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    rows = supervised(80)
    table = np.stack([rows.parameters, rows.tokens, rows.loss], axis=1)
    header = "parameters,tokens,loss"
    np.savetxt(tmp_path / "supervised.csv", table, "%.10g", ",", header=header, comments="")
    return tmp_path


@pytest.mark.parametrize("title", EXAMPLES)
def test_a_worked_example_works(tree: Path, title: str) -> None:
    """What its files and lines add is there, as the lines below each command say."""
    commands = 0
    for path, kind, text in pieces(EXAMPLES[title]):
        target = tree / path
        if kind == "py":
            assert not target.exists(), path
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
        elif kind == "diff":
            insert(target, text)
        else:
            for command in text.removeprefix("$ ").split("\n$ "):
                line, _, expected = command.partition("\n")
                printed = run(tree, line)
                for each in expected.splitlines():
                    assert each in printed, printed
                commands += 1
    assert commands


def run(tree: Path, line: str) -> str:
    """What a command prints in the copied tree."""
    program, *words = line.split()
    code = f"from planner.cli import {program}_entry; {program}_entry()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tree, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout


def test_every_registry_has_an_example() -> None:
    """A law, a scenario, a format, a warning and a question."""
    assert list(EXAMPLES) == ["A law", "A scenario", "An output format", "A warning", "A question"]
