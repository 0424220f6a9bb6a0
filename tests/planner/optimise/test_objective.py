"""Lower bounds over boxes are bounds, tight to second order, and safe against rounding."""

from __future__ import annotations

from dataclasses import replace

import mpmath
import numpy as np
import pytest

from laws import DistillationLaw
from planner.optimise.batch import Batch
from planner.optimise.bound import Boxes, Cap, Enclosure, enclose, teacher_loss
from planner.optimise.search import ROUNDING
from planner.optimise.starts import reach_range
from tests.planner.optimise.batches import Array, batch

COUNT = 300


def boxes_and_caps(rng: np.random.Generator, scale: float) -> tuple[Batch, Boxes, Cap]:
    b = batch(COUNT, rng, u_low=np.log(1e8), u_high=np.log(1e11))
    low, high = reach_range(b)
    half_y = scale * rng.uniform(0, 1, COUNT)
    half_u = scale * rng.uniform(0, 1, COUNT) * rng.choice([0.0, 1.0], COUNT)
    y = rng.uniform(low + half_y, high - half_y)
    u = rng.uniform(b.u_low + half_u, b.u_high - half_u)
    cap = Cap(
        rng.uniform(np.log(1e8), np.log(1e14), COUNT),
        rng.uniform(0, 3, COUNT),
        rng.uniform(-2, 1, COUNT),
        b.s_low,
    )
    return b, Boxes.centred(y, u, half_y, half_u), cap


def bound(b: Batch, boxes: Boxes, cap: Cap) -> Enclosure:
    """The bounds at the boxes' points, with the most tokens there."""
    most = np.maximum(cap.at_point, cap.least)
    return enclose(b, boxes, cap, most, np.log(teacher_loss(b, boxes.at_y)))


@pytest.mark.parametrize("scale", [0.001, 0.05, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_point_of_a_box_is_below_its_bound(scale: float, seed: int) -> None:
    """Student losses at random points of the box, with any tokens up to the cap, stay above."""
    rng = np.random.default_rng(seed)
    b, boxes, cap = boxes_and_caps(rng, scale)

    boxes = replace(
        boxes,
        at_y=boxes.y + boxes.half_y * rng.choice([-1.0, 0.0, 0.3, 1.0], COUNT),
        at_u=boxes.u + boxes.half_u * rng.choice([-1.0, 0.0, 0.3, 1.0], COUNT),
    )
    lower = bound(b, boxes, cap).lower

    checked = 0
    for _ in range(100):
        y = boxes.y + boxes.half_y * rng.uniform(-1, 1, COUNT)
        u = boxes.u + boxes.half_u * rng.uniform(-1, 1, COUNT)
        most = cap.at_point + cap.along_y * (y - boxes.at_y) + cap.along_u * (u - boxes.at_u)
        s = most - rng.exponential(0.1, COUNT) * rng.choice([0, 1], COUNT)
        allowed = s >= cap.least
        checked += np.count_nonzero(allowed)
        loss = b.law.loss_on_logs(u, s, np.log(teacher_loss(b, y)))
        assert np.all((loss >= lower - ROUNDING) | ~allowed)
    assert checked > 20 * COUNT


def test_bounds_tighten_with_the_square_of_the_box() -> None:
    """Halving a small box cuts what a bound misses beyond its slopes fourfold: second order."""
    rng = np.random.default_rng(5)
    b, boxes, cap = boxes_and_caps(rng, 0.05)

    def loose(shrink: float) -> Array:
        half_y, half_u = boxes.half_y * shrink, boxes.half_u * shrink
        return bound(b, Boxes.centred(boxes.y, boxes.u, half_y, half_u), cap).loose

    ratio = loose(0.1) / np.maximum(loose(0.05), 1e-300)
    assert 3.5 < np.median(ratio) < 4.5


def test_slopes_are_those_of_the_loss_along_the_cap() -> None:
    """On a box of no width the bound is the tangent: slopes agree with finite differences."""
    rng = np.random.default_rng(8)
    b, boxes, cap = boxes_and_caps(rng, 0.0)
    found = bound(b, boxes, cap)

    def loss(dy: float, du: float) -> Array:
        s = cap.at_point + cap.along_y * dy + cap.along_u * du
        return b.law.loss_on_logs(boxes.u + du, s, np.log(teacher_loss(b, boxes.y + dy)))

    h = 1e-6
    np.testing.assert_allclose(
        (loss(h, 0) - loss(-h, 0)) / (2 * h), found.slope_y, atol=1e-7, rtol=1e-6
    )
    np.testing.assert_allclose(
        (loss(0, h) - loss(0, -h)) / (2 * h), found.slope_u, atol=1e-7, rtol=1e-6
    )
    np.testing.assert_allclose(found.lower, found.loss, atol=ROUNDING, rtol=0)


def test_rounding_stays_far_below_its_margin() -> None:
    """The loss in double precision is within a tenth of the margin of its 40-digit value."""
    rng = np.random.default_rng(6)
    b, boxes, cap = boxes_and_caps(rng, 0.0)
    s, t = cap.at_point, teacher_loss(b, boxes.y)

    ours = b.law.loss_on_logs(boxes.u, s, np.log(t))
    bounds = bound(b, boxes, cap)

    with mpmath.workdps(40):
        for i in range(COUNT):
            exact = _exact_loss(b, boxes.u[i], s[i], t[i])
            for value in (ours[i], bounds.loss[i], bounds.lower[i]):
                assert abs(exact - mpmath.mpf(float(value))) < 0.1 * ROUNDING


def _exact_loss(b: Batch, u: float, s: float, t: float) -> mpmath.mpf:
    law, alone = b.distillation, b.supervised
    assert isinstance(law, DistillationLaw)
    u, s, t = mpmath.mpf(float(u)), mpmath.mpf(float(s)), mpmath.mpf(float(t))
    exp, exact = mpmath.exp, lambda value: mpmath.mpf(float(value))
    power = exact(alone.A) * exp(-exact(alone.alpha) * u)
    power += exact(alone.B) * exp(-exact(alone.beta) * s)
    supervised = exact(alone.E) + power ** exact(alone.gamma)
    ratio = (t / (supervised * exact(law.d1))) ** (1 / exact(law.f1))
    own = exact(law.A) * exp(-exact(law.alpha) * u) + exact(law.B) * exp(-exact(law.beta) * s)
    gap = t ** -exact(law.c0) * (1 + ratio) ** (-exact(law.c1) * exact(law.f1))
    return t + gap * own ** exact(law.gamma)
