"""Which of the teachers that exist is best for this student and budget (Sec. 5.2, App. D.3).

With an existing teacher everything but the student's tokens is given: ``D_S = C / (3 F(N_S) +
delta F(N_T))``. The strongest teacher is often not the best: its logits cost more, and beyond the
capacity gap a stronger teacher makes a worse student even if its logits are free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from coefficients import CoefficientSet
from planner import verdict
from planner.catalogue import Entry
from planner.documents import Record, unwritten
from planner.errors import InfeasibleError, ProblemError
from planner.needs import Spent
from planner.optima import Optimum, infeasible, optima
from planner.optimise.supervised import supervised_optima
from planner.problem import Problem
from planner.questions.base import Answer
from planner.recipe import cost_of, flops_of
from planner.results import Coefficients, Flops, Law, Model, Recipe
from planner.rows import require_distillation, supervised_batch, teacher_loss

CACHED = 0.0


@dataclass(frozen=True)
class Candidate(Record):
    """One teacher. `recipe` under the charges asked for, `cached` with its logits free; None where
    none fits. `outside` are quantities outside the domain of validity.

    capacity_gap: a stronger teacher than another one that makes a better student with free logits.
    priced_out: a stronger teacher than another one that makes a better student only because of
    what the logits cost.
    """

    entry: Entry
    cross_entropy: float
    recipe: Recipe | None = None
    cached: Recipe | None = None
    outside: tuple[str, ...] = ()
    capacity_gap: bool = False
    priced_out: bool = False

    @property
    def student_loss(self) -> float:
        """The student's cross-entropy, inf where no plan fits."""
        return np.inf if self.recipe is None else self.recipe.student.cross_entropy

    @property
    def cached_loss(self) -> float:
        """The student's cross-entropy if the logits are free, inf where no plan fits."""
        return np.inf if self.cached is None else self.cached.student.cross_entropy


@dataclass(frozen=True, repr=False)
class Ranking(Answer):
    """Candidates, best student first. `ideal` is the teacher loss L_T* at which this student would
    be best on the winner's tokens; stronger is worse from there on (the capacity gap). resources:
    what the student of each teacher and the supervised model take, where an accelerator is named.
    """

    KIND: ClassVar[str] = "teachers"

    candidates: tuple[Candidate, ...]
    supervised: Model
    ideal: float
    problem: Problem
    coefficients: Coefficients
    resources: tuple[Spent, ...] = ()
    law: Law = unwritten()

    @property
    def best(self) -> Candidate:
        """The winner."""
        return self.candidates[0]

    @property
    def flops_by_name(self) -> list[tuple[str, Flops]]:
        """What the student of each teacher that fits costs, and the supervised model."""
        pairs = [(e.entry.name, e.recipe.flops) for e in self.candidates if e.recipe is not None]
        direct = self.supervised
        cost = cost_of(self.problem.with_charges(0.0, 0.0), direct.parameters, None, self.law)
        return [*pairs, ("supervised", flops_of(cost, direct.tokens))]

    @property
    def strongest(self) -> Candidate:
        """The teacher of the least loss."""
        return min(self.candidates, key=lambda each: each.cross_entropy)


ANSWER = Ranking


def rank_teachers(
    problem: Problem, entries: Sequence[Entry], coefficients: CoefficientSet | None = None
) -> Ranking:
    """Every teacher's best student under the problem's charges, and with its logits free.

    A student's size left open is planned for each teacher. Raises ProblemError for an empty list
    and InfeasibleError where no teacher fits the budget.
    """
    chosen = problem.coefficient_set(coefficients)
    law = require_distillation(chosen)
    if not entries:
        raise ProblemError("there are no teachers to choose among; give --teacher or --teachers.")
    paid = [replace(problem, teachers=(entry.teacher,)) for entry in entries]
    free = [replace(each, charge_inference=CACHED) for each in paid]
    found = optima([*paid, *free], chosen)
    rows = [
        _candidate(entry, one, other, chosen)
        for entry, one, other in zip(entries, found[: len(paid)], found[len(paid) :], strict=True)
    ]
    if all(row.recipe is None for row in rows):
        smallest = min(answer.smallest_budget for answer in found[: len(paid)])
        error = infeasible(problem, smallest, chosen)
        raise InfeasibleError(str(error), error.minimum_budget)
    rows.sort(key=lambda row: (row.student_loss, row.cross_entropy))
    student = next(row.recipe for row in rows if row.recipe is not None).student
    assert student.parameters is not None and student.tokens is not None
    ideal = float(law.best_teacher_loss(student.parameters, student.tokens))
    best = supervised_optima(supervised_batch([problem], chosen))
    size, tokens = float(np.exp(best.u[0])), float(np.exp(best.s[0]))
    size = problem.student if problem.student is not None else size
    baseline = Model(size, tokens, float(best.loss[0]), chosen.architectures.nearest(size))
    found_rows = tuple(_judged(rows))
    return Ranking(found_rows, baseline, ideal, problem, Coefficients.of(chosen), law=chosen)


def _candidate(entry: Entry, paid: Optimum, free: Optimum, chosen: CoefficientSet) -> Candidate:
    outside: tuple[str, ...] = ()
    if paid.recipe is not None:
        warnings = verdict.domain_warnings(paid.recipe, chosen)
        outside = tuple(each.quantity for each in warnings if each.quantity)
    loss = float(teacher_loss(entry.teacher, chosen))
    return Candidate(entry, loss, paid.recipe, free.recipe, outside)


def _judged(rows: Sequence[Candidate]) -> list[Candidate]:
    """Marks the stronger teachers that make worse students, and why."""
    judged = []
    for row in rows:
        weaker = [other for other in rows if other.cross_entropy > row.cross_entropy + 1e-12]
        gap = any(other.cached_loss < row.cached_loss - 1e-12 for other in weaker)
        worse = any(other.student_loss < row.student_loss - 1e-12 for other in weaker)
        judged.append(replace(row, capacity_gap=gap, priced_out=worse and not gap))
    return judged
