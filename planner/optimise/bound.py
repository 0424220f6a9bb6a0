"""The student's cross-entropy over (u, y, s), and lower bounds on it over boxes.

``L_S = t + S`` with ``v = (log t - log Lsup(u, s) - log d1) / f1`` and (Eq. 49)

    log S = -c0 log t - c1 f1 log(1 + e^v) + gamma' LSE(log A' - alpha' u, log B' - beta' s).

S falls in t, u and s, so L_S falls in s: replacing s by an upper bound that is affine over the box
gives a lower bound, and that explicit function is bounded by its value at the centre and an
enclosure of its gradient (the mean value form), which is accurate to second order in the size of
the box. Every factor of the gradient is monotone in its arguments, so corners enclose it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.optimise.batch import Array, Batch, Index


@dataclass(frozen=True)
class Cap:
    """s is at most ``max(least, at_centre + along_y (y - yc) + along_u (u - uc))`` over a box.

    `least` is the fewest tokens allowed: a plane that dives below them says too little there.
    """

    at_centre: Array
    along_y: Array
    along_u: Array
    least: Array


@dataclass(frozen=True)
class Boxes:
    """Boxes in (y, u); half widths are zero where a variable is given."""

    y: Array
    u: Array
    half_y: Array
    half_u: Array

    def take(self, keep: NDArray[np.bool_] | Index) -> Boxes:
        """The boxes at these positions (indices or a mask)."""
        return Boxes(self.y[keep], self.u[keep], self.half_y[keep], self.half_u[keep])


@dataclass(frozen=True)
class Enclosure:
    """Lower bounds over boxes and how much each direction contributes to their slackness."""

    lower: Array
    blur_y: Array
    blur_u: Array


def teacher_loss(b: Batch, y: Array) -> Array:
    """t at reach y; the existing teacher's own where there is one."""
    return np.where(b.existing, b.teacher_loss, b.E + np.exp(b.gamma * y))


def supervised_loss(b: Batch, u: Array, s: Array) -> Array:
    """Lsup = L(N_S, D_S), Eq. 1."""
    return b.E + np.exp(b.gamma * np.logaddexp(b.log_a - b.alpha * u, b.log_b - b.beta * s))


def log_second_term(b: Batch, u: Array, s: Array, t: Array, supervised: Array) -> Array:
    """log S: everything of Eq. 8 beyond the teacher's own loss."""
    log_t = np.log(t)
    v = (log_t - np.log(supervised) - b.log_d1) / b.f1
    return (
        -b.c0 * log_t
        - b.c1 * b.f1 * np.logaddexp(0.0, v)
        + b.gamma_s * np.logaddexp(b.log_a_s - b.alpha_s * u, b.log_b_s - b.beta_s * s)
    )


def student_loss(b: Batch, u: Array, s: Array, t: Array) -> Array:
    """L_S, Eq. 8."""
    return t + np.exp(log_second_term(b, u, s, t, supervised_loss(b, u, s)))


def enclose(b: Batch, boxes: Boxes, cap: Cap) -> Enclosure:
    """Lower bounds on ``min L_S(u, s, t(y))`` over each box subject to the cap on s.

    Returned without a margin for rounding; the search adds one to the final bound.
    """
    y0, y1 = boxes.y - boxes.half_y, boxes.y + boxes.half_y
    u0, u1 = boxes.u - boxes.half_u, boxes.u + boxes.half_u
    spread = np.abs(cap.along_y) * boxes.half_y + np.abs(cap.along_u) * boxes.half_u
    s0, s1 = cap.at_centre - spread, np.maximum(cap.at_centre + spread, cap.least)
    dives = s0 < cap.least  # then the slope is the plane's or zero
    s0 = np.maximum(s0, cap.least)
    along_y = _scale(cap.along_y, (np.where(dives, 0.0, 1.0), np.ones_like(s0)))
    along_u = _scale(cap.along_u, (np.where(dives, 0.0, 1.0), np.ones_like(s0)))
    t0, t1 = teacher_loss(b, y0), teacher_loss(b, y1)
    poor, good = supervised_loss(b, u0, s0), supervised_loss(b, u1, s1)
    most = np.exp(log_second_term(b, u0, s0, t0, poor))
    least = np.exp(log_second_term(b, u1, s1, t1, good))

    # factors of the gradient, each as (low, high) over the box
    planned = ~b.existing
    rise = (planned * b.gamma * (t0 - b.E), planned * b.gamma * (t1 - b.E))  # dt/dy
    tau = (rise[0] / t0, rise[1] / t1)
    gate = (_gate(b, t0, poor), _gate(b, t1, good))  # weight of the capacity gap
    data = (  # share of the data term in Lsup's power law; falls in s, rises in u
        _share(b.log_a - b.alpha * u0, b.log_b - b.beta * s1),
        _share(b.log_a - b.alpha * u1, b.log_b - b.beta * s0),
    )
    reducible = ((good - b.E) / good, (poor - b.E) / poor)
    sup_s = _product(b.gamma * b.beta * data[0], b.gamma * b.beta * data[1], *reducible)
    sup_u = _product(
        b.gamma * b.alpha * (1 - data[1]), b.gamma * b.alpha * (1 - data[0]), *reducible
    )
    own = (
        _share(b.log_a_s - b.alpha_s * u0, b.log_b_s - b.beta_s * s1),
        _share(b.log_a_s - b.alpha_s * u1, b.log_b_s - b.beta_s * s0),
    )

    # -d log S / dy and -d log S / du along the cap
    fall_y = _sum(
        (b.c0 * tau[0], b.c0 * tau[1]),
        _scale(b.c1, _product(*gate, *_sum(tau, _times(along_y, sup_s)))),
        _scale(b.gamma_s * b.beta_s, _times(along_y, own)),
    )
    fall_u = _sum(
        _scale(b.c1, _product(*gate, *_sum(sup_u, _times(along_u, sup_s)))),
        (b.gamma_s * b.alpha_s * (1 - own[1]), b.gamma_s * b.alpha_s * (1 - own[0])),
        _scale(b.gamma_s * b.beta_s, _times(along_u, own)),
    )
    drop_y, drop_u = _product(least, most, *fall_y), _product(least, most, *fall_u)
    slope_y = (rise[0] - drop_y[1], rise[1] - drop_y[0])
    slope_u = (-drop_u[1], -drop_u[0])

    centre = student_loss(
        b, boxes.u, np.maximum(cap.at_centre, cap.least), teacher_loss(b, boxes.y)
    )
    mean_value = (
        centre
        - boxes.half_y * np.maximum(np.maximum(-slope_y[0], slope_y[1]), 0.0)
        - boxes.half_u * np.maximum(np.maximum(-slope_u[0], slope_u[1]), 0.0)
    )
    return Enclosure(
        lower=np.maximum(mean_value, t0 + least),
        blur_y=boxes.half_y * (slope_y[1] - slope_y[0]),
        blur_u=boxes.half_u * (slope_u[1] - slope_u[0]),
    )


Interval = tuple[Array, Array]


def _gate(b: Batch, t: Array, supervised: Array) -> Array:
    v = (np.log(t) - np.log(supervised) - b.log_d1) / b.f1
    return np.exp(-np.logaddexp(0.0, -v))


def _share(log_size_term: Array, log_data_term: Array) -> Array:
    return np.exp(log_data_term - np.logaddexp(log_size_term, log_data_term))


def _sum(*intervals: Interval) -> Interval:
    low, high = intervals[0]
    for other in intervals[1:]:
        low, high = low + other[0], high + other[1]
    return low, high


def _scale(factor: Array, interval: Interval) -> Interval:
    a, b = factor * interval[0], factor * interval[1]
    return np.minimum(a, b), np.maximum(a, b)


def _times(a: Interval, b: Interval) -> Interval:
    """Product of any a with a b >= 0."""
    return np.minimum(a[0] * b[0], a[0] * b[1]), np.maximum(a[1] * b[0], a[1] * b[1])


def _product(a0: Array, a1: Array, b0: Array, b1: Array) -> Interval:
    """Product of [a0, a1] and [b0, b1] with a0 >= 0."""
    return np.minimum(a0 * b0, a1 * b0), np.maximum(a0 * b1, a1 * b1)
