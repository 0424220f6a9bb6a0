"""The lower bound is one: random feasible plans and brute-force grids never get below it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from planner import InfeasibleError, optimum
from tests.examples import examples
from tests.oracles import brute
from tests.oracles.instances import KINDS, draw, to_problem
from tests.oracles.scip import PAPER, Instance

TOLERANCE = 1e-6


@examples(150)
@example("free serving", 91)  # boxes along the edge of what the budget pays for
@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1))
def test_random_plans_never_beat_the_bound(kind: str, seed: int) -> None:
    """Thousands of feasible plans of a random problem are all at or above the certified bound."""
    rng = np.random.default_rng(seed)
    instance = draw(kind, rng)
    plans = brute.random_plans(instance, 3000, rng)
    try:
        recipe, certificate = optimum(to_problem(instance))
    except InfeasibleError:
        assert plans.shape[1] == 0
        return
    assert certificate.proven
    assert certificate.gap <= TOLERANCE
    assert certificate.lower_bound <= recipe.student.cross_entropy
    if plans.shape[1]:
        assert brute.loss(plans).min() >= certificate.lower_bound


@examples(100)
@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.floats(-7, -1))
def test_neighbours_never_beat_the_bound(kind: str, seed: int, scale: float) -> None:
    """Feasible plans close around the optimum, where a wrong bound would show first."""
    rng = np.random.default_rng(seed)
    instance = draw(kind, rng)
    try:
        recipe, certificate = optimum(to_problem(instance))
    except InfeasibleError:
        return
    centre = [recipe.student.parameters, recipe.teacher.parameters, recipe.teacher.tokens]
    box = brute.ranges(instance)
    logs = np.log(np.array(centre, dtype=float))[:, None] + 10**scale * rng.normal(size=(3, 3000))
    n_s, n_t, d_t = np.exp(np.clip(logs, box[:, :1], box[:, 1:]))
    d_s = brute.affordable(instance, n_s, n_t, d_t)
    ok = np.isfinite(d_s)
    losses = brute.loss(np.array([n_s, d_s, n_t, d_t])[:, ok])
    assert np.all(losses >= certificate.lower_bound)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_grids_never_beat_the_bound_and_never_lose_by_much(kind: str, number: int) -> None:
    """A dense grid with local refinement lands between the bound and the plan's neighbourhood."""
    instance = draw(kind, np.random.default_rng([7, KINDS.index(kind), number]))
    found = brute.grid_minimum(instance)
    try:
        recipe, certificate = optimum(to_problem(instance))
    except InfeasibleError:
        assert found == math.inf
        return
    assert found >= certificate.lower_bound
    # Nelder-Mead stalls on the bounds now and then; the grid alone is good to a few 1e-3.
    assert recipe.student.cross_entropy <= found + TOLERANCE
    assert found - recipe.student.cross_entropy < 5e-3


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
@pytest.mark.parametrize("student", [1e9, None])
def test_tolerances_are_kept(tolerance: float, student: float | None) -> None:
    """Every tolerance from 1e-3 to 1e-8 is reached, and all brackets overlap."""
    for charges in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.4, 0.2)):
        instance = Instance(1e22, student, *charges)
        recipe, certificate = optimum(to_problem(instance, tolerance))
        finest, proof = optimum(to_problem(instance, 1e-9))
        assert certificate.tolerance == tolerance
        assert certificate.proven
        assert 0 <= certificate.gap <= tolerance
        assert certificate.lower_bound <= finest.student.cross_entropy
        assert proof.lower_bound <= recipe.student.cross_entropy
        assert recipe.student.cross_entropy == pytest.approx(
            finest.student.cross_entropy, abs=tolerance
        )


def test_more_budget_and_wider_bounds_never_hurt() -> None:
    """Optima fall in the budget, rise with the charges, and fall with wider bounds."""
    tight, wide = (1e6, 1e10), PAPER
    for student in (3e8, 1e10, None):
        losses = [
            optimum(to_problem(Instance(c, student, 1.0, 1.0)))[0].student.cross_entropy
            for c in np.geomspace(1e19, 1e25, 13)
        ]
        assert np.all(np.diff(losses) <= TOLERANCE)
        by_charge = [
            optimum(to_problem(Instance(1e22, student, share, share)))[0].student.cross_entropy
            for share in np.linspace(0, 1, 6)
        ]
        assert np.all(np.diff(by_charge) >= -TOLERANCE)
        by_bounds = [
            optimum(to_problem(Instance(1e22, student, 1.0, 1.0, teacher_size=each)))[0]
            for each in (tight, wide)
        ]
        first, second = (recipe.student.cross_entropy for recipe in by_bounds)
        assert first >= second - TOLERANCE
