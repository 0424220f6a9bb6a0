"""The batched solver against SciPy's bounded solvers, and where bounds used to stop it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from laws import SupervisedLaw
from laws._types import Array
from planner.fit import FORMS, Task, fit
from planner.fit.rows import Rows
from planner.fit.solver import huber, minimise
from tests.examples import examples


@dataclass(frozen=True)
class Linear:
    """``predictions = matrix @ theta`` within bounds."""

    matrix: Array
    lower: Array
    upper: Array

    def predict(self, theta: Array) -> Array:
        return theta @ self.matrix.T

    def evaluate(self, theta: Array) -> tuple[Array, Array]:
        jacobian = np.broadcast_to(self.matrix.T, (theta.shape[0], *self.matrix.T.shape))
        return self.predict(theta), np.array(jacobian)


def problem(seed: int, size: int) -> tuple[Linear, Array, Array]:
    """Nearly collinear columns, whose best values mostly lie outside the box."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(30, 1))
    matrix = common + 0.2 * random.normal(size=(30, size))
    observed = matrix @ random.normal(scale=2.0, size=size) + 0.1 * random.normal(size=30)
    model = Linear(matrix, np.zeros(size), np.ones(size))
    return model, observed, random.uniform(size=(4, size)).round()  # starts in the box's corners


@examples(60)
@example(seed=2397, size=6)
@given(st.integers(0, 10**6), st.integers(2, 7))
def test_least_squares_in_a_box_agree_with_scipy(seed: int, size: int) -> None:
    """From corners, where most bounds are active and pushed against by the others."""
    model, observed, start = problem(seed, size)
    best = lsq_linear(model.matrix, observed, (model.lower, model.upper), tol=1e-14)

    found = minimise(model, observed, start, delta=1e6)

    assert found.converged.all()
    np.testing.assert_allclose(found.objective, best.cost, rtol=1e-8, atol=1e-12)


@examples(40)
@example(seed=2397, size=6)  # a clipped Newton step stopped short of the optimum
@example(seed=2855, size=7)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_robust_fits_in_a_box_are_optimal(seed: int, size: int) -> None:
    """A convex objective is least where no derivative points into the box."""
    model, observed, start = problem(seed, size)

    found = minimise(model, observed, start, delta=0.1)

    assert found.converged.all()
    for theta in found.theta:
        residual = model.matrix @ theta - observed
        gradient = model.matrix.T @ np.clip(residual, -0.1, 0.1)
        assert (gradient[theta > model.lower] < 1e-7).all()
        assert (gradient[theta < model.upper] > -1e-7).all()
        assert huber(residual, 0.1).sum() == pytest.approx(found.objective[0], rel=1e-9)


def test_kinks_in_every_direction_are_crossed() -> None:
    """A delta far below the noise: few runs have curvature, and the step crosses many kinks."""
    model, observed, start = problem(2620, 6)

    found = minimise(model, observed, start, delta=1e-3)

    assert found.converged.all()
    assert found.gradient_norm.max() < 1e-7


def test_a_coordinate_without_influence_holds_up_no_other() -> None:
    """Its step would have no end, and cutting it must not cut the steps that matter."""
    matrix = np.random.default_rng(0).normal(size=(30, 3)) * [1.0, 1.0, 1e-20]
    model = Linear(matrix, np.full(3, -1e6), np.full(3, 1e6))
    observed = matrix @ [2.0, -1.0, 0.0] + 1e-3

    found = minimise(model, observed, np.zeros((1, 3)), delta=1e6)

    np.testing.assert_allclose(found.theta[0, :2], [2.0, -1.0], atol=2e-3)
    assert found.gradient_norm[0] < 1e-7


@pytest.mark.parametrize("seed", range(4))
def test_a_wider_law_never_fits_worse(seed: int) -> None:
    """Small runs with 1% of noise, a hundred deltas, and no floor: gamma free beats gamma = 1."""
    random = np.random.default_rng(seed)
    sizes = np.repeat([2.5e4, 8.3e4, 2.0e5], 16)
    tokens = np.exp(random.uniform(np.log(2.4e5), np.log(1.6e6), sizes.size))
    truth = SupervisedLaw(1e-3, 1170.0, 4.5e8, 0.275, 1.19, 0.295)
    loss = truth.loss(sizes, tokens) * np.exp(0.01 * random.normal(size=sizes.size))
    rows = Rows(parameters=sizes, tokens=tokens, loss=loss)

    wide = fit(Task(FORMS["supervised"], rows))
    narrow = fit(Task(FORMS["hoffmann"], rows))

    assert wide.converged
    assert wide.objective <= narrow.objective * (1 + 1e-9)
