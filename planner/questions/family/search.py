"""Certified branch and bound over the teacher's reach for many families at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.optimise import ROUNDING
from planner.optimise.batch import Array, Index
from planner.optimise.starts import reach_range
from planner.questions.family.bound import lower_bounds
from planner.questions.family.fleet import Fleet, Points, solve

ROOTS, SCAN, SPLIT = 24, 48, 4
MAX_ROUNDS, MAX_BOXES = 14, 4_000
POLISH = 8


@dataclass(frozen=True)
class FleetOptima:
    """Best plans and proofs, arrays over problems; inf and NaN where none is feasible.

    s, n, d: log tokens of every kind, log size and tokens of the teacher; loss: weighted mean.
    """

    s: Array
    n: Array
    d: Array
    t: Array
    loss: Array
    lower_bound: Array
    boxes: Index


class _Best:
    NAMES = ("n", "d", "t", "y", "loss", "s")

    def __init__(self, problems: int, kinds: int) -> None:
        self.values = {name: np.full(problems, np.nan) for name in self.NAMES}
        self.values["s"] = np.full((problems, kinds), np.nan)
        self.values["loss"][:] = np.inf

    def offer(self, row: Index, at: Points) -> None:
        order = np.lexsort((at.loss, row))
        rows, first = np.unique(row[order], return_index=True)
        pick = order[first]
        better = at.loss[pick] < self.values["loss"][rows]
        rows, pick = rows[better], pick[better]
        for name in self.NAMES:
            self.values[name][rows] = getattr(at, name)[pick]


def minimise(f: Fleet, tolerance: float) -> FleetOptima:
    """Minimise the weighted cross-entropy of every problem to a gap of at most `tolerance` nats."""
    problems = f.budget.size
    best = _Best(problems, f.u.size)
    bound = np.full(problems, np.inf)
    counted = np.zeros(problems, dtype=np.intp)
    low, high = (float(edge[0]) for edge in reach_range(f.b))
    if low <= high:
        _scan(f, best, low, high)
        goal = 0.9 * tolerance - 3 * ROUNDING
        boxes = _Boxes.roots(problems, low, high)
        for round_ in range(MAX_ROUNDS):
            if boxes.row.size == 0:
                break
            counted += np.bincount(boxes.row, minlength=problems)
            at = solve(f, boxes.row, boxes.y)
            best.offer(boxes.row, at)
            enough = best.values["loss"][boxes.row] - goal
            lower = lower_bounds(f, boxes.row, at, boxes.half, enough)
            open_ = lower < enough
            if round_ == MAX_ROUNDS - 1 or np.count_nonzero(open_) > MAX_BOXES:
                open_[:] = False  # give up honestly: the gap reported is the one reached
            np.minimum.at(bound, boxes.row[~open_], lower[~open_])
            boxes = boxes.split(open_)
    lost = np.isfinite(best.values["loss"]) & ~np.isfinite(bound)
    bound = np.where(lost, best.values["loss"], bound)  # every box beaten: the plan is the bound
    values = {name: best.values[name] for name in ("s", "n", "d", "t", "loss")}
    return FleetOptima(**values, lower_bound=bound - 3 * ROUNDING, boxes=counted)


def _scan(f: Fleet, best: _Best, low: float, high: float) -> None:
    """A good plan before the proof starts: teachers along the range of reaches, then parabolas."""
    problems = f.budget.size
    count = 1 if low == high else SCAN
    y = np.linspace(low, high, count)
    row = np.repeat(np.arange(problems), count)
    best.offer(row, solve(f, row, np.tile(y, problems)))
    step = np.full(problems, (high - low) / max(count - 1, 1))
    for _ in range(POLISH if count > 1 else 0):
        rows = np.flatnonzero(np.isfinite(best.values["loss"]))
        if rows.size == 0:
            return
        centre, wide = best.values["y"][rows], step[rows]
        spread = np.clip(centre[:, None] + wide[:, None] * np.array([-1.0, 0.0, 1.0]), low, high)
        at = solve(f, np.repeat(rows, 3), spread.ravel())
        best.offer(np.repeat(rows, 3), at)
        minus, middle, plus = at.loss.reshape(-1, 3).T
        with np.errstate(divide="ignore", invalid="ignore"):
            curvature = plus - 2 * middle + minus
            move = np.clip(-0.5 * (plus - minus) / curvature, -1, 1)
        move = np.where(np.isfinite(move) & (curvature > 0), move, 0.0)
        best.offer(rows, solve(f, rows, np.clip(centre + wide * move, low, high)))
        step = step / 3


@dataclass(frozen=True)
class _Boxes:
    row: Index
    y: Array
    half: Array

    @classmethod
    def roots(cls, problems: int, low: float, high: float) -> _Boxes:
        count = 1 if low == high else ROOTS
        half = 0.5 * (high - low) / count
        y = low + (2 * np.arange(count) + 1) * half
        return cls(
            np.repeat(np.arange(problems), count),
            np.tile(y, problems),
            np.full(problems * count, half),
        )

    def split(self, keep: NDArray[np.bool_]) -> _Boxes:
        row = np.repeat(self.row[keep], SPLIT)
        y, half = np.repeat(self.y[keep], SPLIT), np.repeat(self.half[keep], SPLIT)
        offsets = (2.0 * np.arange(SPLIT) + 1.0) / SPLIT - 1.0
        y = y + np.tile(offsets, row.size // SPLIT) * half
        return _Boxes(row, y, half / SPLIT)
