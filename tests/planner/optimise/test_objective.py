"""Lower bounds over boxes are bounds, tight to second order, and safe against rounding."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from planner.optimise.batch import Batch
from planner.optimise.bound import Boxes, Cap, enclose, student_loss, teacher_loss
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
    return b, Boxes(y, u, half_y, half_u), cap


@pytest.mark.parametrize("scale", [0.001, 0.05, 0.5, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_no_point_of_a_box_is_below_its_bound(scale: float, seed: int) -> None:
    """Student losses at random points of the box, with any tokens up to the cap, stay above."""
    rng = np.random.default_rng(seed)
    b, boxes, cap = boxes_and_caps(rng, scale)

    lower = enclose(b, boxes, cap).lower

    for _ in range(100):
        y = boxes.y + boxes.half_y * rng.uniform(-1, 1, COUNT)
        u = boxes.u + boxes.half_u * rng.uniform(-1, 1, COUNT)
        most = cap.at_centre + cap.along_y * (y - boxes.y) + cap.along_u * (u - boxes.u)
        s = np.maximum(most - rng.exponential(0.1, COUNT) * rng.choice([0, 1], COUNT), cap.least)
        loss = student_loss(b, u, s, teacher_loss(b, y))
        assert np.all(loss >= lower - ROUNDING)


def test_bounds_tighten_with_the_square_of_the_box() -> None:
    """Halving a small box cuts the slack beyond the linear part about fourfold: second order."""
    rng = np.random.default_rng(5)
    b, boxes, cap = boxes_and_caps(rng, 0.05)

    def slack(shrink: float) -> Array:
        small = Boxes(boxes.y, boxes.u, boxes.half_y * shrink, boxes.half_u * shrink)
        found = enclose(b, small, cap)
        return found.blur_y + found.blur_u

    ratio = slack(0.1) / np.maximum(slack(0.05), 1e-300)
    assert 3.5 < np.median(ratio) < 4.5


def test_rounding_stays_far_below_its_margin() -> None:
    """The loss in double precision is within a tenth of the margin of its 40-digit value."""
    rng = np.random.default_rng(6)
    b, boxes, cap = boxes_and_caps(rng, 0.0)
    s, t = cap.at_centre, teacher_loss(b, boxes.y)

    ours = student_loss(b, boxes.u, s, t)

    with mpmath.workdps(40):
        for i in range(COUNT):
            exact = _exact_loss(b, i, boxes.u[i], s[i], t[i])
            assert abs(exact - mpmath.mpf(float(ours[i]))) < 0.1 * ROUNDING


def _exact_loss(b: Batch, i: int, u: float, s: float, t: float) -> mpmath.mpf:
    def at(name: str) -> mpmath.mpf:
        return mpmath.mpf(float(np.broadcast_to(getattr(b, name), (COUNT,))[i]))

    u, s, t = mpmath.mpf(float(u)), mpmath.mpf(float(s)), mpmath.mpf(float(t))
    exp = mpmath.exp
    power = exp(at("log_a") - at("alpha") * u) + exp(at("log_b") - at("beta") * s)
    supervised = at("E") + power ** at("gamma")
    ratio = (t / (supervised * exp(at("log_d1")))) ** (1 / at("f1"))
    own = exp(at("log_a_s") - at("alpha_s") * u) + exp(at("log_b_s") - at("beta_s") * s)
    gap = t ** -at("c0") * (1 + ratio) ** (-at("c1") * at("f1"))
    return t + gap * own ** at("gamma_s")
