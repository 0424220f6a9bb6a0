"""The flat valley: every recipe within a given loss, or a given compute, of the best one.

For each variable, the best loss with the variable held at a value is a certified solve. Those are
scanned over the whole allowed range, and the outermost values that stay under the ceiling are
refined. A valley narrower than one step of the scan could hide, which is why the step is reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from laws import Architecture, DistillationForm
from laws.flops import TRAINING
from planner.documents import OpenFloat, Values, unwritten
from planner.errors import InfeasibleError, QuantityError
from planner.needs import Spent
from planner.optima import Many, optima, solve_batch, supervised
from planner.optimise import Batch, Optima, frontier
from planner.optimise.batch import Array
from planner.optimise.ties import cheapest_teachers
from planner.problem import Problem
from planner.questions.base import Answer
from planner.recipe import Row, recipe_of
from planner.results import Certificate, Coefficients, Flops, Law, Recipe, Warning
from planner.rows import to_batches
from planner.verdict import domain_warnings

WITHIN = 0.005
"""Default ceiling: half a percent above the best loss."""

SCAN = 48  # values per variable over its whole allowed range
PROFILE = 41  # values per variable over the part worth drawing
PRECISION = 5e-4  # of a range's ends, in log
ROUGH, FINE = 1e-3, 1e-5
"""Tolerances in nats of the scan and of the refinement; the ceiling is some 0.01 above the best."""

MOST_SHAPES = 48

_FIELDS = {
    "student_tokens": "s",
    "student_size": "u",
    "teacher_size": "n",
    "teacher_tokens": "d",
    "teacher_cross_entropy": "t",
}


@dataclass(frozen=True)
class Span:
    """One variable: the range over near-optimal recipes, its best value, and the loss around it.

    `values`, `losses`: the best loss with the variable held at a value (inf: none feasible).
    `open_low`, `open_high`: the range ends at a bound of the question. `pieces`: 1, or more where
    the near-optimal values fall apart. `step`: of the scan, as a ratio.
    """

    variable: str
    low: float
    best: float
    high: float
    open_low: bool
    open_high: bool
    pieces: int
    step: float
    values: Annotated[Array, Values()]
    losses: Annotated[Array, Values()]


@dataclass(frozen=True)
class Shape:
    """A buildable teacher or student in the set, and the best recipe with it."""

    role: str
    architecture: Architecture
    cross_entropy: float
    student_tokens: float
    teacher_tokens: OpenFloat


@dataclass(frozen=True, repr=False)
class NearOptimal(Answer):
    """All recipes of the budget with a loss up to `ceiling`.

    within: of what, in words. shapes: buildable models in the set. cheapest_teacher: the recipe
    whose teacher takes the fewest FLOPs to train, charged or not: `cheapest_training`, against
    `best_training` for the best recipe's; None for existing teachers. warnings: where the best
    recipe leaves the measured range. resources: what the best recipe, that of the cheapest teacher
    and the supervised model take, where an accelerator is named.
    """

    KIND: ClassVar[str] = "near-optimal"

    problem: Problem
    best: Recipe
    certificate: Certificate
    ceiling: float
    within: str
    spans: tuple[Span, ...]
    shapes: tuple[Shape, ...]
    shapes_left_out: int
    coefficients: Coefficients
    cheapest_teacher: Recipe | None = None
    best_training: float | None = None
    cheapest_training: float | None = None
    warnings: tuple[Warning, ...] = ()
    resources: tuple[Spent, ...] = ()
    law: Law = unwritten()

    @property
    def flops_by_name(self) -> list[tuple[str, Flops]]:
        """What the best recipe, that of the cheapest teacher and the supervised model cost."""
        pairs = [("best plan", self.best.flops)]
        if self.cheapest_teacher is not None:
            pairs.append(("cheapest teacher", self.cheapest_teacher.flops))
        with suppress(InfeasibleError):  # the least tokens cost more than the budget
            pairs.append(("supervised", supervised(self.problem, self.law).flops))
        return pairs

    def span(self, variable: str) -> Span:
        """The range of that variable."""
        return next(each for each in self.spans if each.variable == variable)


ANSWER = NearOptimal


def around(problem: Problem, within: float, coefficients: CoefficientSet) -> NearOptimal:
    """The near-optimal set of a plan's problem, with model sizes free as they always are here."""
    question = replace(problem, round_to_architecture=False)
    return near_optimal(question, within, coefficients=coefficients)


def near_optimal(
    problem: Problem,
    within: float = WITHIN,
    compute: float | None = None,
    coefficients: CoefficientSet | None = None,
) -> NearOptimal:
    """The near-optimal set: loss up to ``best * (1 + within)``.

    With `compute` instead: recipes no worse than the best of ``budget / (1 + compute)``, those that
    waste at most that share of compute. Raises as `solve` does, and QuantityError for a bad share.
    """
    chosen = problem.coefficient_set(coefficients)
    share = within if compute is None else compute
    if not (math.isfinite(share) and 0 < share <= 1):
        raise QuantityError(f"near-optimal is {share}; give a share such as 0.5% or 0.005.")
    best, certificate = optima([problem], chosen)[0].require(chosen)
    if compute is None:
        ceiling = best.student.cross_entropy * (1 + within)
        words = f"{100 * within:.3g}% of the best loss"
    else:
        less = replace(problem, budget=problem.budget / (1 + compute))
        ceiling = optima([less], chosen)[0].require(chosen)[0].student.cross_entropy
        words = f"{100 * compute:.3g}% of the compute"
    scanner = _Scanner(problem, best, ceiling, chosen)
    spans = scanner.spans()
    shapes, left_out = _shapes(problem, scanner, spans, chosen)
    cheapest = None
    if not best.teacher.existing:
        cheapest = _cheapest_teacher(problem, scanner, spans, best, chosen)
    return NearOptimal(
        problem,
        best,
        certificate,
        ceiling,
        words,
        spans,
        shapes,
        left_out,
        Coefficients.of(chosen),
        cheapest,
        None if cheapest is None else _training(best, chosen),
        None if cheapest is None else _training(cheapest, chosen),
        domain_warnings(best, chosen),
        law=chosen,
    )


def _training(recipe: Recipe, coefficients: CoefficientSet) -> float:
    """FLOPs to train the recipe's teacher, charged or not."""
    teacher = recipe.teacher
    assert teacher.parameters is not None and teacher.tokens is not None
    return float(coefficients.flops.training(teacher.parameters, teacher.tokens))


class _Scanner:
    """Certified solves with one variable held, many at once."""

    def __init__(
        self, problem: Problem, best: Recipe, ceiling: float, coefficients: CoefficientSet
    ) -> None:
        batch, counts = to_batches([problem], coefficients)
        if counts[0] > 1:  # several existing teachers: the set around the best one's plan
            one = [t for t in problem.teachers if t.name == best.teacher.name]
            one = [t for t in one if t.size == best.teacher.parameters] or list(problem.teachers)
            batch, _ = to_batches([replace(problem, teachers=(one[0],))], coefficients)
        self.batch, self.best, self.ceiling = batch, best, ceiling
        self.tolerance = problem.tolerance
        self.names = ["student_tokens"]
        if problem.student is None:
            self.names.append("student_size")
        if not best.teacher.existing:
            self.names += ["teacher_size", "teacher_tokens", "teacher_cross_entropy"]

    def held(self, name: str, logs: Array) -> Batch:
        """The question with a variable held at each of these logarithms."""
        values = np.exp(logs) if _FIELDS[name] == "t" else logs
        ends = {f"{_FIELDS[name]}_{end}": values for end in ("low", "high")}
        return Batch.broadcast(**{**vars(self.batch), **ends})

    def solve(self, asked: Sequence[tuple[str, Array]], tolerance: float = FINE) -> list[Many]:
        """The best plans with each variable held at each of its values."""
        tolerance = max(tolerance, self.tolerance)
        stacked = Batch.stack([self.held(name, logs) for name, logs in asked])
        found = solve_batch(stacked, tolerance, polish=False)
        parts, first = [], 0
        for _, logs in asked:
            part = slice(first, first + logs.size)
            parts.append(Many(**{key: value[part] for key, value in vars(found).items()}))
            first += logs.size
        return parts

    def range_of(self, name: str) -> tuple[float, float]:
        """Allowed logarithms of a variable."""
        if name == "teacher_cross_entropy":
            b = self.batch
            low = max(float(_loss(b, b.n_high, b.d_high)[0]), float(b.t_low[0]))
            weakest = float(_loss(b, b.n_low, b.d_low)[0])
            high = min(weakest, float(b.t_high[0]), 3 * self.ceiling)
            return math.log(low), math.log(high)
        letter = _FIELDS[name]
        low, high = (getattr(self.batch, f"{letter}_{end}") for end in ("low", "high"))
        return float(low[0]), float(high[0])

    def best_of(self, name: str) -> float:
        """The optimum's own value, as a logarithm within the allowed range."""
        student, teacher = self.best.student, self.best.teacher
        value = {
            "student_tokens": student.tokens,
            "student_size": student.parameters,
            "teacher_size": teacher.parameters,
            "teacher_tokens": teacher.tokens,
            "teacher_cross_entropy": teacher.cross_entropy,
        }[name]
        assert value is not None
        low, high = self.range_of(name)
        return min(max(math.log(value), low), high)

    def fits(self, found: Many) -> NDArray[np.bool_]:
        """Where a plan stays under the ceiling."""
        return np.asarray(found.cross_entropy <= self.ceiling)

    def spans(self) -> tuple[Span, ...]:
        """Ranges of all variables: one scan, a few rounds of refinement, one profile."""
        grids = {}
        for name in self.names:
            low, high = self.range_of(name)
            grids[name] = np.union1d(np.linspace(low, high, SCAN), [self.best_of(name)])
        ends: dict[tuple[str, int], tuple[float, float]] = {}
        pieces = {}
        losses: dict[str, dict[float, float]] = {}
        scanned = self.solve(list(grids.items()), ROUGH)
        for (name, grid), found in zip(grids.items(), scanned, strict=True):
            fits = self.fits(found) | (grid == self.best_of(name))
            inside = np.flatnonzero(fits)
            pieces[name] = len(stretches(fits))
            losses[name] = dict(zip(grid.tolist(), found.cross_entropy.tolist(), strict=True))
            first, last = int(inside[0]), int(inside[-1])
            # (a value that fits, the nearest one that does not); equal where the bound fits
            ends[name, -1] = (float(grid[first]), float(grid[max(first - 1, 0)]))
            ends[name, 1] = (float(grid[last]), float(grid[min(last + 1, grid.size - 1)]))
        self._refine(ends, losses)
        profiles = {name: self._profile_grid(name, ends) for name in self.names}
        drawn = self.solve(list(profiles.items()), 10 * FINE)
        result = []
        for name, found in zip(self.names, drawn, strict=True):
            bottom, top = self.range_of(name)
            low, high = ends[name, -1][0], ends[name, 1][0]
            result.append(
                Span(
                    variable=name,
                    low=math.exp(low),
                    best=math.exp(self.best_of(name)),
                    high=math.exp(high),
                    open_low=low <= bottom + 1e-9,
                    open_high=high >= top - 1e-9,
                    pieces=pieces[name],
                    step=math.exp((top - bottom) / (SCAN - 1)),
                    values=np.exp(profiles[name]),
                    losses=found.cross_entropy,
                )
            )
        return tuple(result)

    def _refine(
        self,
        ends: dict[tuple[str, int], tuple[float, float]],
        losses: dict[str, dict[float, float]],
    ) -> None:
        """Move every end to within PRECISION of the ceiling; the secant says where to look."""
        while True:
            open_ = [key for key, (good, bad) in ends.items() if abs(bad - good) > PRECISION]
            if not open_:
                return
            asked = [(key[0], self._cuts(*ends[key], losses[key[0]])) for key in open_]
            for key, (_, logs), found in zip(open_, asked, self.solve(asked), strict=True):
                good, bad = ends[key]
                losses[key[0]] |= dict(
                    zip(logs.tolist(), found.cross_entropy.tolist(), strict=True)
                )
                inside = np.flatnonzero(self.fits(found))
                last = int(inside[-1]) if inside.size else -1
                ends[key] = (
                    float(logs[last]) if last >= 0 else good,
                    float(logs[last + 1]) if last + 1 < logs.size else bad,
                )

    def _cuts(self, good: float, bad: float, losses: dict[float, float]) -> Array:
        """Values between one that fits and one that does not, in that order."""
        shares = np.array([0.2, 0.4, 0.6, 0.8])
        below, above = losses[good], losses[bad]
        if math.isfinite(above) and above > below:
            guess = min(max((self.ceiling - below) / (above - below), 0.02), 0.98)
            shares = np.array([0.5, guess - 0.015, guess, guess + 0.015, 0.5 * (1 + guess)])
        return good + (bad - good) * np.unique(shares)

    def _profile_grid(self, name: str, ends: dict[tuple[str, int], tuple[float, float]]) -> Array:
        bottom, top = self.range_of(name)
        low, high = ends[name, -1][0], ends[name, 1][0]
        margin = max(0.75 * (high - low), 1e-3)
        return np.union1d(
            np.linspace(max(bottom, low - margin), min(top, high + margin), PROFILE),
            [self.best_of(name)],
        )


def _loss(b: Batch, n: Array, d: Array) -> Array:
    return b.supervised.loss_of_reach(b.supervised.log_reach(n, d))


def _shapes(
    problem: Problem, scanner: _Scanner, spans: Sequence[Span], coefficients: CoefficientSet
) -> tuple[tuple[Shape, ...], int]:
    """Buildable models in the set, each solved at its exact size; evenly thinned if many."""
    found: list[Shape] = []
    left_out = 0
    for span in spans:
        if not span.variable.endswith("size"):
            continue
        models = coefficients.architectures.between(span.low, span.high)
        if len(models) > MOST_SHAPES:
            take = np.unique(np.linspace(0, len(models) - 1, MOST_SHAPES).round().astype(int))
            left_out += len(models) - take.size
            models = [models[k] for k in take]
        if not models:
            continue
        logs = np.log([float(model.parameters) for model in models])
        [plans] = scanner.solve([(span.variable, logs)])
        for k, model in enumerate(models):
            if plans.cross_entropy[k] <= scanner.ceiling:
                found.append(
                    Shape(
                        span.variable.partition("_")[0],
                        model,
                        float(plans.cross_entropy[k]),
                        float(plans.student_tokens[k]),
                        float(plans.teacher_tokens[k]),
                    )
                )
    return tuple(found), left_out


def _cheapest_teacher(
    problem: Problem,
    scanner: _Scanner,
    spans: Sequence[Span],
    best: Recipe,
    coefficients: CoefficientSet,
) -> Recipe:
    """The recipe in the set whose teacher takes the fewest FLOPs to train.

    For each teacher cross-entropy the student needs so many tokens to reach the ceiling; among the
    teachers of that cross-entropy which the rest of the budget pays for, the cheapest to train is
    found by `ties`. Cross-entropies (and student sizes, if free) are scanned and zoomed into.
    """
    law = coefficients.distillation
    assert law is not None
    by_name = {span.variable: span for span in spans}
    t = by_name["teacher_cross_entropy"]
    t_low, t_high = math.log(t.low), math.log(t.high)
    u = by_name.get("student_size")
    size = math.log(best.student.parameters or 1.0)
    u_low, u_high = (math.log(u.low), math.log(u.high)) if u else (size, size)
    chosen: tuple[float, Row] | None = None
    sizes = 13 if u else 1
    for _ in range(4):
        at_t, at_u = (
            each.ravel()
            for each in np.meshgrid(
                np.linspace(t_low, t_high, 49), np.linspace(u_low, u_high, sizes)
            )
        )
        found = _cheapest_on(scanner, at_u, np.exp(at_t), law)
        if found is None:
            break
        cost, row, k = found
        if chosen is None or cost < chosen[0]:
            chosen = (cost, row)
        reach_t, reach_u = 1.5 * (t_high - t_low) / 48, 1.5 * (u_high - u_low) / 12
        t_low, t_high = max(t_low, at_t[k] - reach_t), min(t_high, at_t[k] + reach_t)
        u_low, u_high = max(u_low, at_u[k] - reach_u), min(u_high, at_u[k] + reach_u)
    if chosen is None:
        return best
    return recipe_of(chosen[1], replace(problem, budget=problem.budget * (1 + 1e-12)), coefficients)


def _cheapest_on(
    scanner: _Scanner, u: Array, t: Array, law: DistillationForm
) -> tuple[float, Row, int] | None:
    b = Batch.broadcast(
        **{**vars(scanner.batch), "budget": np.full(u.size, scanner.batch.budget[0])}
    )
    y = b.supervised.log_reach_of_loss(t)
    need = np.log(law.tokens_for_loss(np.exp(u), t, scanner.ceiling))
    need = np.maximum(need, np.maximum(b.s_low, b.ratio_low + u))
    front = frontier.solve(b, u, y)
    most = np.minimum(np.minimum(front.s, b.s_high), b.ratio_high + u)
    ok = front.feasible & np.isfinite(need) & (need <= most)
    if not np.any(ok):
        return None
    loss = np.where(ok, scanner.ceiling, np.inf)
    s = np.where(ok, need, most)
    optima = Optima(u, s, front.n, front.d, t, loss, loss, np.zeros(u.size, dtype=np.intp))
    cheap, _ = cheapest_teachers(b, optima, by_training=True)
    forward, _ = b.flops.on_logs(cheap.n)
    cost = np.where(ok, TRAINING * forward * np.exp(cheap.d), np.inf)
    k = int(np.argmin(cost))
    row = Row(float(u[k]), float(s[k]), float(cheap.n[k]), float(cheap.d[k]))
    return float(cost[k]), row, k


def stretches(where: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last positions of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(int)))
    return [(int(start), int(stop) - 1) for start, stop in edges.reshape(-1, 2)]
