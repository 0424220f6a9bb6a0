"""What holds for every command: help with an example, a section in docs/cli.md, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner

from coefficients import available
from planner.cli import COMMANDS, plan, planner
from planner.documents import schema
from planner.questions import QUESTIONS

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def command(name: str) -> click.Command:
    """The command itself."""
    found = planner.get_command(click.Context(planner), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    """Help shows how the command is typed."""
    result = CliRunner().invoke(planner, [name, "--help"], catch_exceptions=False)

    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert command(name).name == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """A command without a section in docs/cli.md does not ship."""
    assert f"## `{name}`" in DOCS.read_text(encoding="utf-8")


def test_every_option_of_plan_is_documented() -> None:
    """docs/cli.md names each option as it is spelled."""
    text = DOCS.read_text(encoding="utf-8")
    names = [name for option in command("plan").params for name in option.opts]

    assert [name for name in names if f"`{name}" not in text] == []


def test_help_of_plan_names_the_other_commands() -> None:
    """`plan --help` is where people start."""
    text = CliRunner().invoke(plan, ["--help"], catch_exceptions=False).stdout

    assert text.startswith("Usage: plan [OPTIONS]")
    assert all(name in text for name in COMMANDS)
    assert CliRunner().invoke(plan, ["plan", "--help"]).stdout == text


def test_planner_alone_lists_its_commands() -> None:
    """Help, not an error, for a bare `planner`."""
    result = CliRunner().invoke(planner, [])

    assert all(name in result.output for name in COMMANDS)


def test_version() -> None:
    """Both programs say which version they are."""
    for group in (plan, planner):
        result = CliRunner().invoke(group, ["--version"], catch_exceptions=False)
        assert result.exit_code == 0
        assert result.stdout.startswith("distillation-planner ")


def test_coefficients_are_listed_and_shown() -> None:
    """Every shipped set by name; one of them with values, intervals, domain and source."""
    listed = CliRunner().invoke(planner, ["coefficients"], catch_exceptions=False).stdout
    shown = CliRunner().invoke(planner, ["coefficients", "busbridge2025"]).stdout

    assert all(name in listed for name in available())
    for piece in ("522.6", "[1.19, 1.247]", "143M to 12.6B", "arXiv 2502.08606", "Eq. 69"):
        assert piece in shown


def test_unknown_coefficients_are_suggested() -> None:
    """The nearest name helps."""
    result = CliRunner().invoke(planner, ["coefficients", "besirolu2024"])

    assert result.exit_code == 2
    assert "Did you mean besiroglu2024" in result.stderr


@pytest.mark.parametrize("kind", QUESTIONS)
def test_schema_prints_what_describes_the_answers(kind: str) -> None:
    """One schema for each question; that of plans unless another is named."""
    printed = CliRunner().invoke(planner, ["schema", kind], catch_exceptions=False).stdout

    assert json.loads(printed) == schema(QUESTIONS[kind].answer)
    if kind == "plan":
        assert CliRunner().invoke(planner, ["schema"]).stdout == printed


RUNS = "parameters,tokens,cross_entropy\n" + "".join(
    f"{n}e8,{d}e9,{1.22 + (3355 / (n * 1e8) ** 0.408 + 18186 / (d * 1e9) ** 0.431) ** 0.452}\n"
    for n in (1, 2, 4, 8)
    for d in (2, 5, 12, 30)
)
"""Supervised runs that lie on the law of Table 6."""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("fit", ["fit", "{runs}", "--law", "supervised", "--bootstrap", "0", "--no-judgement"]),
        ("prediction", ["predict", "busbridge2025", "--at", "{runs}"]),
        ("calibration", ["calibrate", "besiroglu2024", "{runs}"]),
        ("design", ["experiments", "design", "--budget", "1e20"]),
    ],
)
def test_schema_describes_the_other_reports(kind: str, words: list[str], tmp_path: Path) -> None:
    """Every kind of report has one, and the documents that the commands write keep to it."""
    from planner.cli.schema import REPORTS, _class

    assert {_class(name).KIND: name for name in REPORTS} == {name: name for name in REPORTS}
    (tmp_path / "runs.csv").write_text(RUNS)
    given = [word.format(runs=tmp_path / "runs.csv") for word in words]
    found = CliRunner().invoke(planner, [*given, "--format", "json"], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    printed = CliRunner().invoke(planner, ["schema", kind], catch_exceptions=False).stdout
    jsonschema.Draft202012Validator(json.loads(printed)).validate(json.loads(found.stdout))
    assert json.loads(found.stdout)["kind"] == kind


@pytest.mark.parametrize("name", [name for name, entry in QUESTIONS.items() if entry.command])
def test_every_field_of_a_question_is_an_option_with_help(name: str) -> None:
    """Commands derive from the fields; nothing is left without a description."""
    options = {each.name: each for each in command(name).params}
    shown = [each for each in fields(QUESTIONS[name].question) if "description" in each.metadata]

    assert {each.name for each in shown} <= options.keys()
    for each in options.values():
        assert isinstance(each, click.Argument) or getattr(each, "help", None), each.name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("plan --bud", "--budget"),
        ("plan sch", "schema"),
        ("plan --scenario tea", "teacher-inference"),
        ("plan plan --coefficients bes", "besiroglu2024"),
        ("plan --format to", "toml"),
    ],
)
def test_shell_completion(words: str, expected: str) -> None:
    """Options, commands and values complete, after `plan` alone as well."""
    code = "from planner.cli import plan_entry; plan_entry()"
    parts = words.split()
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={
            **os.environ,
            "_PLAN_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(parts) - 1),
        },
    )

    assert expected in [line.partition(",")[2] for line in result.stdout.splitlines()]
