"""`planner capacity-gap`: students that get worse as their teachers get better, in miniature."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import click

from planner.cli import console
from planner.cli.options import output_options, plot_option
from planner.cli.output import Output
from planner.errors import PlannerError


@dataclass(frozen=True)
class Curve:
    """Errors of teachers and of the students they teach, over one property of the teachers."""

    title: str
    axis: str
    measure: str
    x: list[float]
    teacher: list[float]
    student: list[float]

    @property
    def best(self) -> int:
        """Which teacher makes the best student."""
        return min(range(len(self.x)), key=self.student.__getitem__)


@click.command(
    "capacity-gap",
    short_help="Show the capacity gap in two miniatures (App. C).",
    epilog="Example: planner capacity-gap kernel --plot gap.svg",
)
@click.argument("problem", type=click.Choice(["kernel", "mapping"]))
@click.option("--student", type=int, help="Functions (kernel: 100) or width (mapping: 32).")
@click.option("--teachers", metavar="LIST", help="Teachers to try, as in 8,16,32,64.")
@click.option("--vary", type=click.Choice(["size", "data"]), default="size", show_default=True,
              help="What makes the mapping's teachers better.")  # fmt: skip
@click.option("--teacher-width", default=128, show_default=True, help="With --vary data.")
@click.option("--length", type=int, help="Symbols of the mapping problem.")
@click.option("--effort", default=1.0, show_default=True, help="Times the paper's samples.")
@click.option("--threads", default=1, show_default=True, help="CPU threads; small nets want one.")
@click.option("--seed", default=0, show_default=True)
@plot_option("Draw the curve")
@output_options(("table", "json"))
def command(
    problem: str,
    student: int | None,
    teachers: str | None,
    vary: str,
    teacher_width: int,
    length: int | None,
    effort: float,
    threads: int,
    seed: int,
    plot: str | None,
    output: Output,
) -> None:
    """Draw the U-shaped curve of a student's error over ever better teachers.

    kernel: regression on basis functions in closed form, at once. mapping: small perceptrons on a
    symbol-matching problem, some minutes.
    """
    tried = _numbers(teachers)
    if problem == "kernel":
        curve = _kernel(student or 100, tried, seed)
    else:
        curve = _mapping(
            student or 32, tried, vary, teacher_width, length, effort, threads, seed, output.quiet
        )
    output.write(json.dumps(vars(curve), indent=2) if output.format == "json" else _table(curve))
    if plot is not None:
        _draw(curve, plot)


def _kernel(student: int, teachers: list[int] | None, seed: int) -> Curve:
    import numpy as np

    from planner.trainer.capacity_gap import Kernel

    problem = Kernel(seed=seed)
    counts = np.array(teachers or range(1, problem.functions + 1))
    errors = problem.errors(student, counts)
    title = f"Kernel regression, a student of {student} functions"
    return Curve(title, "Functions of the teacher", "Error", counts.tolist(), *map(list, errors))


def _mapping(
    student: int,
    teachers: list[int] | None,
    vary: str,
    width: int,
    length: int | None,
    effort: float,
    threads: int,
    seed: int,
    quiet: bool,
) -> Curve:
    from planner.errors import require
    from planner.trainer.capacity_gap import Mapping
    from planner.trainer.record import progress_bar, silent

    require("torch", extra="trainer").set_num_threads(threads)
    problem = Mapping(**({"length": length} if length else {}), effort=effort, seed=seed)
    if vary == "size":
        x = teachers or [4, 8, 16, 32, 64, 128, 256]
        cases: list[tuple[int, int | None]] = [(each, None) for each in x]
    else:
        x = teachers or [problem.batch * 125 * 2**n for n in range(7)]
        cases = [(width, each) for each in x]
    if quiet:
        errors = problem.curve(student, cases, lambda done, total: silent(done, total, ""))
    else:
        with progress_bar("teachers") as bar:
            errors = problem.curve(student, cases, lambda done, total: bar(done, total, ""))
    axis = "Width of the teacher" if vary == "size" else "Samples of the teacher"
    title = f"Mapping problem, a student of width {student}"
    return Curve(title, axis, "Cross-entropy, nats", [float(v) for v in x], *map(list, errors))


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise PlannerError(f"--teachers '{text}' is not a list like 8,16,32") from error
    if min(numbers) < 1:
        raise PlannerError(f"--teachers '{text}' holds a number below 1")
    return numbers


def _table(curve: Curve) -> str:
    step = max(1, len(curve.x) // 20)
    shown = sorted({*range(0, len(curve.x), step), curve.best, len(curve.x) - 1})
    lines = [f"{curve.title} ({curve.measure.lower()})", f"{curve.axis:>26}    teacher    student"]
    for i in shown:
        mark = "  best student" if i == curve.best else ""
        lines.append(
            f"{curve.x[i]:>26,.0f} {curve.teacher[i]:>10.4f} {curve.student[i]:>10.4f}{mark}"
        )
    return "\n".join(lines)


def _draw(curve: Curve, path: str) -> None:
    from planner.plots import style

    with style.drawing():
        figure, axes = style.figure()
        for name, values, colour in (
            ("teacher", curve.teacher, style.CYCLE[0]),
            ("student", curve.student, style.CYCLE[1]),
        ):
            axes.plot(curve.x, values, color=colour, label=name)
        style.log_axis(axes.xaxis, min(curve.x), max(curve.x), curve.axis)
        axes.set_ylabel(curve.measure)
        best, last = curve.student[curve.best], curve.student[-1]
        finding = (
            "A better teacher can make a worse student"
            if last > best
            else "Within these teachers, better ones make better students"
        )
        style.title(axes, finding, curve.title)
        axes.plot([curve.x[curve.best]], [best], "o", color=style.CYCLE[1])
        style.label_lines(
            axes,
            [
                style.Label(curve.x[-1], curve.teacher[-1], "teacher", style.CYCLE[0]),
                style.Label(curve.x[-1], last, "student", style.CYCLE[1]),
            ],
        )
        style.save(figure, path, curve.title)
    console.remark(f"Wrote {Path(path)}")
