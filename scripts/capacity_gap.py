"""The capacity gap in miniature: students that get worse as their teachers get better.

    python scripts/capacity_gap.py kernel --plot gap.svg
    python scripts/capacity_gap.py mapping --effort 0.1

Busbridge et al. 2025, App. C: kernel regression in closed form, and multilayer perceptrons on a
mapping problem. Neither has anything to do with language; both show the same U-shaped curve.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from planner.errors import PlannerError, require

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kernel:
    """f* = sum alpha_i phi_i; teacher and student see its first functions, within a norm each."""

    functions: int = 1_000
    teacher_norm: float = 5.0
    student_norm: float = 4.5
    seed: int = 0

    def coefficients(self) -> Array:
        """alpha (functions,), uniform in [-1, 1]."""
        return np.random.default_rng(self.seed).uniform(-1, 1, self.functions)

    def errors(self, student: int, teachers: NDArray[np.int64]) -> tuple[Array, Array]:
        """Errors against f* of teachers of m functions each, and of the `student` of n they teach.

        Shapes: teachers (k,), both results (k,); root of squared error.
        """
        wrong = (teachers < 1) | (teachers > self.functions)
        if wrong.any() or not 1 <= student <= self.functions:
            raise PlannerError(
                f"teachers and students have from 1 to {self.functions:,} functions, "
                f"not {teachers[wrong][0] if wrong.any() else student}"
            )
        energy = np.concatenate(([0.0], np.cumsum(self.coefficients() ** 2)))
        shared = np.minimum(teachers, student)
        scale = _into_ball(np.sqrt(energy[teachers]), self.teacher_norm)
        reach = _into_ball(scale * np.sqrt(energy[shared]), self.student_norm)

        def error(count: NDArray[np.int64], factor: Array) -> Array:
            seen, unseen = energy[count], energy[-1] - energy[count]
            return np.asarray(np.sqrt((factor - 1) ** 2 * seen + unseen))

        return error(teachers, scale), error(shared, scale * reach)


def _into_ball(norm: Array, radius: float) -> Array:
    """The factor that brings a vector of this norm into the ball."""
    return np.minimum(1.0, radius / norm)


@dataclass(frozen=True)
class Mapping:
    """Find the twin of a marked symbol.

    An input is `length` symbols from {0, 1, 2} and a one-hot mark of position i. The label is i
    where symbol i is 0, else the next position, in a circle, that holds the same symbol (the paper
    asks for another such position; "the next" makes it one). Teachers learn from labels, students
    from teachers. `effort` scales the paper's number of samples.
    """

    length: int = 10
    batch: int = 512
    learning_rate: float = 3e-4
    effort: float = 1.0
    seed: int = 0

    def sample(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs (count, 2 * length) and labels (count,)."""
        import torch

        n = self.length
        rows = torch.arange(count)
        context = torch.randint(3, (count, n), generator=generator)
        mark = torch.randint(n, (count,), generator=generator)
        symbol = context[rows, mark]
        # A symbol without a twin gets one, at a random other position.
        alone = (context == symbol[:, None]).sum(1) == 1
        twin = (mark + torch.randint(1, n, (count,), generator=generator)) % n
        context[rows[alone], twin[alone]] = symbol[alone]
        ahead = (torch.arange(1, n)[None] + mark[:, None]) % n  # the other positions, in a circle
        first = (context.gather(1, ahead) == symbol[:, None]).int().argmax(1)
        label = torch.where(symbol == 0, mark, ahead[rows, first])
        one_hot = torch.nn.functional.one_hot(mark, n)
        return torch.cat((context, one_hot), 1).float(), label

    def perceptron(self, width: int, seed: int) -> torch.nn.Sequential:
        """Two hidden layers of equal width."""
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Linear(2 * self.length, width),
                nn.ReLU(),
                nn.Linear(width, width),
                nn.ReLU(),
                nn.Linear(width, self.length),
            )

    def samples(self, width: int) -> int:
        """max(500 batches, 20 per parameter), times `effort`."""
        n = self.length
        parameters = (2 * n + 1) * width + (width + 1) * width + (width + 1) * n
        return int(self.effort * max(500 * self.batch, 20 * parameters))

    def learn(
        self,
        width: int,
        seed: int,
        teacher: torch.nn.Module | None = None,
        samples: int | None = None,
    ) -> torch.nn.Sequential:
        """A perceptron trained on labels, or on a teacher's whole distribution; no sample twice."""
        import torch
        from torch.nn import functional

        model = self.perceptron(width, seed)
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        steps = max(1, (samples or self.samples(width)) // self.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _one_cycle(steps))
        for _ in range(steps):
            inputs, labels = self.sample(self.batch, generator)
            if teacher is None:
                loss = functional.cross_entropy(model(inputs), labels)
            else:
                with torch.no_grad():
                    target = torch.softmax(teacher(inputs), -1)
                loss = functional.cross_entropy(model(inputs), target)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        return model

    def quality(self, model: torch.nn.Module, count: int = 16_384) -> float:
        """Cross-entropy on fresh labels, in nats."""
        import torch
        from torch.nn import functional

        inputs, labels = self.sample(count, torch.Generator().manual_seed(2**31 + self.seed))
        with torch.no_grad():
            return functional.cross_entropy(model(inputs), labels).item()

    def curve(
        self,
        student: int,
        teachers: list[tuple[int, int | None]],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> tuple[Array, Array]:
        """Cross-entropies of teachers, given as (width, samples), and of the students they teach.

        Samples of None are the paper's number for that width. Shapes: (len(teachers),) each.
        """
        found = []
        for number, (width, samples) in enumerate(teachers):
            teacher = self.learn(width, 2 * self.seed, samples=samples)
            pupil = self.learn(student, 2 * self.seed + 1, teacher)
            found.append((self.quality(teacher), self.quality(pupil)))
            progress(number + 1, len(teachers))
        both = np.array(found)
        return both[:, 0], both[:, 1]


def _one_cycle(steps: int) -> Callable[[int], float]:
    """5% of linear warm-up, then one half-wave of the cosine down to zero."""
    warmup = max(1, steps // 20)

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return (1 + cos(pi * (step - warmup) / max(1, steps - warmup))) / 2

    return scale


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


@click.command()
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
@click.option("--plot", metavar="FILE", help="Draw the curve.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
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
    as_json: bool,
    quiet: bool,
) -> None:
    """Compute a student's error over ever better teachers, a U-shaped curve.

    kernel: regression on basis functions in closed form, at once. mapping: small perceptrons on a
    symbol-matching problem, some minutes.
    """
    tried = _numbers(teachers)
    if problem == "kernel":
        curve = _kernel(student or 100, tried, seed)
    else:
        curve = _mapping(
            student or 32, tried, vary, teacher_width, length, effort, threads, seed, quiet
        )
    print(json.dumps(vars(curve), indent=2) if as_json else _table(curve))
    if plot is not None:
        _draw(curve, plot)


def _kernel(student: int, teachers: list[int] | None, seed: int) -> Curve:
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
    pyplot = require("matplotlib.pyplot", extra="plot")
    figure, axes = pyplot.subplots(layout="constrained")
    for name, values in (("teacher", curve.teacher), ("student", curve.student)):
        axes.plot(curve.x, values, label=name)
    axes.plot([curve.x[curve.best]], [curve.student[curve.best]], "o", label="best student")
    axes.set(xscale="log", xlabel=curve.axis, ylabel=curve.measure, title=curve.title)
    axes.legend()
    figure.savefig(path)
    pyplot.close(figure)


if __name__ == "__main__":
    try:
        command()
    except PlannerError as error:
        sys.exit(f"error: {error}")
