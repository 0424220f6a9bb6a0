"""The smallest budget that reaches a loss, per scenario and supervised, proven from both sides.

The best loss falls monotonically with the budget, so the answer is bracketed: at the budget given
a plan reaches the loss; at `unreachable_below`, a fraction of a percent less, the certified lower
bound is above it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from planner import units
from planner.documents import OpenFloat, Record, derived, unwritten
from planner.errors import ProblemError, UnreachableError
from planner.needs import Spent
from planner.optima import optima, solve_many, supervised
from planner.optimise.batch import Array, Batch
from planner.optimise.supervised import supervised_optima
from planner.problem import Problem
from planner.questions.base import Answer
from planner.recipe import cost_of
from planner.results import Baseline, Coefficients, Flops, Law, Recipe, Warning
from planner.rows import supervised_batch, teacher_flops
from planner.scenarios import scenario_of
from planner.second_opinion import OtherView, other_view
from planner.verdict import baseline_warnings, leaves_domain

PRECISION = 1e-4
"""Largest log-ratio between the budget found and the one proven too small."""

SMALLEST = 1.0  # FLOPs; where the search for budgets begins
ROUNDS = 40
PROBES = 12
CUTS = 32
SECANT_BELOW = 1.0
"""Log-width of a bracket from which on the loss is straight enough for the secant to guide."""
MOST_BUDGET = 1e60


@dataclass(frozen=True)
class Reached(Record):
    """One way to the loss. `recipe` (or `baseline` for supervised) spends `budget` FLOPs.

    budget is inf where the loss is out of reach; then `floor` is what unlimited compute gives
    within the bounds. outside_domain: the recipe leaves what was measured. second_opinion: what the
    set's second opinion predicts for the recipe.
    """

    method: str
    charge_inference: float
    charge_pretraining: float
    budget: OpenFloat
    unreachable_below: OpenFloat
    floor: OpenFloat
    recipe: Recipe | None = None
    baseline: Baseline | None = None
    outside_domain: bool = False
    second_opinion: OtherView | None = None

    @derived
    def reachable(self) -> bool:
        """Whether any budget reaches the loss this way."""
        return math.isfinite(self.budget)


@dataclass(frozen=True)
class Like:
    """A supervised model to be as good as."""

    size: float
    tokens: float

    @classmethod
    def parse(cls, text: str) -> Like:
        """``size=3B,tokens=60B``."""
        given: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            if not equals or key.strip() not in ("size", "tokens") or key.strip() in given:
                raise ProblemError(
                    f"--like '{text}' is not a supervised model; write it like size=3B,tokens=60B."
                )
            given[key.strip()] = value.strip()
        if len(given) != 2:
            raise ProblemError(f"--like '{text}' needs both: write it like size=3B,tokens=60B.")
        return cls(
            units.parse_count(given["size"], "size"), units.parse_count(given["tokens"], "tokens")
        )

    def loss(self, coefficients: CoefficientSet) -> float:
        """What the law gives the model."""
        return float(coefficients.supervised.loss(self.size, self.tokens))


@dataclass(frozen=True, repr=False)
class Target(Answer):
    """Every way to the loss; warnings are about the supervised one. resources: what each way takes,
    where an accelerator is named."""

    KIND: ClassVar[str] = "target"

    problem: Problem
    loss: float
    like: Like | None
    ways: tuple[Reached, ...]
    coefficients: Coefficients
    warnings: tuple[Warning, ...] = ()
    resources: tuple[Spent, ...] = ()
    law: Law = unwritten()

    @property
    def best(self) -> Reached:
        """The cheapest way."""
        return min(self.ways, key=lambda each: each.budget)

    def way(self, method: str) -> Reached:
        """That scenario, or "supervised"."""
        return next(each for each in self.ways if each.method == method)

    @property
    def flops_by_name(self) -> list[tuple[str, Flops]]:
        """What each way that reaches the loss costs."""
        pairs = ((each.method, each.recipe or each.baseline) for each in self.ways)
        return [(name, found.flops) for name, found in pairs if found is not None]


def target(
    problem: Problem,
    loss: float,
    coefficients: CoefficientSet | None = None,
    like: Like | None = None,
) -> Target:
    """The smallest budget for `loss` (nats per token) per scenario and supervised.

    The problem's own budget is ignored. Raises UnreachableError with the floor where no budget
    reaches the loss in any way.
    """
    chosen = problem.coefficient_set(coefficients)
    if not math.isfinite(loss) or loss <= 0:
        raise ProblemError(f"the target loss is {loss}; give nats per token such as 2.2.")
    charges = problem.comparable_charges()
    unlimited = replace(problem, budget=MOST_BUDGET)
    problems = [unlimited.with_charges(*pair) for pair in charges]
    found = smallest_budgets(problems, np.full(len(problems), loss), chosen)
    direct = supervised_targets(np.array([loss]), [unlimited], chosen)
    if not np.any(np.isfinite(found.budget)) and not np.isfinite(direct.flops[0]):
        raise _unreachable(
            problem, loss, float(np.min(found.floor)), float(direct.floor[0]), chosen
        )
    ways = [
        Reached(
            scenario_of(*pair),
            *pair,
            budget=float(found.budget[k]),
            unreachable_below=float(found.unreachable[k]),
            floor=float(found.floor[k]),
        )
        for k, pair in enumerate(charges)
    ]
    ways = _with_recipes(ways, problems, chosen)
    flops = float(direct.flops[0])
    baseline = None
    if math.isfinite(flops):
        baseline = supervised(replace(problem, budget=flops * (1 + 1e-12)), chosen)
    ways.append(
        Reached("supervised", 0.0, 0.0, flops, flops, float(direct.floor[0]), baseline=baseline)
    )
    warnings = () if baseline is None else baseline_warnings(baseline, chosen)
    return Target(problem, loss, like, tuple(ways), Coefficients.of(chosen), warnings, law=chosen)


ANSWER = Target


@dataclass(frozen=True)
class Budgets:
    """Arrays over problems: FLOPs that reach the loss, FLOPs proven not to, the floor in nats."""

    budget: Array
    unreachable: Array
    floor: Array


def smallest_budgets(
    problems: Sequence[Problem], losses: NDArray[np.float64], coefficients: CoefficientSet
) -> Budgets:
    """For each problem (its own budget is ignored) the smallest budget that reaches a loss.

    Multisection on log budgets: every round solves a few budgets of every open bracket at once,
    half of them close to the secant's guess.
    """
    tops = [_plenty(each, coefficients) for each in problems]
    top_plans = solve_many(
        [replace(p, budget=b, tolerance=1e-8) for p, b in zip(problems, tops, strict=True)],
        coefficients,
    )
    floor = top_plans.cross_entropy
    low = np.full(len(problems), math.log(SMALLEST))
    high = np.log(tops)
    loss_low, loss_high = np.full(low.shape, np.inf), floor.copy()
    reachable = floor <= losses
    for _ in range(ROUNDS):
        rows = [int(r) for r in np.flatnonzero(reachable & (high - low > PRECISION))]
        if not rows:
            break
        probes = [_probes(low[r], high[r], loss_low[r], loss_high[r], losses[r]) for r in rows]
        plans = solve_many(
            [
                replace(
                    problems[r],
                    budget=float(np.exp(x)),
                    tolerance=_tolerance(high[r] - low[r]),
                )
                for r, xs in zip(rows, probes, strict=True)
                for x in xs
            ],
            coefficients,
            polish=False,
        )
        first = 0
        for r, xs in zip(rows, probes, strict=True):
            part = slice(first, first + xs.size)
            first += xs.size
            loss, bound = plans.cross_entropy[part], plans.lower_bound[part]
            enough = loss <= losses[r]
            proven = ~enough & (bound > losses[r])
            if np.any(enough):
                k = int(np.argmax(enough))
                high[r], loss_high[r] = xs[k], loss[k]
            too_small = np.flatnonzero(proven & (xs < high[r]))
            if too_small.size:
                low[r], loss_low[r] = xs[too_small[-1]], loss[too_small[-1]]
            if not np.any(enough) and not too_small.size:
                break
    budget = np.where(reachable, np.exp(high), np.inf)
    return Budgets(budget, np.where(reachable, np.exp(low), np.inf), floor)


def _probes(low: float, high: float, loss_low: float, loss_high: float, goal: float) -> Array:
    width = high - low
    if not (np.isfinite(loss_low) and loss_low > goal > loss_high and width < SECANT_BELOW):
        return np.asarray(low + width * np.arange(1, PROBES + 1) / (PROBES + 1))
    guess = low + width * (loss_low - goal) / (loss_low - loss_high)
    spread = np.array([-0.1, -0.01, 0.01, 0.1]) * width
    tight = np.array([-0.4, 0.4]) * PRECISION
    points = np.concatenate([[low + 0.5 * width], guess + spread, guess + tight])
    return np.unique(points[(points > low) & (points < high)])


def _tolerance(width: float) -> float:
    """Loose while the bracket is wide: a sign that stays unproven only costs another probe."""
    return min(max(1e-3 * width, 1e-8), 1e-2)


def _plenty(problem: Problem, coefficients: CoefficientSet) -> float:
    """FLOPs that pay for the largest of everything within the bounds."""
    bounds = problem.bounds
    sizes = [each.size for each in problem.teachers]
    existing = [teacher_flops(each, coefficients) for each in problem.teachers]
    largest = bounds.teacher_size[1]
    full = problem.with_charges(1.0, 1.0) if not problem.teachers or all(sizes) else problem
    cost = cost_of(full, problem.size_range[1], largest, coefficients, max(existing, default=None))
    total = float(cost.total(bounds.student_tokens[1], bounds.teacher_tokens[1]))
    return min(1.001 * total, MOST_BUDGET)


@dataclass(frozen=True)
class SupervisedTargets:
    """Arrays: the cheapest supervised models that reach given losses; inf where none does."""

    flops: Array
    tokens: Array
    size: Array
    floor: Array


def supervised_targets(
    losses: NDArray[np.float64], problems: Sequence[Problem], coefficients: CoefficientSet
) -> SupervisedTargets:
    """The supervised model that reaches each loss with the fewest FLOPs within the bounds.

    Multisection on the budget: the best supervised loss falls with it.
    """
    batch = supervised_batch(problems, coefficients)
    top = replace(batch, budget=np.full(len(batch), MOST_BUDGET))
    floor = supervised_optima(top).loss
    losses = np.broadcast_to(np.asarray(losses, dtype=float), (len(batch),))
    low = np.zeros(len(batch))
    high = np.full(len(batch), math.log(MOST_BUDGET))
    cuts = np.arange(1, CUTS) / CUTS
    owner = np.repeat(np.arange(len(batch)), cuts.size)
    for _ in range(math.ceil(math.log(high[0] / 1e-12) / math.log(CUTS))):
        logs = (low[:, None] + (high - low)[:, None] * cuts).ravel()
        wide = Batch.broadcast(**{**vars(batch.take(owner)), "budget": np.exp(logs)})
        enough = (supervised_optima(wide).loss <= losses[owner]).reshape(-1, cuts.size)
        first = np.where(enough.any(axis=1), enough.argmax(axis=1), cuts.size)  # cuts too small
        step = (high - low) / CUTS
        low, high = low + first * step, low + (first + 1) * step
    best = supervised_optima(replace(batch, budget=np.exp(high)))
    reached = floor <= losses
    return SupervisedTargets(
        flops=np.where(reached, np.exp(high), np.inf),
        tokens=np.where(reached, np.exp(best.s), np.inf),
        size=np.where(reached, np.exp(best.u), np.nan),
        floor=floor,
    )


def _with_recipes(
    ways: list[Reached], problems: Sequence[Problem], coefficients: CoefficientSet
) -> list[Reached]:
    reached = [k for k, way in enumerate(ways) if way.reachable]
    asked = [replace(problems[k], budget=ways[k].budget) for k in reached]
    result = list(ways)
    for k, answer in zip(reached, optima(asked, coefficients) if asked else [], strict=True):
        recipe, _ = answer.require(coefficients)
        result[k] = replace(
            ways[k],
            recipe=recipe,
            outside_domain=leaves_domain(recipe, coefficients),
            second_opinion=other_view(recipe, coefficients),
        )
    return result


def _unreachable(
    problem: Problem, loss: float, distilled: float, direct: float, coefficients: CoefficientSet
) -> UnreachableError:
    """The floor and why it is there."""
    floor = min(distilled, direct)
    who = "the student"
    if problem.student is not None:
        who = f"a {units.format_count(problem.student)} student"
    irreducible = float(coefficients.supervised.E)
    if loss <= irreducible:
        why = (
            f"the law's irreducible cross-entropy is {units.format_loss(irreducible)} at any size "
            "and with any data"
        )
    else:
        tokens = units.format_count(problem.bounds.student_tokens[1])
        teachers = (
            "the teachers given"
            if problem.teachers
            else f"any teacher of up to {units.format_count(problem.bounds.teacher_size[1])}"
        )
        why = (
            f"with unlimited compute and {tokens} tokens, {who} reaches "
            f"{units.format_loss(direct)} on data and {units.format_loss(distilled)} from "
            f"{teachers}"
        )
        if problem.student is not None:
            limit = float(coefficients.supervised.floor(problem.student))
            why += f"; on infinite data it would stop at {units.format_loss(limit)}"
    return UnreachableError(
        f"a loss of {units.format_loss(loss)} is below the floor of "
        f"{units.format_loss(floor)} nats per token that {who} can reach: {why}; choose a higher "
        "loss" + ("." if loss <= irreducible else " or a larger student."),
        floor,
    )
