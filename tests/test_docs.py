"""README and docs are executed: their Python, their shell lines, and the printed plan."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from planner import Problem, solve
from planner.cli import plan, planner
from tests.fit.simulated import distillations
from tests.service.conftest import serving

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")],
    key=lambda path: path.name,
)
PROGRAMS = {"plan": plan, "planner": planner}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:plan|planner) [^`]*)`")
HEADER = "student_parameters,student_tokens,teacher_cross_entropy,student_cross_entropy"
SERVER = "http://127.0.0.1:8000"


def name(page: Path) -> str:
    """A page as it is named in messages."""
    return page.name


def shell_lines(page: Path) -> Iterator[list[str]]:
    """The words of every line of a block, or of inline code, that calls one of the programs."""
    text = page.read_text(encoding="utf-8")
    blocks = [body for kind, body in BLOCK.findall(text) if kind in ("", "sh", "bash")]
    lines = [line for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    lines += INLINE.findall(BLOCK.sub("", text))
    for line in lines:
        if "..." in line or "_COMPLETE=" in line or re.match(r" *(#|plan(ner)? +=)", line):
            continue
        yield from calls(line)


def calls(line: str) -> Iterator[list[str]]:
    """The simple commands of a shell line that call one of the programs; redirections go."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if set(token) <= set("|&;<>"):
            if words and words[0] in PROGRAMS:
                yield words
            words = []
        else:
            words.append(token)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(solve(Problem(1e21, 1e9)).render("toml"))
    rows = distillations(runs=160)
    columns = (rows.parameters, rows.tokens, rows.teacher_loss, rows.loss)
    lines = [",".join(map(repr, map(float, row))) for row in zip(*columns, strict=True)]
    (tmp_path / "runs.csv").write_text("\n".join([HEADER, *lines]))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_give_what_they_print(page: Path, folder: Path) -> None:
    """Each ```python block is a doctest; the blocks of a page share their names."""
    blocks = [body for kind, body in BLOCK.findall(page.read_text("utf-8")) if kind == "python"]
    assert all(">>>" in body for body in blocks), "a block of Python without >>> is not executed"
    text = "\n".join(blocks)
    if SERVER in text:
        with serving() as server:
            failed, tried = run_doctest(page, text.replace(SERVER, server.url))
    else:
        failed, tried = run_doctest(page, text)

    assert failed == 0
    assert tried >= len(blocks)


def run_doctest(page: Path, text: str) -> tuple[int, int]:
    """Failed and tried examples of a text."""
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test)
    return runner.failures, runner.tries


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_shell_lines_are_understood(page: Path) -> None:
    """Every `plan ...` and `planner ...` names a command, and options and values that it has."""
    for words in shell_lines(page):
        understood(words)


def understood(words: list[str]) -> None:
    """Raises what click says of a command line, without running it."""
    command: click.Command = PROGRAMS[words[0]]
    arguments = words[1:]
    context = click.Context(command, info_name=words[0])
    while isinstance(command, click.Group):
        first = arguments[0] if arguments else "--help"
        if first in ("--help", "--version"):
            return
        if command is plan and first.startswith("-"):
            arguments = ["plan", *arguments]
        found = command.get_command(context, arguments[0])
        assert found is not None, f"{' '.join(words)}: no command {arguments[0]}"
        command, arguments = found, arguments[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    try:
        command.make_parser(context).parse_args(arguments)
    except click.UsageError as error:
        raise AssertionError(f"{' '.join(words)}: {error.message}") from error


def test_shell_lines_are_found() -> None:
    """The reader of the pages sees them: pipes, comments and continued lines among them."""
    line = 'plan --budget "30 PFLOP-days" --format json | jq .x > file && planner serve  # here'
    assert [*calls(line)] == [
        ["plan", "--budget", "30 PFLOP-days", "--format", "json"],
        ["planner", "serve"],
    ]
    assert sum(1 for page in PAGES for _ in shell_lines(page)) > 60
    with pytest.raises(AssertionError, match="--budgets"):
        understood(["plan", "--budgets", "1e21"])
    with pytest.raises(AssertionError, match="no command"):
        understood(["planner", "plans"])


def test_printed_plan_is_what_the_program_prints() -> None:
    """The block under a command is that command's output, words and layout; digits to the eye."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- output: plan (.*?) -->\n```text\n(.*?)```", text, re.S)
    assert found is not None
    run = [sys.executable, "-m", "planner.cli", "plan", *shlex.split(found[1])]
    env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}

    printed = subprocess.run(run, capture_output=True, check=True, env=env, encoding="utf-8").stdout

    proof = re.compile(r"within\s+\S+ of that|\S+ boxes")  # may differ in the last digits
    assert proof.sub("", printed) == proof.sub("", found[2])
