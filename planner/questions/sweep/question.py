"""The question `sweep`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from planner import units
from planner.errors import ProblemError
from planner.problem import Teacher
from planner.questions.base import Bounded, Measured, Question, Served, Teachers
from planner.questions.fields import Words, grid_of, option
from planner.questions.hardware import Offered
from planner.scenarios import DEFAULT_SCENARIO, SCENARIOS

if TYPE_CHECKING:
    from planner.questions.sweep.answer import Sweep
    from planner.questions.sweep.grid import Grid


@dataclass(frozen=True, kw_only=True)
class SweepQuestion(Measured, Served, Bounded, Teachers, Offered, Question):
    """Solve every combination of budgets, students, scenarios, teachers and charges.

    Each row is a certified plan beside the supervised loss.
    """

    NAME: ClassVar[str] = "sweep"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"budget": "1e20:1e23:7", "students": ["300M", "1B"]}

    budget: Words = option(
        "Budgets parted by commas, or log-spaced ranges like 1e19:1e24:20 (else 50 points).",
        metavar="FLOPS|LOW:HIGH:POINTS[,...]",
    )
    students: Words = option(
        "Student sizes in the same way; left out, sizes are planned.",
        default=(),
        metavar="SIZE|LOW:HIGH:POINTS[,...]",
        flag="--student",
    )
    scenarios: Words = option(
        f"Scenarios parted by commas, or all; {DEFAULT_SCENARIO} unless given, teacher-inference "
        "for teachers that exist.",
        default=(),
        metavar="NAME[,...]|all",
        flag="--scenario",
    )
    charges: Words = option(
        "Further shares of the teacher's costs to pay, like 1:0.125,0.5:0.",
        default=(),
        metavar="INFERENCE:PRETRAINING[,...]",
    )
    source: str | None = option(
        "Sweep over existing teachers of a TOML file, or the shipped open models.",
        default=None,
        metavar="FILE|catalogue",
        flag="--teachers",
        file=True,
        choices=lambda: ("catalogue",),
    )

    def grid(self) -> Grid:
        """The product of everything varied."""
        from planner.catalogue import load
        from planner.questions.sweep.grid import Grid

        budgets = grid_of(self.budget, partial(units.parse_flops, offer=self.offer), "budget")
        if not budgets:
            raise ProblemError("a sweep needs budgets; give one like 1e21, or 1e19:1e24:20.")
        sizes: tuple[float | None, ...] = grid_of(self.students, units.parse_count, "student size")
        base = self.problem(budget=budgets[0], charge_inference=0.0)
        existing: tuple[Teacher | None, ...] = base.teachers
        if self.source is not None:
            existing += tuple(entry.teacher for entry in load(self.source, self.context))
        charges = self._charges("teacher-inference" if existing else DEFAULT_SCENARIO)
        base = replace(base, teachers=(), charge_inference=1.0)
        return Grid(base, budgets, sizes or (None,), charges, existing or (None,))

    @property
    def points(self) -> int:
        """Rows of the grid."""
        return len(self.grid())

    def answer(self) -> Sweep:
        """All rows, infeasible ones among them."""
        from planner.questions.sweep.answer import sweep

        return sweep(self.grid(), self.coefficient_set())

    def _charges(self, usual: str) -> tuple[tuple[float, float], ...]:
        names = self.scenarios or (() if self.charges else (usual,))
        found: list[tuple[float, float]] = []
        for name in SCENARIOS if names == ("all",) else names:
            if name not in SCENARIOS:
                raise ProblemError(
                    f"unknown scenario '{name}'; known: all, {', '.join(SCENARIOS)}."
                )
            found.append(SCENARIOS[name].charges)
        for pair in self.charges:
            left, colon, right = pair.partition(":")
            if not colon:
                raise ProblemError(f"charges '{pair}' are not INFERENCE:PRETRAINING, like 1:0.125.")
            found.append((units.parse_plain(left, "charges"), units.parse_plain(right, "charges")))
        return tuple(dict.fromkeys(found))


QUESTION = SweepQuestion
