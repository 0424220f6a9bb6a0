"""A second proof of a lower bound, from monotonicity alone; shares nothing with the optimiser.

Boxes in log N_S, log N_T, log D_T. Over a box the teacher's loss is at least ``L(N_T, D_T)`` at the
high corner, the student's tokens are at most what the budget leaves at the low corner (every cost
rises), and the second term of Eq. 8 falls in the student's size, its tokens and the teacher's loss.
Coarse and slow beside the optimiser's planes, but short enough to check by eye. Inside the domain
of validity its ranges only take plans away, so the same bound holds with the ranges cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from planner.problem import Problem
from planner.validate.region import SLIVER, Region, regions

Array = NDArray[np.float64]

MAX_BOXES = 200_000
POLISH_ROUNDS = 60


@dataclass(frozen=True)
class SecondBound:
    """`lower` nats: no plan does better. `best`: the best plan met on the way (inf if none)."""

    lower: float
    best: float
    boxes: int


def second_bound(
    problem: Problem,
    coefficients: CoefficientSet,
    incumbent: float,
    tolerance: float = 1e-4,
    buildable: bool = False,
) -> SecondBound:
    """Bound the problem's optimum from below until it is within `tolerance` of the incumbent.

    Stops with what it has when the open boxes exceed MAX_BOXES. `incumbent` only prunes: boxes
    whose bound is above ``incumbent - tolerance`` are closed. buildable: planned teachers have the
    size of a real architecture. Both numbers are inf where there is no plan.
    """
    allowed = [_buildable(each) if buildable else each for each in regions(problem, coefficients)]
    each = [_search(region, incumbent, tolerance) for region in allowed]
    return SecondBound(
        min((one.lower for one in each), default=np.inf),
        min((one.best for one in each), default=np.inf),
        sum(one.boxes for one in each),
    )


def _buildable(region: Region) -> Region:
    if region.teacher is not None:
        return region
    models = region.coefficients.architectures.between(*region.teacher_size)
    return replace(region, sizes=tuple(float(model.parameters) for model in models))


def _search(region: Region, incumbent: float, tolerance: float) -> SecondBound:
    low, high = _start(region)
    lowest, best, count = np.inf, np.inf, 0
    point = low[:1]
    while low.shape[0]:
        count += low.shape[0]
        lower = _lower(region, low, high)
        middle = region.loss(*np.exp(0.5 * (low + high)).T)
        first = int(np.argmin(middle))
        if middle[first] < best:
            best, point = float(middle[first]), 0.5 * (low + high)[first : first + 1]
        keep = lower < min(incumbent, best) - tolerance
        if np.count_nonzero(keep) > MAX_BOXES:
            keep[:] = False
        lowest = min(lowest, float(np.min(lower[~keep], initial=np.inf)))
        low, high = _halve(low[keep], high[keep])
    if np.isfinite(best):
        best = _polish(region, point, best)
    return SecondBound(lowest, best, count)


def _start(region: Region) -> tuple[Array, Array]:
    """One box over everything, or one per buildable teacher; existing teachers have no width."""
    axes = [region.student_size, region.teacher_size, region.teacher_tokens]
    if region.teacher is not None:
        axes[1:] = [(1.0, 1.0), (1.0, 1.0)]
    low = np.log([[axis[0] for axis in axes]])
    high = np.log([[axis[1] for axis in axes]])
    if region.sizes:
        low, high = (np.repeat(edge, len(region.sizes), axis=0) for edge in (low, high))
        low[:, 1] = high[:, 1] = np.log(region.sizes)
    return low, high


def _halve(low: Array, high: Array) -> tuple[Array, Array]:
    """Every box cut in half along every axis that has a width."""
    for axis in range(low.shape[1]):
        if np.all(high[:, axis] == low[:, axis]):
            continue
        middle = 0.5 * (low[:, axis] + high[:, axis])
        left_high, right_low = high.copy(), low.copy()
        left_high[:, axis], right_low[:, axis] = middle, middle
        low, high = np.concatenate([low, right_low]), np.concatenate([left_high, high])
    return low, high


def _lower(region: Region, low: Array, high: Array) -> Array:
    """Lower bounds over the boxes; inf where a box holds no plan."""
    small, large = np.exp(low).T, np.exp(high).T
    t_best = np.maximum(region.teacher_cross_entropy(large[1], large[2]), region.teacher_loss[0])
    t_worst = np.minimum(region.teacher_cross_entropy(small[1], small[2]), region.teacher_loss[1])
    supervised = region.coefficients.supervised
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        most = np.minimum(region.affordable(*small), region.student_tokens[1])
        most = np.minimum(most, region.ratio[1] * large[0])
        if np.isfinite(region.to_supervised[1]):  # L_T / L(N_S, D_S) may not exceed it
            weakest = t_best / region.to_supervised[1]
            most = np.minimum(most, supervised.tokens_for_loss(small[0], weakest))
        least = region.least(small[0])
        paid = np.maximum(most, least)
        ok = (most >= least * (1 - SLIVER)) & (t_best <= t_worst * (1 + SLIVER))
        ok &= t_worst * (1 + SLIVER) >= region.to_supervised[0] * supervised.loss(large[0], paid)
        second = region.law.loss(large[0], paid, t_worst) - t_worst
        return np.where(ok, t_best + second, np.inf)


def _polish(region: Region, point: Array, best: float) -> float:
    """A pattern search from the best centre: the better plan it finds, the sharper the check."""
    low, high = (np.min(edge, axis=0) for edge in _start(region))
    free = (high > low) & np.array([True, not region.sizes, True])
    moves = np.array(np.meshgrid(*[(-1.0, 0.0, 1.0)] * 3)).reshape(3, -1).T * free
    step, edge = 0.05, np.max(_start(region)[1], axis=0)
    for _ in range(POLISH_ROUNDS):
        around = np.clip(
            point + step * moves, np.where(free, low, point), np.where(free, edge, point)
        )
        losses = region.loss(*np.exp(around).T)
        first = int(np.argmin(losses))
        if losses[first] < best:
            best, point = float(losses[first]), around[first : first + 1]
        else:
            step *= 0.4
    return best
