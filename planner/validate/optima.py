"""The best plan under many laws at once, by grid and pattern search: no proof, nothing shared.

What the optimiser says of draws of the coefficients, or of coefficients at the ends of their
intervals, is compared with this.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from coefficients import CoefficientSet
from planner.problem import Problem
from planner.validate.region import Array, Region, regions

TEACHERS, STUDENTS = 25, 9  # grid points along an axis of the teacher, and of the student's size
ROUNDS = 60
STEPS = (1.0, 0.1, 0.01)
SHRINK, GROW = 0.7, 1.6
TILT, RISE = 0.3, 3e-5  # a valley whose loss rises less than that, so far along an axis, is flat
RANDOM = 21  # directions beside those of a grid
SLACK = 1e-9  # of the budget; less unspent is rounding
MOVES = np.array(np.meshgrid(*[(-1.0, 0.0, 1.0)] * 3)).reshape(3, 1, -1)


@dataclass(frozen=True)
class Best:
    """Arrays over the laws; NaN for the size and tokens of an existing teacher."""

    student_parameters: Array
    student_tokens: Array
    teacher_parameters: Array
    teacher_tokens: Array
    teacher_cross_entropy: Array
    cross_entropy: Array
    flat: Array
    """1 where sizes or tokens hardly matter, so that any of a wide range is as good."""


def best_plans(problem: Problem, coefficients: CoefficientSet) -> Best:
    """The best plan of a problem under each law; coefficients have shape (laws, 1)."""
    found = [_search(region) for region in regions(problem, coefficients)]
    if not found:
        laws = np.shape(coefficients.supervised.E)[0]
        nothing = np.full(laws, np.nan)
        return Best(nothing, nothing, nothing, nothing, nothing, np.full(laws, np.inf), nothing)
    pick = np.argmin(np.stack([each.cross_entropy for each in found]), axis=0)
    return Best(
        **{
            field.name: np.take_along_axis(
                np.stack([getattr(each, field.name) for each in found]), pick[None], 0
            )[0]
            for field in fields(Best)
        }
    )


def _search(region: Region) -> Best:
    axes = [region.student_size, region.teacher_size, region.teacher_tokens]
    if region.teacher is not None:
        axes[1:] = [(1.0, 1.0), (1.0, 1.0)]
    low, high = np.log(np.array(axes)).T[..., None, None]
    counts = (STUDENTS, TEACHERS, TEACHERS)
    lines = [
        np.linspace(lo, hi, count if hi > lo else 1)
        for lo, hi, count in zip(low.ravel(), high.ravel(), counts, strict=True)
    ]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*lines)])[:, None, :]
    grid[2] = region.fitted(*grid)
    losses = region.loss(*np.exp(grid))
    point = grid[:, 0, np.argmin(losses, axis=1)][..., None]
    best = np.min(losses, axis=1)[:, None]
    for start in STEPS:
        point, best = _walk(region, point, best, start, (low, high))
        if region.teacher is None:  # a cheaper teacher as good frees budget to walk on with
            n, d = _cheapest(region, point, (low, high))
            point = np.stack([point[0], n, d])
    return _described(region, point, best)


def _walk(
    region: Region, point: Array, best: Array, start: float, ends: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Pattern search of every law at once, from steps of `start` down."""
    step = np.full(best.shape, start)
    chance = np.random.default_rng(0)  # a narrow valley lies in no direction of a grid
    for _ in range(ROUNDS):
        moves = np.concatenate([MOVES, chance.normal(size=(3, 1, RANDOM))], axis=2)
        around = np.clip(point + step * moves, *ends)
        around[2] = region.fitted(*around)
        losses = region.loss(*np.exp(around))
        pick = np.argmin(losses, axis=1)[:, None]
        least = np.take_along_axis(losses, pick, 1)
        better = least < best
        point = np.where(better, np.take_along_axis(around, pick[None], 2), point)
        best, step = np.minimum(best, least), np.where(better, GROW * step, SHRINK * step)
    return point, best


def _described(region: Region, point: Array, best: Array) -> Best:
    student, size, tokens = np.exp(point)
    planned = np.nan if region.teacher is not None else 1.0
    columns = (
        student,
        region.tokens(student, size, tokens),
        size * planned,
        tokens * planned,
        region.teacher_cross_entropy(size, tokens),
        best,
        _flat(region, point, best),
    )
    return Best(*(np.broadcast_to(each, best.shape)[:, 0].copy() for each in columns))


def _flat(region: Region, point: Array, best: Array) -> Array:
    """Whether some variable can move far along its axis, the budget kept, at hardly any loss."""
    flat = np.zeros(best.shape)
    axes = (region.student_size, region.teacher_size, region.teacher_tokens)
    for axis, (low, high) in enumerate(axes):
        if low == high or (axis and region.teacher is not None):
            continue
        for tilt in (-TILT, TILT):
            moved = point.copy()
            moved[axis] += tilt
            inside = (moved[axis] > np.log(low)) & (moved[axis] < np.log(high))
            flat = np.maximum(flat, inside & (region.loss(*np.exp(moved)) < best + RISE))
    return flat


def _cheapest(region: Region, point: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
    """Where the budget leaves a choice of teachers of one cross-entropy: the cheapest one.

    Cheapest is what the budget pays for it, or its training where the budget pays for neither.
    """
    problem, law = region.problem, region.coefficients.supervised
    u, n, d = point
    per_token = region.coefficients.flops.per_token
    student, loss = np.exp(u), law.loss(np.exp(n), np.exp(d))
    read = region.tokens(student, np.exp(n), np.exp(d))
    free = problem.charge_inference == 0 and problem.charge_pretraining == 0
    slack = free | (read < region.affordable(student, np.exp(n), np.exp(d)) * (1 - SLACK))
    if not np.any(slack):
        return n, d
    shares = (0.0, 1.0) if free else (problem.charge_inference, problem.charge_pretraining)

    def cost(size: Array) -> Array:
        tokens = law.tokens_for_loss(np.exp(size), loss)
        paid = per_token(np.exp(size)) * (shares[0] * read + 3.0 * shares[1] * tokens)
        with np.errstate(divide="ignore"):
            return np.where(np.log(tokens) > ends[1][2], np.inf, np.log(paid))

    low, high = np.broadcast_to(ends[0][1], n.shape), np.broadcast_to(ends[1][1], n.shape)
    fewest = np.log(np.exp(ends[0][2]))
    for _ in range(60):  # the sizes whose tokens are within bounds
        middle = 0.5 * (low + high)
        short = np.log(law.tokens_for_loss(np.exp(middle), loss)) > ends[1][2]
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    low = high
    high = np.log(np.minimum(law.size_for_loss(np.exp(fewest), loss), np.exp(ends[1][1])))
    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    for _ in range(80):
        left, right = high - golden * (high - low), low + golden * (high - low)
        down = cost(left) <= cost(right)
        low, high = np.where(down, low, left), np.where(down, right, high)
    size = high
    tokens = np.log(law.tokens_for_loss(np.exp(size), loss))
    return np.where(slack, size, n), np.where(slack, tokens, d)
