"""An independent lower bound on a plan's loss: cutting planes from convex programs in cvxpy.

Nothing of `planner.optimise` is used. Outer variables are the student's size, ``u = log N_S``, and
the teacher's strength, ``r = log(A / N_T^alpha + B / D_T^beta)``, which fixes its loss (Eq. 1). For
given ``(u, s, r)``, with ``s = log D_S``, the least log cost over all teachers at least that strong
is a convex program (Eq. 9 and Eq. 1 are posynomials) and a convex function of ``(u, s, r)``. By
duality any teacher and any multiplier give a plane below it; with the budget, a plane above s.
Between the planes, rectangles in (u, r) are bounded by monotonicity (the second term of Eq. 8 falls
falls in N_S, in D_S and in L_T) and halved until none is left that could hold a better plan.

Further constraints are convex in the logarithms as well. Under them the most student tokens of a
given ``(u, r)`` are sought, with a penalty on what misses a limit, so that there is always an
answer; the multipliers of all limits give the plane.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from laws import DistillationForm, ForwardFlops
from planner.errors import NoDistillationLawError
from planner.posynomial import Posynomial
from planner.problem import Problem, Range, Teacher

Array = NDArray[np.float64]

SLIVER = 1e-12
"""Relative room for rounding at the edge of the allowed."""

GRID = (8, 32)  # rectangles at the start, along log N_S and along r
PLANES = 4  # added at most in each round of halving
PLANES_UNDER_RULES = 24  # the edge of what further constraints allow takes more
MAX_RECTANGLES = 60_000

PENALTY = 1e4  # in log tokens, for a limit missed by 1 in its logarithm
INSIDE = 1e-7  # of a limit's logarithm: what programs keep off it, so that their plans satisfy it


@dataclass(frozen=True)
class SecondBound:
    """No plan has less than `lower` nats; `best` is the best plan met (inf where there is none).

    gave_up: the bound is looser than asked for, more than MAX_RECTANGLES would be needed.
    """

    lower: float
    best: float
    rectangles: int
    gave_up: bool = False


def second_bound(
    problem: Problem,
    coefficients: CoefficientSet,
    incumbent: float = np.inf,
    tolerance: float = 1e-4,
    buildable: bool = False,
) -> SecondBound:
    """Bound a problem's optimum from below, to `tolerance` nats under the better of the incumbent
    (a loss in nats, used to prune) and the best plan met.

    buildable: models to be trained have the sizes of real architectures.
    """
    lower, best, count, gave_up = np.inf, np.inf, 0, False
    for region in _regions(problem, coefficients, buildable):
        found = _search(region, min(incumbent, best), tolerance)
        lower, best = min(lower, found.lower), min(best, found.best)
        count, gave_up = count + found.rectangles, gave_up or found.gave_up
    return SecondBound(lower, best, count, gave_up)


def _regions(problem: Problem, coefficients: CoefficientSet, buildable: bool) -> Iterator[_Region]:
    """One for a teacher to be planned, or one for each existing teacher or buildable size."""
    shapes = coefficients.architectures
    questions: list[tuple[Problem, Teacher | None]] = [(problem, each) for each in problem.teachers]
    if not questions and buildable:
        sizes = [float(each.parameters) for each in shapes.between(*problem.bounds.teacher_size)]
        questions = [
            (replace(problem, bounds=replace(problem.bounds, teacher_size=(size, size))), None)
            for size in sizes
        ]
    for question, teacher in questions or [(problem, None)]:
        region = _Region(question, coefficients, teacher)
        if buildable and problem.student is None:
            found = shapes.between(*region.student_size)
            region.students = tuple(float(each.parameters) for each in found)
        if region.exists:
            yield region


def _search(region: _Region, incumbent: float, tolerance: float) -> SecondBound:
    low, high = region.start()
    lowest, best, count, gave_up = np.inf, np.inf, 0, False
    planes: list[Array] = []
    while low.shape[0]:
        count += low.shape[0]
        most = region.most(low, high, planes)
        lower = region.lower(low, high, most)
        fresh = np.ones(low.shape[0], dtype=bool)  # a second plane at a centre says no more
        for _ in range(PLANES_UNDER_RULES if region.rules else PLANES):
            worst = int(np.argmin(np.where(fresh, lower, np.inf)))
            if not (fresh[worst] and lower[worst] < min(incumbent, best) - tolerance):
                break
            fresh[worst] = not region.rules
            u, r = 0.5 * (low[worst] + high[worst])
            plane, reached = region.plane(u, most[worst], r)
            planes.append(plane)
            best = min(best, reached)
            most = np.minimum(most, region.most(low, high, [plane]))
            lower = region.lower(low, high, most)
        keep = lower < min(incumbent, best) - tolerance
        if np.count_nonzero(keep) > MAX_RECTANGLES:
            keep[:], gave_up = False, True
        lowest = min(lowest, float(np.min(lower[~keep], initial=np.inf)))
        low, high = _halve(low[keep], high[keep])
    return SecondBound(lowest, best, count, gave_up)


def _halve(low: Array, high: Array) -> tuple[Array, Array]:
    """Every rectangle cut in half along every axis that has a width."""
    for axis in range(low.shape[1]):
        if np.all(high[:, axis] == low[:, axis]):
            continue
        middle = 0.5 * (low[:, axis] + high[:, axis])
        left_high, right_low = high.copy(), low.copy()
        left_high[:, axis], right_low[:, axis] = middle, middle
        low, high = np.concatenate([low, right_low]), np.concatenate([left_high, high])
    return low, high


class _Posynomial:
    """``log sum exp(constant + powers @ x)`` of a vector of logarithms x, shape (terms, len(x))."""

    def __init__(self, terms: Sequence[tuple[float, tuple[float, ...]]]) -> None:
        kept = [(factor, powers) for factor, powers in terms if factor > 0]
        self.constant = np.log([factor for factor, _ in kept])
        self.powers = np.array([powers for _, powers in kept])

    def at(self, x: Array) -> tuple[float, Array]:
        """Value and gradient."""
        exponents = self.constant + self.powers @ x
        value = float(np.logaddexp.reduce(exponents))
        return value, np.exp(exponents - value) @ self.powers

    def expression(self, x: Any) -> Any:
        """The same of a cvxpy variable."""
        from cvxpy.atoms.log_sum_exp import log_sum_exp

        return log_sum_exp(self.constant + self.powers @ x)


class _Rule:
    """A further constraint as ``log sum exp(...) <= 0`` of x = log (N_S, D_S, N_T, D_T).

    Its exponents are affine in x and in log F(N_S) and log F(N_T), logarithms of posynomials
    themselves. What is known of an existing teacher is a constant.
    """

    SIZES = (0, 2)

    def __init__(
        self, given: Posynomial, flops: ForwardFlops, teacher: Teacher | None, running: float
    ) -> None:
        quantities = {  # powers of x, then of F(N_S) and F(N_T)
            "student_size": (1.0, 0, 0, 0, 0, 0),
            "student_tokens": (0.0, 1, 0, 0, 0, 0),
            "teacher_size": (0.0, 0, 1, 0, 0, 0),
            "teacher_tokens": (0.0, 0, 0, 1, 0, 0),
            "student_flops": (0.0, 1, 0, 0, 1, 0),
            "teacher_flops": (0.0, 0, 0, 1, 0, 1),
            "inference_flops": (0.0, 1, 0, 0, 0, 1),
        }
        self.constant = np.array([np.log(factor / given.limit) for factor, _ in given.terms])
        self.powers = np.zeros((len(given.terms), 6))
        for row, (_, powers) in enumerate(given.terms):
            for name, power in powers.items():
                self.powers[row] += power * np.array(quantities[name])
                if name in ("student_flops", "teacher_flops"):
                    self.constant[row] += power * np.log(3.0)
        if teacher is not None:
            known = {2: teacher.size, 3: teacher.tokens, 5: running or None}
            for column, value in known.items():
                if np.any(self.powers[:, column]):
                    assert value is not None
                    self.constant += self.powers[:, column] * np.log(value)
                    self.powers[:, column] = 0.0
        self.forward = _Posynomial([(factor, (power,)) for factor, power in _forward(flops)])

    def at(self, x: Array) -> tuple[float, Array]:
        """Value and gradient."""
        runs = [self.forward.at(x[[k]]) for k in self.SIZES]
        exponents = self.constant + self.powers @ np.array([*x, *(value for value, _ in runs)])
        value = float(np.logaddexp.reduce(exponents))
        along = np.exp(exponents - value) @ self.powers
        gradient = along[:4].copy()
        for k, slope, (_, rate) in zip(self.SIZES, along[4:], runs, strict=True):
            gradient[k] += slope * rate[0]
        return value, gradient

    def expression(self, x: Any) -> Any:
        """The same of a cvxpy variable."""
        from cvxpy.atoms.affine.binary_operators import multiply
        from cvxpy.atoms.log_sum_exp import log_sum_exp

        parts = self.constant + self.powers[:, :4] @ x
        for k, power in zip(self.SIZES, self.powers[:, 4:].T, strict=True):
            if np.any(power):
                run = self.forward.expression(x[k : k + 1])
                parts = parts + multiply(power, run * np.ones(len(power)))
        return log_sum_exp(parts)


class _Region:
    """What a problem allows beside one existing teacher, or (None) with a teacher to be planned."""

    def __init__(
        self, problem: Problem, coefficients: CoefficientSet, teacher: Teacher | None
    ) -> None:
        if coefficients.distillation is None:
            raise NoDistillationLawError(
                f"the coefficient set '{coefficients.name}' has no distillation law to bound."
            )
        self.law: DistillationForm = coefficients.distillation
        self.supervised, self.flops = coefficients.supervised, coefficients.flops
        self.problem, self.teacher = problem, teacher
        self.students: tuple[float, ...] = ()  # the only sizes allowed, if there are any
        domain = coefficients.domain if problem.stay_in_domain else None

        def within(quantity: str, wanted: Range = (0.0, np.inf)) -> Range:
            measured = (domain.of(quantity) if domain else None) or (0.0, np.inf)
            return max(wanted[0], measured[0]), min(wanted[1], measured[1])

        bounds = problem.bounds
        self.student_size = within("student_parameters", problem.size_range)
        self.student_tokens = within("student_tokens", bounds.student_tokens)
        self.teacher_size = within("teacher_parameters", bounds.teacher_size)
        self.teacher_tokens = within("teacher_tokens", bounds.teacher_tokens)
        self.ratio = within("student_tokens_per_parameter")
        self.teacher_loss = within("teacher_cross_entropy")
        self.to_supervised = within("teacher_to_supervised")
        self.known_loss = self._known_loss()
        self.exists = all(low <= high for low, high in self._ranges(within))
        self.cost, self.strength = self._cost(), self._strength()
        self.limits: list[_Posynomial | _Rule] = [self.cost]
        running = 0.0 if teacher is None else self._running(teacher.size)
        self.rules = [
            _Rule(Posynomial.parse(text), self.flops, teacher, running)
            for text in problem.constraints
        ]
        self.limits += self.rules

    def _known_loss(self) -> float | None:
        known = self.teacher
        if known is None or known.loss is not None:
            return None if known is None else known.loss
        assert known.size is not None and known.tokens is not None
        return float(self.supervised.loss(known.size, known.tokens))

    def _ranges(self, within: Any) -> list[Range]:
        """All of them have to have a point, or there is no plan."""
        ranges = [self.student_size, self.student_tokens, self.ratio, self.teacher_loss]
        if self.teacher is None:
            return [*ranges, self.teacher_size, self.teacher_tokens]
        if self.teacher.size is not None:
            ranges.append(within("teacher_parameters", (self.teacher.size, self.teacher.size)))
        if self.teacher.tokens is not None:
            ranges.append(within("teacher_tokens", (self.teacher.tokens, self.teacher.tokens)))
        return ranges

    def _cost(self) -> _Posynomial:
        """Eq. 9 over the budget, a posynomial of (N_S, D_S, N_T, D_T)."""
        asked = self.problem
        terms = [(3.0 * factor, (power, 1.0, 0.0, 0.0)) for factor, power in _forward(self.flops)]
        terms += [
            (asked.serving_tokens * factor, (power, 0.0, 0.0, 0.0))
            for factor, power in _forward(self.flops)
        ]
        if self.teacher is not None:
            if (running := self._running(self.teacher.size)) > 0:
                terms.append((asked.charge_inference * running, (0.0, 1.0, 0.0, 0.0)))
        else:
            for factor, power in _forward(self.flops):
                terms.append((asked.charge_inference * factor, (0.0, 1.0, power, 0.0)))
                terms.append((3.0 * asked.charge_pretraining * factor, (0.0, 0.0, power, 1.0)))
        return _Posynomial([(factor / asked.budget, powers) for factor, powers in terms])

    def _strength(self) -> _Posynomial:
        """What is left of a teacher's size and tokens in Eq. 1, a posynomial of (N_T, D_T)."""
        law = self.supervised
        return _Posynomial(
            [(float(law.A), (-float(law.alpha), 0.0)), (float(law.B), (0.0, -float(law.beta)))]
        )

    def start(self) -> tuple[Array, Array]:
        """A grid of rectangles (low, high), each of shape (rectangles, 2), over all (u, r)."""
        u, r, counts = np.log(self.student_size), np.zeros(2), list(GRID)
        if self.teacher is None:
            sides = np.log([self.teacher_size, self.teacher_tokens])
            r = np.array([self.strength.at(sides[:, 1])[0], self.strength.at(sides[:, 0])[0]])
        edges = [
            np.linspace(low, high, count + 1 if high > low else 2)
            for (low, high), count in zip((u, r), counts, strict=True)
        ]
        lows, highs = [edge[:-1] for edge in edges], [edge[1:] for edge in edges]
        if self.students:
            lows[0] = highs[0] = np.log(self.students)
        low = np.stack(np.meshgrid(*lows), axis=-1).reshape(-1, 2)
        high = np.stack(np.meshgrid(*highs), axis=-1).reshape(-1, 2)
        return low, high

    def loss_of(self, r: Array) -> Array:
        """A teacher's loss by its strength."""
        if self.known_loss is not None:
            return np.full(np.shape(r), self.known_loss)
        return np.asarray(self.supervised.E + np.exp(self.supervised.gamma * r))

    def most(self, low: Array, high: Array, planes: Sequence[Array]) -> Array:
        """Upper bounds on log D_S over rectangles."""
        most = np.full(low.shape[0], np.log(self.student_tokens[1]))
        with np.errstate(divide="ignore"):
            most = np.minimum(most, np.log(self.ratio[1]) + high[:, 0])
        for constant, slope_u, slope_r in planes:
            u = np.where(slope_u < 0, low[:, 0], high[:, 0])
            r = np.where(slope_r < 0, low[:, 1], high[:, 1])
            most = np.minimum(most, constant + slope_u * u + slope_r * r)
        if np.isfinite(self.to_supervised[1]):  # L_T / L(N_S, D_S) may not exceed it
            weakest = np.maximum(self.loss_of(low[:, 1]), self.teacher_loss[0])
            capped = self.supervised.tokens_for_loss(
                np.exp(low[:, 0]), weakest / self.to_supervised[1]
            )
            with np.errstate(divide="ignore"):
                most = np.minimum(most, np.log(capped))
        return np.asarray(most)

    def lower(self, low: Array, high: Array, most: Array) -> Array:
        """Lower bounds on the student's loss over rectangles; inf where one holds no plan."""
        small, large = np.exp(low[:, 0]), np.exp(high[:, 0])
        strong = np.maximum(self.loss_of(low[:, 1]), self.teacher_loss[0])
        weak = np.minimum(self.loss_of(high[:, 1]), self.teacher_loss[1])
        least = np.maximum(self.student_tokens[0], self.ratio[0] * small)
        tokens = np.maximum(np.exp(most), least)
        ok = (most >= np.log(least) - SLIVER) & (strong <= weak * (1 + SLIVER))
        own = self.supervised.loss(large, tokens)
        ok &= weak * (1 + SLIVER) >= self.to_supervised[0] * own
        return np.where(ok, strong + self.law.loss(large, tokens, weak) - weak, np.inf)

    def plane(self, u: float, s: float, r: float) -> tuple[Array, float]:
        """A plane (constant, slope in u, slope in r) above log D_S, and the loss of a plan nearby.

        ``log cost + multiplier (strength - r)`` is convex, so its tangent at any point is below it;
        over the teacher's box a tangent is least at a corner.
        """
        if self.rules:
            return self._plane_under_rules(u, r)
        n, d, multiplier = self._teacher_at(u, s, r)
        value, slope = self.cost.at(np.array([u, s, n, d]))
        below = value
        if self.teacher is None:
            strength, towards = self.strength.at(np.array([n, d]))
            left = slope[2:] + multiplier * towards
            sides = np.log([self.teacher_size, self.teacher_tokens]) - np.array([[n], [d]])
            below += multiplier * strength + float(np.sum(np.min(left[:, None] * sides, axis=1)))
        rises = slope[1]
        constant = s + (slope[0] * u - below) / rises
        return np.array([constant, -slope[0] / rises, multiplier / rises]), self._reached(
            u, n, d, r
        )

    def _plane_under_rules(self, u: float, r: float) -> tuple[Array, float]:
        """The same from the program with all limits: a sum of convex functions that are not
        positive where a plan is feasible, each times its multiplier."""
        s, n, d, multipliers, towards_r = self._constrained_program.solve(u, r)
        x = np.array([u, s, n, d])
        below, slope = 0.0, np.zeros(4)
        for limit, multiplier in zip(self.limits, multipliers, strict=True):
            value, gradient = limit.at(x)
            below += multiplier * value
            slope += multiplier * gradient
        if self.teacher is None:
            strength, gradient = self.strength.at(x[2:])
            below += towards_r * strength
            slope[2:] += towards_r * gradient
            sides = np.log([self.teacher_size, self.teacher_tokens]) - x[2:, None]
            below += float(np.sum(np.min(slope[2:, None] * sides, axis=1)))
        if not slope[1] > 0:  # says nothing of s
            return np.array([np.inf, 0.0, 0.0]), np.inf
        plane = [s + (slope[0] * u - below) / slope[1], -slope[0] / slope[1], towards_r / slope[1]]
        return np.array(plane), self._reached_under_rules(x)

    def _reached_under_rules(self, x: Array) -> float:
        """The loss of a plan; inf where it misses a limit."""
        if any(limit.at(x)[0] > 0 for limit in self.limits):
            return np.inf
        size, tokens = float(np.exp(x[0])), float(np.exp(x[1]))
        loss = self.known_loss
        if loss is None:
            loss = float(self.supervised.loss(*np.exp(x[2:])))
        against = loss / float(self.supervised.loss(size, tokens))
        limits = (
            (tokens, self.student_tokens), (tokens / size, self.ratio),
            (loss, self.teacher_loss), (against, self.to_supervised),
        )  # fmt: skip
        if not all(low <= value <= high for value, (low, high) in limits):
            return np.inf
        return float(self.law.loss(size, tokens, loss))

    def _teacher_at(self, u: float, s: float, r: float) -> tuple[float, float, float]:
        """The cheapest teacher (log N_T, log D_T) of at least strength r, and the multiplier."""
        if self.teacher is not None:
            return 0.0, 0.0, 0.0
        high = np.log([self.teacher_size[1], self.teacher_tokens[1]])
        if not np.any(self.cost.powers[:, 2:]):
            return float(high[0]), float(high[1]), 0.0
        if self.teacher_size[0] == self.teacher_size[1]:
            return self._tokens_at(u, s, r)
        program: _Program = self._program
        return program.solve(np.array([u, s]), r)

    def _tokens_at(self, u: float, s: float, r: float) -> tuple[float, float, float]:
        """The same for a teacher of given size, in closed form."""
        n, loss = float(np.log(self.teacher_size[0])), float(self.loss_of(np.asarray(r)))
        with np.errstate(divide="ignore"):
            tokens = np.log(self.supervised.tokens_for_loss(self.teacher_size[0], loss))
        d = float(np.clip(tokens, *np.log(self.teacher_tokens)))
        _, slope = self.cost.at(np.array([u, s, n, d]))
        _, towards = self.strength.at(np.array([n, d]))
        return n, d, float(-slope[3] / towards[1])

    def _running(self, size: float | None) -> float:
        """Forward FLOPs per token of a teacher: its own where it has some, else F(N); 0 where its
        size is unknown."""
        if self.teacher is not None and self.teacher.forward_flops is not None:
            return self.teacher.forward_flops
        return 0.0 if size is None else float(self.flops(size))

    @cached_property
    def _program(self) -> _Program:
        return _Program(self.cost, self.strength, np.log([self.teacher_size, self.teacher_tokens]))

    @cached_property
    def _constrained_program(self) -> _ConstrainedProgram:
        sides = [self.student_tokens, self.teacher_size, self.teacher_tokens]
        if self.teacher is not None:
            sides[1:] = [(1.0, 1.0), (1.0, 1.0)]
        strength = self.strength if self.teacher is None else None
        return _ConstrainedProgram(self.limits, strength, np.log(sides))

    def _reached(self, u: float, n: float, d: float, r: float) -> float:
        """The best loss of students of size u, and of a grid of sizes, under such a teacher of
        strength r; inf where the budget and the limits allow none."""
        asked, size_t, tokens_t, loss = self.problem, None, 0.0, self.known_loss
        if self.teacher is None:
            size_t, tokens_t = self._weakened(n, d, r)
            loss = float(self.supervised.loss(size_t, tokens_t))
        else:
            size_t = self.teacher.size
        assert loss is not None
        size = np.array(self.students or [np.exp(u), *np.geomspace(*self.student_size, GRID[1])])
        running = self._running(size_t)
        training = asked.charge_pretraining * 3.0 * running * tokens_t
        own = self.flops(size)
        rest = asked.budget - training - own * asked.serving_tokens
        tokens = rest / (3.0 * own + asked.charge_inference * running)
        tokens = np.minimum(tokens, np.minimum(self.student_tokens[1], self.ratio[1] * size))
        if np.isfinite(self.to_supervised[1]):
            cap = self.supervised.tokens_for_loss(size, loss / self.to_supervised[1])
            tokens = np.minimum(tokens, cap)
        least = np.maximum(self.student_tokens[0], self.ratio[0] * size)
        ok = tokens >= least * (1 - SLIVER)
        tokens = np.maximum(tokens, least)
        against = loss / self.supervised.loss(size, tokens)
        low, high = self.to_supervised
        ok &= (against >= low * (1 - SLIVER)) & (against <= high * (1 + SLIVER))
        if not self.teacher_loss[0] <= loss <= self.teacher_loss[1]:
            return np.inf
        return float(np.min(np.where(ok, self.law.loss(size, tokens, loss), np.inf)))

    def _weakened(self, n: float, d: float, r: float) -> tuple[float, float]:
        """The teacher with fewer tokens, then smaller, if it is stronger than r."""
        loss = float(self.loss_of(np.asarray(r)))
        low = (self.teacher_size[0], self.teacher_tokens[0])
        size, tokens = np.exp(n), np.exp(d)
        tokens = max(low[1], min(tokens, float(self.supervised.tokens_for_loss(size, loss))))
        return max(low[0], min(size, float(self.supervised.size_for_loss(tokens, loss)))), tokens


class _Program:
    """The least cost over teachers of at least a strength: compiled once, then solved with other
    parameters."""

    def __init__(self, cost: _Posynomial, strength: _Posynomial, sides: Array) -> None:
        import cvxpy as cp
        from cvxpy.atoms.log_sum_exp import log_sum_exp

        self.given, self.r = cp.Parameter(2), cp.Parameter()
        self.teacher = cp.Variable(2)
        charged = (
            cost.constant + cost.powers[:, :2] @ self.given + cost.powers[:, 2:] @ self.teacher
        )
        reached = strength.constant + strength.powers @ self.teacher
        self.strong = log_sum_exp(reached) <= self.r
        box = [self.teacher >= sides[:, 0], self.teacher <= sides[:, 1]]
        self.problem: Any = cp.Problem(cp.Minimize(log_sum_exp(charged)), [self.strong, *box])
        self.sides = sides

    def solve(self, given: Array, r: float) -> tuple[float, float, float]:
        """Teacher and multiplier; what an inaccurate solve returns only loosens the plane."""
        import cvxpy as cp

        self.given.value, self.r.value = given, r
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "Solution may be inaccurate"
                self.problem.solve(solver=cp.CLARABEL)
        except cp.error.SolverError:
            return float(self.sides[0, 1]), float(self.sides[1, 1]), 0.0
        if self.teacher.value is None:
            return float(self.sides[0, 1]), float(self.sides[1, 1]), 0.0
        n, d = np.clip(self.teacher.value, self.sides[:, 0], self.sides[:, 1])
        return float(n), float(d), max(0.0, float(self.strong.dual_value))


class _ConstrainedProgram:
    """The most student tokens beside a teacher of at least a strength, within all limits."""

    def __init__(
        self, limits: Sequence[_Posynomial | _Rule], strength: _Posynomial | None, sides: Array
    ) -> None:
        import cvxpy as cp
        from cvxpy.atoms.affine.hstack import hstack

        self.u, self.r = cp.Parameter(), cp.Parameter()
        self.free, over = cp.Variable(3), cp.Variable(nonneg=True)  # s, n, d
        size = cp.Variable(1)  # with FLOPs to powers, u has to be a variable to be convex
        x = hstack([size, self.free])
        within = [self.free >= sides[:, 0], self.free <= sides[:, 1], size == self.u]
        self.limits = [limit.expression(x) + INSIDE <= over for limit in limits]
        self.strong = [] if strength is None else [strength.expression(self.free[1:]) <= self.r]
        within += [*self.limits, *self.strong]
        self.problem: Any = cp.Problem(cp.Maximize(self.free[0] - PENALTY * over), within)
        self.sides = sides

    def solve(self, u: float, r: float) -> tuple[float, float, float, list[float], float]:
        """Log tokens, teacher and multipliers; inaccurate ones only loosen the plane."""
        import cvxpy as cp

        self.u.value, self.r.value = u, r
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # "Solution may be inaccurate"
                self.problem.solve(solver=cp.CLARABEL)
        except cp.error.SolverError:
            pass
        if self.free.value is None or self.limits[0].dual_value is None:
            s, n, d = self.sides[:, 1]
            return s, n, d, [1.0] + [0.0] * (len(self.limits) - 1), 0.0
        s, n, d = (float(v) for v in np.clip(self.free.value, self.sides[:, 0], self.sides[:, 1]))
        multipliers = [max(0.0, float(each.dual_value)) for each in self.limits]
        return s, n, d, multipliers, max([0.0, *(float(each.dual_value) for each in self.strong)])


def _forward(flops: ForwardFlops) -> list[tuple[float, float]]:
    """F(N) as factors and powers of N."""
    return [
        (float(flops.parameter), 1.0),
        (float(flops.attention), 2 / 3),
        (float(flops.head), 1 / 3),
    ]
