"""Any grid of planning problems through the vectorised solver, chunk by chunk.

A grid is a product of budgets, students, charges and teachers; point i is decoded from its number,
so memory holds one chunk only. Chunks are solved in order and always with the same boundaries, so a
sweep that was interrupted and continued gives the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from coefficients import CoefficientSet
from planner.errors import ProblemError
from planner.optima import Many, solve_many
from planner.problem import Problem, Teacher
from planner.rows import require_distillation
from planner.scenarios import SCENARIOS, scenario_of

CHUNK = 2000
LARGEST = 50_000_000

COLUMNS = (
    "budget", "student", "scenario", "charge_inference", "charge_pretraining", "teacher",
    "feasible", "student_parameters", "student_tokens", "teacher_parameters", "teacher_tokens",
    "teacher_cross_entropy", "cross_entropy", "lower_bound", "gap", "supervised_cross_entropy",
    "difference", "flops", "in_domain",
)  # fmt: skip
"""Names of a row's values. A student left open is null; what does not exist is null."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """The product of everything varied. `base` holds what stays: bounds, tolerance, coefficients.

    students: None leaves the size open. charges: (inference, pretraining). teachers: None plans
    one.
    The last of budgets, students, charges, teachers varies fastest.
    """

    base: Problem
    budgets: tuple[float, ...]
    students: tuple[float | None, ...] = (None,)
    charges: tuple[tuple[float, float], ...] = (SCENARIOS["full"].charges,)
    teachers: tuple[Teacher | None, ...] = (None,)

    def __post_init__(self) -> None:
        if len(self) > LARGEST:
            raise ProblemError(
                f"the grid has {len(self):,} points, more than {LARGEST:,}; split it or coarsen it."
            )
        for name in ("budgets", "students", "charges", "teachers"):
            values = getattr(self, name)
            if not values:
                raise ProblemError(f"the grid has no {name}; it would be empty.")
            if len(set(values)) < len(values):
                raise ProblemError(f"the grid's {name} name the same value twice; keep one.")
        for student in self.students:  # mistakes are answered before the first chunk
            for charges in self.charges:
                for teacher in self.teachers:
                    self._problem(self.budgets[0], student, charges, teacher)

    def __len__(self) -> int:
        return len(self.budgets) * len(self.students) * len(self.charges) * len(self.teachers)

    def problem(self, index: int) -> Problem:
        """The problem at a position of the grid."""
        rest, teacher = divmod(index, len(self.teachers))
        rest, charge = divmod(rest, len(self.charges))
        budget, student = divmod(rest, len(self.students))
        return self._problem(
            self.budgets[budget], self.students[student], self.charges[charge],
            self.teachers[teacher],
        )  # fmt: skip

    def _problem(
        self, budget: float, student: float | None, charges: tuple[float, float],
        teacher: Teacher | None,
    ) -> Problem:  # fmt: skip
        return replace(
            self.base,
            budget=budget,
            student=student,
            charge_inference=charges[0],
            charge_pretraining=charges[1],
            teachers=() if teacher is None else (teacher,),
        )

    def fingerprint(self, chunk: int, form: str, coefficients: CoefficientSet) -> str:
        """What a sweep's parts must agree on to be continued: the whole question and its laws."""
        law = require_distillation(coefficients)
        values = [
            asdict(self.base), self.budgets, self.students, self.charges,
            [None if each is None else asdict(each) for each in self.teachers],
            chunk, form, COLUMNS, repr(law), repr(coefficients.flops), repr(coefficients.domain),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()


def chunks(grid: Grid, size: int = CHUNK) -> Iterator[range]:
    """Positions of the grid in chunks."""
    for start in range(0, len(grid), size):
        yield range(start, min(start + size, len(grid)))


def solve_chunk(
    grid: Grid, positions: range, coefficients: CoefficientSet | None = None
) -> list[Row]:
    """Rows of a part of the grid, certified, infeasible points among them."""
    chosen = grid.base.coefficient_set(coefficients)
    problems = [grid.problem(index) for index in positions]
    found = solve_many(problems, chosen)
    inside = found.inside(chosen)
    return [_row(problem, found, i, bool(inside[i])) for i, problem in enumerate(problems)]


def _row(problem: Problem, found: Many, i: int, inside: bool) -> Row:
    teacher = problem.teachers[0] if problem.teachers else None
    row: Row = {
        "budget": problem.budget,
        "student": problem.student,
        "scenario": scenario_of(problem.charge_inference, problem.charge_pretraining),
        "charge_inference": problem.charge_inference,
        "charge_pretraining": problem.charge_pretraining,
        "teacher": None if teacher is None else (teacher.name or str(teacher)),
        "feasible": bool(found.feasible[i]),
    }
    names = ("student_parameters", "student_tokens", "teacher_parameters", "teacher_tokens",
             "teacher_cross_entropy", "cross_entropy", "lower_bound", "gap",
             "supervised_cross_entropy", "flops")  # fmt: skip
    values = {name: float(getattr(found, name)[i]) for name in names}
    if problem.student is not None and row["feasible"]:
        values["student_parameters"] = problem.student  # exp(log(x)) is not always x
    if not row["feasible"]:
        kept = values["supervised_cross_entropy"]
        values = {**dict.fromkeys(names, math.nan), "supervised_cross_entropy": kept}
    values["difference"] = values["cross_entropy"] - values["supervised_cross_entropy"]
    row.update({name: value if math.isfinite(value) else None for name, value in values.items()})
    row["in_domain"] = inside
    return {name: row[name] for name in COLUMNS}
