"""Lower bounds on the student's cross-entropy over boxes in (y, u).

The law states an affine function of (u, s, log t) that is below L_S over a region
(`DistillationForm.support`). L_S falls in s, so s may be replaced by an upper bound that is affine
over the box, and log t is convex in y, so it lies above its tangents and below its chord. What
results is affine in (y, u), and its smallest value over the box is a bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laws.distillation import Region
from planner.optimise.batch import Array, Batch, Index


@dataclass(frozen=True)
class Cap:
    """s is at most ``at_point + along_y (y - py) + along_u (u - pu)`` over a box at (py, pu).

    `least` is the fewest tokens allowed: where the plane is below them, no plan is feasible.
    """

    at_point: Array
    along_y: Array
    along_u: Array
    least: Array


@dataclass(frozen=True)
class Boxes:
    """Boxes in (y, u) and a point of each, at which bounds touch the loss.

    Half widths are zero where a variable is given.
    """

    y: Array
    u: Array
    half_y: Array
    half_u: Array
    at_y: Array
    at_u: Array

    def take(self, keep: NDArray[np.bool_] | Index) -> Boxes:
        """The boxes at these positions (indices or a mask)."""
        return Boxes(
            self.y[keep], self.u[keep], self.half_y[keep], self.half_u[keep],
            self.at_y[keep], self.at_u[keep],
        )  # fmt: skip

    @classmethod
    def centred(cls, y: Array, u: Array, half_y: Array, half_u: Array) -> Boxes:
        """Boxes with their centres as points."""
        return cls(y, u, half_y, half_u, y, u)


@dataclass(frozen=True)
class Enclosure:
    """Over boxes: the loss at the points, lower bounds, and the bounds' slopes.

    loose: by how much the bound misses the loss at the point for reasons other than its slopes.
    """

    loss: Array
    lower: Array
    slope_y: Array
    slope_u: Array
    loose: Array


def teacher_loss(b: Batch, y: Array) -> Array:
    """t at reach y; the existing teacher's own where there is one."""
    planned = b.supervised.loss_of_reach(y)
    existing = b.existing
    return np.where(existing, b.teacher_loss, planned) if existing.any() else planned


def supervised_loss(b: Batch, u: Array, s: Array) -> Array:
    """Lsup = L(N_S, D_S), Eq. 1."""
    return b.supervised.loss_of_reach(b.supervised.log_reach(u, s))


def enclose(b: Batch, boxes: Boxes, cap: Cap, at_s: Array, log_t: Array) -> Enclosure:
    """Lower bounds on ``min L_S(u, s, t(y))`` over each box subject to the cap on s.

    at_s: tokens at the boxes' points, anything not above the cap by more than rounding; log_t: log
    of the teacher's loss there. Returned without a margin for rounding; the search adds one.
    """
    y0, y1 = boxes.y - boxes.half_y, boxes.y + boxes.half_y
    u0, u1 = boxes.u - boxes.half_u, boxes.u + boxes.half_u
    log_t0, log_t1 = np.log(teacher_loss(b, y0)), np.log(teacher_loss(b, y1))
    down_y, up_y = y0 - boxes.at_y, y1 - boxes.at_y
    rise_low, rise_high = cap.along_y * down_y, cap.along_y * up_y
    one_size = not boxes.half_u.any()
    if one_size:  # along_y >= 0
        corner_u = np.stack([u0, u0])
        corner_s = np.stack([cap.at_point + rise_low, cap.at_point + rise_high])
    else:
        turn_low, turn_high = cap.along_u * (u0 - boxes.at_u), cap.along_u * (u1 - boxes.at_u)
        low, high = cap.at_point + rise_low, cap.at_point + rise_high
        corner_u = np.stack([u0, u0, u1, u1])
        corner_s = np.stack([low + turn_low, high + turn_low, low + turn_high, high + turn_high])
    least_s = np.min(corner_s, axis=0)
    if np.any(least_s < cap.least):
        # only the part of the box where the plane is above the fewest tokens counts: a rectangle
        # around what it holds of (u, s) takes the place of the parallelogram
        s1 = np.maximum(np.max(corner_s, axis=0), cap.least)
        s0 = np.maximum(least_s, cap.least)
        around = [s0, s1] if one_size else [s0, s1, s0, s1]
        corner_s = np.where(least_s < cap.least, np.stack(around), corner_s)
    found = b.law.support(boxes.at_u, at_s, log_t, Region(corner_u, corner_s, log_t0, log_t1))
    # log t along y: its tangent where the loss rises with it, its chord where it falls
    rate = _tangent(b, log_t)
    width = up_y - down_y
    wide = width > 1e-9
    chord = np.where(wide, (log_t1 - log_t0) / np.where(wide, width, 1.0), rate)
    above = np.maximum(np.maximum(log_t0 - chord * down_y, log_t1 - chord * up_y) - log_t, 0.0)
    falls = found.by_teacher < 0
    value = found.value + np.where(falls, found.by_teacher * above, 0.0)
    value = value + found.by_tokens * (cap.at_point - at_s)
    slope_y = found.by_tokens * cap.along_y + found.by_teacher * np.where(falls, chord, rate)
    slope_u = found.by_size + found.by_tokens * cap.along_u
    lower = value + np.minimum(slope_y * down_y, slope_y * up_y)
    if not one_size:
        lower = lower + np.minimum(slope_u * (u0 - boxes.at_u), slope_u * (u1 - boxes.at_u))
    return Enclosure(
        found.loss, np.maximum(lower, found.least), slope_y, slope_u, found.loss - value
    )


def _tangent(b: Batch, log_t: Array) -> Array:
    """d log t / dy."""
    law = b.supervised
    rate = law.gamma * (1.0 - law.E * np.exp(-log_t))
    existing = b.existing
    return np.where(existing, 0.0, rate) if existing.any() else np.asarray(rate)
