"""Teachers whose size is held away from where the optimum would have it are proven all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.optima import solve_many
from planner.problem import Problem
from tests.questions import brute

STUDENT = Problem(1e21, 1e9)


@pytest.mark.parametrize("least", [6e9, 1.43e10, 1e11, 5e11])
def test_a_least_teacher_size_far_above_the_best_is_proven(least: float) -> None:
    """Newton's method stops a hair off the bound; the supporting plane must not lose its grip."""
    bounds = replace(STUDENT.bounds, teacher_size=(least, 1e12))
    problem = replace(STUDENT, bounds=bounds)
    found = solve_many([problem])
    best = brute.best_loss(problem)

    assert float(found.gap[0]) <= problem.tolerance
    assert float(found.lower_bound[0]) <= best + 1e-9
    assert float(found.cross_entropy[0]) == pytest.approx(best, abs=2e-6)


def test_random_bounds_of_the_teacher_are_proven_and_agree_with_brute_force() -> None:
    """Sizes and tokens between any two bounds: a closed gap, and no dense grid beats the bound."""
    random = np.random.default_rng(11)
    problems = []
    for _ in range(40):
        low = 10 ** random.uniform(7, 11, 2)
        high = low * 10 ** random.uniform(0.01, 3, 2)
        charges = random.choice([0.0, 0.1, 1.0], 2)
        bounds = replace(
            STUDENT.bounds, teacher_size=(low[0], high[0]), teacher_tokens=(low[1], high[1])
        )
        size, budget = 10 ** random.uniform(8.3, 10.5), 10 ** random.uniform(20, 25)
        problems.append(Problem(budget, size, *map(float, charges), bounds=bounds))
    found = solve_many(problems)
    feasible = np.flatnonzero(found.feasible)

    assert feasible.size > 25
    for k in feasible:
        best = brute.best_loss(problems[k])
        assert float(found.gap[k]) <= problems[k].tolerance
        assert float(found.lower_bound[k]) <= best + 1e-9
        assert float(found.cross_entropy[k]) <= best + 1e-6
