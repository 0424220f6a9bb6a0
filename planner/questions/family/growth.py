"""How a family's plan changes with the number of students, and from which on a teacher pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from coefficients import CoefficientSet
from planner.documents import OpenFloat, Record, derived
from planner.errors import ProblemError
from planner.problem import Problem
from planner.questions.family.members import Member, check, fleet_of, planned_teacher
from planner.questions.family.search import minimise
from planner.questions.family.supervised import split_directly
from planner.results import AnyModel, Model

TABLE_TOLERANCE = 1e-5
"""Largest gap in nats in the table over numbers of students: many plans are solved at once."""


@dataclass(frozen=True)
class Count(Record):
    """The family at one number of students, for the table of how the plan changes."""

    students: int
    budget: float
    cross_entropy: OpenFloat
    lower_bound: OpenFloat
    direct: OpenFloat
    teacher_parameters: OpenFloat
    teacher_tokens: OpenFloat
    teacher_cross_entropy: OpenFloat
    teacher_share: OpenFloat
    """Share of the budget that the teacher takes, training and logits."""

    @derived
    def gain(self) -> OpenFloat:
        """Direct minus distilled, nats: positive where the teacher pays."""
        return self.direct - self.cross_entropy


@dataclass(frozen=True)
class Growth(Record):
    """How the plan changes with the number of students; `break_even` is the smallest number tried
    at which a teacher beats training them all directly, None if none up to `most` does. `losses`
    are larger numbers tried at which it does not: the next of mixed sizes may gain less."""

    rows: tuple[Count, ...]
    break_even: int | None
    most: int
    fixed_total: bool

    @derived
    def losses(self) -> tuple[int, ...]:
        """Numbers of students beyond the break-even, among those tried, at which none pays."""
        if self.break_even is None:
            return ()
        return tuple(
            row.students for row in self.rows if row.students > self.break_even and row.gain <= 0
        )


def family_growth(
    problem: Problem,
    members: Sequence[Member],
    cached: bool = False,
    coefficients: CoefficientSet | None = None,
    fixed_total: bool = False,
    most: int = 256,
) -> Growth:
    """The plan at growing numbers of students, and from which on a teacher pays.

    Students are taken from the list in turn, from its start again after its end. Each brings its
    share of the budget (the budget over the number of members), or with `fixed_total` all share
    one budget. The break-even count is where the sign changes first from 1, 2, 3, 4, 6, 8, 12, ...
    on, by bisection in between; the counts just after it are tried as well, as many as there are
    different students, since the sign may change back.
    """
    chosen = problem.coefficient_set(coefficients)
    check(problem, members)
    if any(member.target is not None for member in members):
        raise ProblemError("a break-even count needs weights, not target losses; drop --target.")
    if len(problem.teachers) > 1:
        raise ProblemError("a break-even count needs one teacher or a planned one; name one.")
    kinds = [replace(member, copies=1) for member in members for _ in range(member.copies)]
    ladder = _ladder(most)
    table = _counts(problem, kinds, ladder, cached, chosen, fixed_total)
    crossing = next((i for i, row in enumerate(table) if row.gain > 0), None)
    found = None
    if crossing is not None:
        high = ladder[crossing]
        low = ladder[crossing - 1] if crossing else 0
        while high - low > 1:
            inner = sorted({low + max(1, round((high - low) * part / 5)) for part in range(1, 5)})
            inner = [k for k in inner if low < k < high]
            rows = _counts(problem, kinds, inner, cached, chosen, fixed_total)
            table += rows
            for k, row in zip(inner, rows, strict=True):
                if row.gain > 0:
                    high = k
                    break
                low = k
        found = high
        tried = {row.students for row in table}
        after = [k for k in range(found + 1, min(most, found + len(kinds)) + 1) if k not in tried]
        table += _counts(problem, kinds, after, cached, chosen, fixed_total)
    rows = sorted({row.students: row for row in table}.values(), key=lambda row: row.students)
    return Growth(tuple(rows), found, most, fixed_total)


def _ladder(most: int) -> list[int]:
    steps = {1, 2, 3}
    k = 4
    while k <= most:
        steps |= {k, k + k // 2}
        k *= 2
    return sorted(step for step in steps if step <= most)


def _counts(
    problem: Problem,
    kinds: Sequence[Member],
    numbers: Sequence[int],
    cached: bool,
    chosen: CoefficientSet,
    fixed_total: bool,
) -> list[Count]:
    if not numbers:
        return []
    many = len(kinds)
    copies = np.array([[k // many + (i < k % many) for i in range(many)] for k in numbers], float)
    counts = np.array(numbers, dtype=float)
    budgets = np.full(counts.shape, problem.budget)
    budgets = budgets if fixed_total else budgets * counts / many
    f = fleet_of(problem, kinds, copies, budgets, cached, chosen)
    found = minimise(f, max(problem.tolerance, TABLE_TOLERANCE))
    direct = split_directly(f)
    rows = []
    for i, k in enumerate(numbers):
        teacher: AnyModel = Model(math.nan, math.nan, math.nan)
        if np.isfinite(found.loss[i]):
            teacher = planned_teacher(problem, float(found.n[i]), float(found.d[i]), chosen)
        tokens = copies[i] * np.where(copies[i] > 0, np.exp(found.s[i]), 0.0)
        students = float(np.sum(chosen.flops.training(np.exp(f.u), tokens)))
        rows.append(
            Count(
                students=k,
                budget=float(budgets[i]),
                cross_entropy=float(found.loss[i]),
                lower_bound=float(found.lower_bound[i]),
                direct=float(direct.loss[i]),
                teacher_parameters=math.nan if teacher.parameters is None else teacher.parameters,
                teacher_tokens=math.nan if teacher.tokens is None else teacher.tokens,
                teacher_cross_entropy=teacher.cross_entropy,
                teacher_share=max(0.0, 1.0 - students / float(budgets[i])),
            )
        )
    return rows
