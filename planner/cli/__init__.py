"""The command line: `plan` and `planner` are one click program.

To register a command: write `planner/cli/<name>.py` with one click command, add one line to
COMMANDS, and a section to docs/cli.md (a test asks for it). Heavy imports belong inside functions.
"""

from __future__ import annotations

from planner.cli.group import QUESTION, PlanGroup, PlannerGroup
from planner.questions import QUESTIONS

COMMANDS: dict[str, str] = {
    **{name: QUESTION for name, entry in QUESTIONS.items() if entry.command},
    "sweep": "planner.cli.sweep:sweep",
    "fit": "planner.cli.fit:command",
    "calibrate": "planner.cli.calibrate:command",
    "predict": "planner.cli.predict:command",
    "experiments": "planner.cli.experiments:command",
    "validate": "planner.cli.validate:validate",
    "export": "planner.cli.export:command",
    "train": "planner.cli.train:command",
    "measure-teacher": "planner.cli.measure_teacher:command",
    "benchmark": "planner.cli.benchmark:command",
    "export-model": "planner.cli.export_model:command",
    "coefficients": "planner.cli.coefficients:coefficients",
    "schema": "planner.cli.schema:schema",
    "serve": "planner.cli.serve:serve",
}
"""Command name -> "module:attribute", or QUESTION; imported when the command is used."""

planner = PlannerGroup("planner", COMMANDS)
plan = PlanGroup("plan", COMMANDS)


def planner_entry() -> None:
    """Console script `planner`: every command by name."""
    planner.main(prog_name="planner")


def plan_entry() -> None:
    """Console script `plan`: options alone mean the command `plan`, a name means that command."""
    plan.main(prog_name="plan")
