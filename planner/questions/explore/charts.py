"""The arrays behind the page's charts: everything around one problem in few vectorised solves.

Curves over the budget do not depend on the problem's own budget, nor the map on its student: a
page asks for them again only when something else changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from laws import Cost
from planner.documents import Values
from planner.optima import Many, solve_many
from planner.optimise.supervised import supervised_optima
from planner.problem import Problem
from planner.questions.compare.answer import compare, held_by_a_cap
from planner.questions.compare.curves import Curve
from planner.results import Recipe
from planner.rows import supervised_batch, teacher_flops
from planner.scenarios import SCENARIOS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Numbers = Annotated[Array, Values()]
Flags = Annotated[Mask, Values(of="boolean")]
Table = Annotated[Array, Values(2)]
FlagTable = Annotated[Mask, Values(2, "boolean")]

BUDGETS = (1e18, 1e27)
"""The charts' range in FLOPs, widened by whole decades to hold the budget asked about."""

MAP_TOLERANCE = 1e-4
"""Nats; the map shows who wins, its steps of colour are far wider than this."""


@dataclass(frozen=True)
class Grid:
    """How fine the charts are: budgets on the curves, budgets by students on the map."""

    budgets: int = 55
    map_budgets: int = 37
    map_students: int = 25

    @property
    def points(self) -> int:
        """How many problems that is, for the limit on a request."""
        return self.budgets * (len(SCENARIOS) + 1) + self.map_budgets * self.map_students


@dataclass(frozen=True)
class Baseline:
    """Supervised training over `Curves.budgets`.

    cross_entropy: nats per token. inside: whether its size and tokens were measured.
    """

    cross_entropy: Numbers
    inside: Flags


@dataclass(frozen=True)
class Crossing:
    """A budget in FLOPs at which distilling and supervised training change places, proven.

    starts_to_win: whether distilling is better above it. inside: whether both plans were measured.
    """

    budget: float
    starts_to_win: bool
    inside: bool


@dataclass(frozen=True)
class Shares:
    """Each term of Eq. 9 over all that is spent, an array over `Curves.budgets` each."""

    student_training: Numbers
    teacher_inference: Numbers
    teacher_pretraining: Numbers
    serving: Numbers


@dataclass(frozen=True)
class Method:
    """One way to pay for the teacher: the best plan of each of `Curves.budgets`, null without one.

    charge_inference, charge_pretraining: the shares paid, 0 to 1. chosen: whether the question asks
    for these. Cross-entropies are nats per token, parameters non-embedding. spent: FLOPs, which
    bounds may keep below the budget. inside: whether the plan lies where the law was measured.
    """

    name: str
    charge_inference: float
    charge_pretraining: float
    chosen: bool
    cross_entropy: Numbers
    inside: Flags
    shares: Shares
    spent: Numbers
    student_parameters: Numbers
    student_tokens: Numbers
    teacher_parameters: Numbers
    teacher_tokens: Numbers
    teacher_cross_entropy: Numbers
    crossovers: tuple[Crossing, ...]


@dataclass(frozen=True)
class Curves:
    """Losses over the budget (FLOPs): supervised training and every method of paying.

    held: a default cap on tokens, not the budget, limits the supervised model; nothing is compared
    there.
    """

    budgets: Numbers
    held: Flags
    supervised: Baseline
    methods: tuple[Method, ...]


@dataclass(frozen=True)
class Map:
    """Who wins: a row per student (non-embedding parameters), a column per budget (FLOPs).

    difference: distilled minus supervised loss in nats per token, certified to `tolerance`; null
    where no plan fits, and where `held`: a default cap on tokens, not the budget, limits the
    supervised model, so that nothing is compared. inside: whether the plan lies where the law was
    measured.
    """

    budgets: Numbers
    students: Numbers
    difference: Table
    inside: FlagTable
    held: FlagTable
    tolerance: float


@dataclass(frozen=True)
class GapPoint:
    """A teacher's cross-entropy and that of the student it makes, in nats per token."""

    teacher_cross_entropy: float
    cross_entropy: float


@dataclass(frozen=True)
class Gap:
    """The capacity gap: one student's loss on fixed tokens against its teacher's cross-entropy.

    Arrays over teachers; losses in nats per token. supervised: the student's loss without a
    teacher. best: the teacher that makes the best student. here: the recipe's. measured: lowest and
    highest teacher cross-entropy measured for such a student, null where that is not known.
    """

    student_parameters: float
    student_tokens: float
    teacher_cross_entropy: Numbers
    cross_entropy: Numbers
    supervised: float
    best: GapPoint
    here: GapPoint
    measured: tuple[float, float] | None


def curves(problem: Problem, coefficients: CoefficientSet, grid: Grid) -> Curves:
    """Losses of all methods and the chosen one's recipe over the budget, and the crossovers."""
    low, high = budget_range(problem.budget)
    anchor = replace(problem, budget=low)
    budgets = np.geomspace(low, high, grid.budgets)
    found = compare(anchor, budgets, (), coefficients)[0]
    asked = (anchor.charge_inference, 0.0 if anchor.teachers else anchor.charge_pretraining)
    inside = supervised_inside(anchor, coefficients, budgets)
    return Curves(
        budgets,
        found.curves[0].held,
        Baseline(np.asarray(found.supervised, dtype=float), inside),
        tuple(
            _method(each, anchor.with_charges(*each.charges), coefficients, each.charges == asked)
            for each in found.curves
        ),
    )


def wins(problem: Problem, coefficients: CoefficientSet, grid: Grid) -> Map:
    """Distillation's loss minus the supervised one over budgets (columns) and students (rows)."""
    low, high = budget_range(problem.budget)
    least, most = problem.bounds.student_size
    low_size, high_size = max(least, 1e8), min(most, 1e12)
    if problem.student is not None:
        low_size, high_size = min(low_size, problem.student), max(high_size, problem.student)
    if not low_size < high_size:
        low_size, high_size = least, most
    tolerance = max(problem.tolerance, MAP_TOLERANCE)
    budgets = np.geomspace(low, high, grid.map_budgets)
    students = np.geomspace(low_size, high_size, grid.map_students)
    rows = [
        replace(
            problem,
            budget=float(budget),
            student=min(max(float(student), low_size), high_size),
            tolerance=tolerance,
        )
        for student in students
        for budget in budgets
    ]
    found = solve_many(rows, coefficients, polish=False)
    shape = (students.size, budgets.size)
    with np.errstate(invalid="ignore"):
        difference = (found.cross_entropy - found.supervised_cross_entropy).reshape(shape)
    held = held_by_a_cap(found.supervised_tokens, problem).reshape(shape)
    inside = found.inside(coefficients).reshape(shape) & ~held
    difference = np.where(held, np.nan, difference)
    return Map(budgets, students, difference, inside, held, tolerance)


def gap(recipe: Recipe, coefficients: CoefficientSet, points: int = 121) -> Gap:
    """The capacity gap around a recipe, whose own teacher the range holds however strange it is."""
    student, tokens = recipe.student.parameters, recipe.student.tokens
    teacher = recipe.teacher.cross_entropy
    assert student is not None and tokens is not None
    law = coefficients.distillation
    assert law is not None  # the caller solved with it
    alone = float(coefficients.supervised.loss(student, tokens))
    floor = float(coefficients.supervised.E)
    usual = (floor + 0.02, max(3.2, 1.35 * alone))
    teachers = np.linspace(min(usual[0], 0.99 * teacher), max(usual[1], 1.04 * teacher), points)
    losses = law.loss(student, tokens, teachers)
    best = int(np.argmin(losses))
    fine = np.linspace(teachers[max(best - 1, 0)], teachers[min(best + 1, points - 1)], 201)
    fine_losses = law.loss(student, tokens, fine)
    lowest = int(np.argmin(fine_losses))
    measured = coefficients.measured_teachers(student, tokens)
    return Gap(
        student,
        tokens,
        teachers,
        np.asarray(losses, dtype=float),
        alone,
        best=GapPoint(float(fine[lowest]), float(fine_losses[lowest])),
        here=GapPoint(teacher, recipe.student.cross_entropy),
        measured=measured if measured and np.isfinite(measured[1]) else None,
    )


def budget_range(budget: float) -> tuple[float, float]:
    """The charts' budgets: the usual ones, or as many decades as the question needs."""
    low, high = BUDGETS
    if budget < low:
        low = 10.0 ** np.floor(np.log10(budget))
    if budget > high:
        high = 10.0 ** np.ceil(np.log10(budget))
    return float(low), float(high)


def supervised_inside(problem: Problem, coefficients: CoefficientSet, budgets: Array) -> Mask:
    """Where the supervised baseline lies inside the measured sizes and tokens."""
    rows = [replace(problem, budget=float(budget)) for budget in budgets]
    best = supervised_optima(supervised_batch(rows, coefficients))
    alone = {"supervised_parameters": np.exp(best.u), "supervised_tokens": np.exp(best.s)}
    return np.asarray(np.isfinite(best.loss) & coefficients.domain.covers(alone))


def _method(curve: Curve, variant: Problem, coefficients: CoefficientSet, chosen: bool) -> Method:
    plans = curve.plans
    shares, spent = _spending(plans, variant, coefficients)
    return Method(
        name=curve.scenario,
        charge_inference=curve.charge_inference,
        charge_pretraining=curve.charge_pretraining,
        chosen=chosen,
        cross_entropy=plans.cross_entropy,
        inside=plans.inside(coefficients),
        shares=shares,
        spent=spent,
        student_parameters=plans.student_parameters,
        student_tokens=plans.student_tokens,
        teacher_parameters=plans.teacher_parameters,
        teacher_tokens=plans.teacher_tokens,
        teacher_cross_entropy=plans.teacher_cross_entropy,
        crossovers=tuple(
            Crossing(each.budget, each.better_above != "supervised", each.in_domain)
            for each in curve.crossovers
        ),
    )


def _spending(part: Many, problem: Problem, coefficients: CoefficientSet) -> tuple[Shares, Array]:
    """The shares of each term, and their total in FLOPs."""
    forward = coefficients.flops.per_token(np.nan_to_num(part.teacher_parameters))
    if problem.teachers:  # one of unknown size is not charged
        existing = [teacher_flops(each, coefficients) for each in problem.teachers]
        forward = np.array(existing)[np.maximum(part.teacher, 0)]
    cost = Cost(
        coefficients.flops.per_token(part.student_parameters),
        forward,
        problem.charge_inference,
        np.where(part.teacher >= 0, 0.0, problem.charge_pretraining),
        problem.serving_tokens,
    )
    with np.errstate(invalid="ignore"):
        terms = vars(cost.terms(part.student_tokens, np.nan_to_num(part.teacher_tokens)))
        total = np.sum([np.nan_to_num(term) for term in terms.values()], axis=0)
        feasible = np.where(part.feasible, total, np.nan)
        shares = {name: np.nan_to_num(term) / feasible for name, term in terms.items()}
    return Shares(**shares), np.asarray(feasible)
