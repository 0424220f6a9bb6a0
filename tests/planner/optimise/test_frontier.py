"""The inner solution is optimal, and its plane bounds the frontier wherever it is taken."""

from __future__ import annotations

import numpy as np
import pytest

from planner.optimise import frontier
from planner.optimise.starts import reach_range
from tests.planner.optimise.batches import batch, random_teachers, tokens_left

PROBLEMS = 400


def test_no_teacher_of_that_quality_leaves_more_tokens() -> None:
    """A fine scan along the contour H = y never beats the frontier's student tokens."""
    rng = np.random.default_rng(1)
    b = batch(PROBLEMS, rng)
    low, high = reach_range(b)
    y = rng.uniform(low, high)

    front = frontier.solve(b, b.u_low, y)

    z_low, z_high = frontier.share_range(b, y)
    for share in np.linspace(0, 1, 301):
        n, d = frontier.teacher(b, y, z_low + share * (z_high - z_low))
        s = tokens_left(b, b.u_low, n, d)
        worse = ~(s > front.s + 1e-9)
        assert np.all(worse | ~front.feasible)


@pytest.mark.parametrize("seed", range(3))
def test_planes_lie_above_every_feasible_plan(seed: int) -> None:
    """The supporting plane at one (u, y) bounds the tokens of every plan at any other (u, y)."""
    rng = np.random.default_rng(seed)
    b = batch(PROBLEMS, rng, u_low=np.log(1e8), u_high=np.log(1e11), serving=1e10)
    low, high = reach_range(b)
    y, u = rng.uniform(low, high), rng.uniform(b.u_low, b.u_high)
    front = frontier.solve(b, u, y)

    checked = 0
    for _ in range(200):
        n, d = random_teachers(b, rng)
        other_u = rng.uniform(b.u_low, b.u_high)
        s = tokens_left(b, other_u, n, d)
        reach = b.supervised.log_reach(n, d)
        plane = front.height + front.along_y * (reach - y) + front.along_u * (other_u - u)
        feasible = s >= b.s_low
        checked += int(np.count_nonzero(feasible))
        assert np.all(plane[feasible] >= s[feasible] - 1e-9)

    assert checked > 10_000


def test_planes_hold_even_where_newton_did_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a single Newton step planes are loose but still bounds."""
    monkeypatch.setattr(frontier, "NEWTON_STEPS", 1)

    test_planes_lie_above_every_feasible_plan(7)


def test_planes_touch_the_frontier() -> None:
    """Where the frontier is feasible its plane is tight at its own point, so bounds converge."""
    rng = np.random.default_rng(2)
    b = batch(PROBLEMS, rng)
    y = rng.uniform(*reach_range(b))

    front = frontier.solve(b, b.u_low, y)

    interior = front.feasible & (front.s > b.s_low + 0.5)
    assert np.count_nonzero(interior) > PROBLEMS / 4
    assert np.max((front.height - front.s)[interior]) < 1e-6


def test_smallest_budget_is_the_threshold() -> None:
    """At the smallest budget a plan exists, a thousandth below it none does."""
    rng = np.random.default_rng(3)
    b = batch(100, rng)
    _, high = reach_range(b)

    least = frontier.smallest_budget(b, high)

    for factor, expected in ((1 + 1e-9, True), (1 - 1e-3, False)):
        at = type(b).broadcast(**{**{n: getattr(b, n) for n in vars(b)}, "budget": least * factor})
        n, d = np.full(100, b.n_low), np.full(100, b.d_low)
        feasible = tokens_left(at, at.u_low, n, d) >= b.s_low - 1e-9
        assert np.all(feasible == expected)
