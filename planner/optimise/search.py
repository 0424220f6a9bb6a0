"""Certified branch and bound over boxes in (y, u), for all problems of a batch at once.

Per round, every open box is solved at one of its points (a plan and a supporting plane from
`frontier`), bounded from below (`bound`), and closed if its bound is within the tolerance of the
best known plan, or cut otherwise. `refine` moves the best plan to the bottom of its valley, after
the first round and whenever a deeper one is found; boxes are then cut around it and touch the loss
on the side that faces it, which proves a valley in one or two more rounds. What remains of the
tolerance covers rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from planner.optimise.batch import Array, Batch, Index
from planner.optimise.bound import Boxes
from planner.optimise.frontier import Penalised
from planner.optimise.points import Best, Solved, examine
from planner.optimise.refine import refine
from planner.optimise.starts import reach_range

ROUNDING = 1e-11
"""Margin in nats subtracted from every lower bound. Evaluating the law and its bounds takes some
hundred double operations on logarithms of size up to about 50, so their errors stay below 1e-12;
tests compare with 40-digit arithmetic."""

RELATIVE_ROUNDING = 1e-13
"""The same as a share of the loss, for losses of many nats."""

MAX_ROUNDS = 60
MAX_BOXES = 30_000
"""Open boxes of one problem at which its search gives up; its gap says how far it came."""

MAX_CONSTRAINED = 3_000
"""The same under further constraints, where every box costs a convex program."""

NARROW = 1e-12  # half widths of boxes that are cut no further
CHUNK = 4_096  # problems that share a round: arrays of this size stay in the cache
MINOR = 0.1  # share of the miss along one direction below which the other is all that counts
NEAR = 2.0  # half widths within which the best plan says how a box is cut
GROWTH, MOST_PARTS = 1.8, 24  # of the parts around it


@dataclass(frozen=True)
class Fan:
    """How finely boxes are cut: first into `y` by `u`, later each open one into `split` a side.

    A call of numpy costs the same for one box and for a hundred, so few problems are cut finely to
    need few rounds, and many coarsely to need few boxes.
    """

    y: int
    u: int
    split: int


FINE, COARSE = Fan(48, 10, 4), Fan(14, 6, 3)
FINE_PROBLEMS = 16


@dataclass(frozen=True)
class Optima:
    """Best plans found and proofs, arrays over problems; NaN and inf where none is feasible."""

    u: Array
    s: Array
    n: Array
    d: Array
    t: Array
    loss: Array
    lower_bound: Array
    boxes: Index

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Where a plan exists."""
        return np.isfinite(self.loss)

    @property
    def gap(self) -> Array:
        """Loss minus its lower bound, nats."""
        return self.loss - self.lower_bound


def minimise(
    b: Batch,
    tolerance: Array | float,
    polish: bool = True,
    owner: Index | None = None,
) -> Optima:
    """Minimise every problem of the batch to a certified gap of at most `tolerance` nats.

    `polish` moves the answers from somewhere within the tolerance to the optimum itself: valleys
    are flat, so recipes that differ by percents in size can share a loss. `owner` (rising) says
    which rows are candidates of one question, such as its existing teachers: only the best of them
    is searched to the end, and only the smallest of their bounds says anything.
    """
    problems = len(b)
    goal = np.broadcast_to(np.asarray(tolerance, dtype=float), (problems,))
    owner = np.arange(problems) if owner is None else owner
    cuts = [0]
    while cuts[-1] < problems:  # a question's rows stay together
        end = min(cuts[-1] + CHUNK, problems)
        cuts.append(int(np.searchsorted(owner, owner[end - 1], side="right")))
    parts = []
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        for start, end in pairwise(cuts):
            rows = np.arange(start, end)
            part = b if len(rows) == problems else b.take(rows)
            parts.append(_minimise(part, goal[rows], polish, owner[rows] - owner[start]))
    if len(parts) == 1:
        return parts[0]
    names = Optima.__dataclass_fields__
    return Optima(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _minimise(b: Batch, tolerance: Array, polish: bool, owner: Index) -> Optima:
    problems = len(b)
    low, high = reach_range(b)
    best = Best(b, low, high, owner)
    bound = np.full(problems, np.inf)
    counted = np.zeros(problems, dtype=np.intp)
    fan = FINE if problems <= FINE_PROBLEMS else COARSE
    index, boxes, z = _roots(b, low, high, fan)
    _try_smallest(b, best, index, boxes)
    refined = best.loss.copy()
    for round_ in range(MAX_ROUNDS):
        if index.size == 0:
            break
        counted += np.bincount(index, minlength=problems)
        local = b if problems == 1 else b.take(index)
        found = examine(local, boxes, z)
        best.offer(index, boxes, found)
        # the first grid's best plan, later those of a valley that it missed
        deeper = np.flatnonzero((round_ == 0) | (best.loss < refined - tolerance))
        if deeper.size:
            refine(b, best, tolerance, polish, deeper)
            refined[deeper] = best.loss[deeper]
        enough = best.least - 0.9 * tolerance
        enough = enough + 2.0 * (ROUNDING + RELATIVE_ROUNDING * np.abs(best.least))
        open_ = found.lower < enough[index]
        if not open_.any():
            _lower(bound, index, found.lower)
            break
        wide = (found.rest.half_y > NARROW) | (found.rest.half_u > NARROW)
        most = MAX_CONSTRAINED if isinstance(b, Penalised) else MAX_BOXES
        many = np.bincount(index[open_], minlength=problems) > most
        open_ &= wide & ~many[index] & (round_ < MAX_ROUNDS - 1)
        _lower(bound, index[~open_], found.lower[~open_])
        index, boxes, z = _cut(index, boxes, found, open_, best, tolerance, fan.split)
    if polish and np.any(best.loss < refined - 1e-3 * tolerance):  # another valley is deeper
        refine(b, best, tolerance, polish)
    margin = ROUNDING + RELATIVE_ROUNDING * np.abs(np.where(np.isfinite(bound), bound, 0.0))
    return Optima(**best.plans(), lower_bound=bound - margin, boxes=counted)


def _lower(bound: Array, index: Index, values: Array) -> None:
    np.minimum.at(bound, index, values)


def _try_smallest(b: Batch, best: Best, index: Index, boxes: Boxes) -> None:
    """Plans of the smallest student allowed: all that there is where the budget barely suffices."""
    first = boxes.u - boxes.half_u <= b.u_low[index]  # of the grid over sizes
    free = np.flatnonzero((b.u_low < b.u_high)[index] & first)
    if free.size == 0:
        return
    rows = index[free]
    edge = Boxes.centred(boxes.y[free], b.u_low[rows], boxes.half_y[free], np.zeros(free.size))
    best.offer(rows, edge, examine(b.take(rows), edge, None))


def _roots(b: Batch, low: Array, high: Array, fan: Fan) -> tuple[Index, Boxes, Array | None]:
    """The first boxes: a grid over the teacher's reach and, if free, the student's size."""
    possible = np.flatnonzero(low <= high)
    in_y = np.where(b.existing[possible] | (low == high)[possible], 1, fan.y)
    in_u = np.where((b.u_low == b.u_high)[possible], 1, fan.u)
    per_problem = in_y * in_u
    index = np.repeat(possible, per_problem)
    first = np.repeat(np.cumsum(per_problem) - per_problem, per_problem)
    position = np.arange(index.size) - first
    rows_y, rows_u = np.repeat(in_y, per_problem), np.repeat(in_u, per_problem)
    half_y = 0.5 * (high - low)[index] / rows_y
    half_u = 0.5 * (b.u_high - b.u_low)[index] / rows_u
    y = low[index] + (2 * (position % rows_y) + 1) * half_y
    u = b.u_low[index] + (2 * (position // rows_y) + 1) * half_u
    return index, Boxes.centred(y, u, half_y, half_u), None


def _cut(
    index: Index,
    solved: Boxes,
    found: Solved,
    open_: NDArray[np.bool_],
    best: Best,
    tolerance: Array,
    split: int,
) -> tuple[Index, Boxes, Array]:
    """Cut every open box: around the best plan where it holds it, evenly elsewhere."""
    index, boxes, z = index[open_], found.rest.take(open_), found.z[open_]
    loose = found.loose[open_]
    values = best.values
    own_y, own_u = values["y"][index], values["u"][index]
    # half widths at which what is loose, and what the slopes leave, are within the tolerance
    shrink = np.sqrt(0.5 * tolerance[index] / np.maximum(loose, 1e-300))
    steep_y = 0.4 * tolerance[index] / np.abs(values["slope_y"][index])
    steep_u = 0.4 * tolerance[index] / np.abs(values["slope_u"][index])
    narrow_y = np.minimum(shrink * solved.half_y[open_], steep_y)
    narrow_u = np.minimum(shrink * solved.half_u[open_], steep_u)
    gap_y, gap_u = np.abs(own_y - boxes.y), np.abs(own_u - boxes.u)
    near = (gap_y <= NEAR * boxes.half_y) & (gap_u <= NEAR * boxes.half_u)
    # what the bound misses by its slope along y and along u; a direction that hardly adds to it is
    # left whole, or boxes along the edge of what the budget pays for would fill a plane
    miss_y = np.abs(found.slope_y[open_]) * boxes.half_y
    miss_u = np.abs(found.slope_u[open_]) * boxes.half_u
    whole_y = ~near & (miss_y + loose < MINOR * miss_u)
    whole_u = ~near & (miss_u + loose < MINOR * miss_y)
    edges_y = _edges(boxes.y, boxes.half_y, own_y, np.where(near, narrow_y, 0.0), split, whole_y)
    edges_u = _edges(boxes.u, boxes.half_u, own_u, np.where(near, narrow_u, 0.0), split, whole_u)
    y0, y1 = edges_y[:, None, :-1], edges_y[:, None, 1:]
    u0, u1 = edges_u[:, :-1, None], edges_u[:, 1:, None]
    shape = (index.size, edges_u.shape[1] - 1, edges_y.shape[1] - 1)
    y0, y1, u0, u1 = (np.broadcast_to(edge, shape) for edge in (y0, y1, u0, u1))
    real = (y1 > y0) | ((boxes.half_y == 0)[:, None, None] & (np.arange(shape[2]) == 0))
    real &= (u1 > u0) | ((boxes.half_u == 0)[:, None, None] & (np.arange(shape[1]) == 0)[:, None])
    parent = np.nonzero(real)[0]
    y0, y1, u0, u1 = y0[real], y1[real], u0[real], u1[real]
    own_y, own_u = own_y[parent], own_u[parent]
    holds = (own_y >= y0) & (own_y <= y1) & (own_u >= u0) & (own_u <= u1)
    y, u = 0.5 * (y0 + y1), 0.5 * (u0 + u1)
    at_y, at_u = np.where(holds, own_y, y), np.where(holds, own_u, u)
    children = Boxes(y, u, 0.5 * (y1 - y0), 0.5 * (u1 - u0), at_y, at_u)
    return index[parent], children, z[parent]


def _edges(
    centre: Array, half: Array, own: Array, narrow: Array, split: int, whole: NDArray[np.bool_]
) -> Array:
    """Ends of the parts of intervals, (boxes, parts + 1), some of no width.

    Around the best plan parts grow away from a narrow one by a factor, since what a bound misses
    falls with the square of the width and the loss rises with the square of the distance; the rest
    (narrow = 0) is cut evenly, or not at all.
    """
    if not half.any():
        return np.stack([centre, centre], axis=1)
    low, high = (centre - half)[:, None], (centre + half)[:, None]
    even = centre[:, None] + half[:, None] * np.linspace(-1.0, 1.0, split + 1)
    even = np.where(whole[:, None] & (np.arange(split + 1) > 0), high, even)
    around = narrow > 0
    if not around.any():
        return even
    first = np.where(around, np.minimum(narrow, 0.5 * half), np.inf)
    far = np.max(np.where(around, (np.abs(own - centre) + half) / first, 1.0))
    count = min(int(np.log(far) / np.log(GROWTH)) + 1, MOST_PARTS)
    steps = first[:, None] * GROWTH ** np.arange(count)
    own = own[:, None]
    cuts = np.concatenate([low, own - steps[:, ::-1], own + steps, high], axis=1)
    inside = (own >= low) & (own <= high)
    cuts = np.concatenate([cuts, np.where(inside, high, centre[:, None])], axis=1)
    cuts = np.sort(np.minimum(np.maximum(cuts, low), high), axis=1)
    spare = cuts.shape[1] - even.shape[1]
    if spare > 0:
        even = np.concatenate([even, np.repeat(high, spare, axis=1)], axis=1)
    elif spare < 0:
        cuts = np.concatenate([cuts, np.repeat(high, -spare, axis=1)], axis=1)
    return np.where(around[:, None], cuts, even)
