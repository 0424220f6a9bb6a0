"""Comparisons under the draws of the coefficients: paired, re-optimised, honest about chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coefficients import CoefficientSet, draws, load
from planner.problem import Problem
from planner.questions.compare.answer import budget_grid, compare
from planner.questions.compare.curves import Comparison, Spread
from planner.questions.compare.spread import with_spread
from planner.uncertainty import reoptimise

REFIT = load("busbridge2025-refit")
ALONE = replace(REFIT, misfit=None)  # its draws, without the law's error beyond its runs


def comparison(budgets: np.ndarray, chosen: CoefficientSet = ALONE) -> Comparison:
    found = compare(Problem(1e21, 1e9), budgets, (), chosen)
    return with_spread(found, chosen, limit=16)[0]


def spread(found: Comparison, scenario: str) -> Spread:
    each = found.curve(scenario).spread
    assert each is not None
    return each


def test_a_set_without_draws_stays_as_it_is() -> None:
    """No draws, no intervals."""
    published = load("busbridge2025")
    found = compare(Problem(1e21, 1e9), [1e21], (), published)

    assert with_spread(found, published) == found


def test_chances_count_the_draws_own_optima() -> None:
    """At one budget the share of draws and the interval are those of solving every draw."""
    found = comparison(np.array([1e22]))
    many = reoptimise(Problem(1e22, 1e9, 0.0, 1.0), draws.load(REFIT, 16))
    difference = many.cross_entropy - many.supervised_cross_entropy

    each = spread(found, "teacher-pretraining")

    assert each.draws == 16
    assert each.probability[0] == pytest.approx(np.mean(difference < 0))
    assert each.low[0] == pytest.approx(np.percentile(difference, 5), abs=2e-5)
    assert each.high[0] == pytest.approx(np.percentile(difference, 95), abs=2e-5)


def test_a_crossover_lies_within_its_interval() -> None:
    """The point estimate's crossover is between the draws' 5% and 95%, and all draws have one."""
    found = comparison(budget_grid(1e21, 1e24, 25))
    curve = found.curve("teacher-pretraining")
    (crossing,) = curve.crossovers

    (span,) = spread(found, "teacher-pretraining").crossovers

    assert span.share == 1.0
    assert span.low < crossing.budget < span.high
    assert span.high / span.low < 10


def test_extrapolation_widens_the_interval_and_blurs_the_crossover() -> None:
    """Inside the runs nothing changes; beyond them the law's own error comes on top."""
    budgets = np.array([1e21, 1e24])
    alone, whole = (
        spread(comparison(budgets, each), "teacher-pretraining") for each in (ALONE, REFIT)
    )
    width = [each.high - each.low for each in (alone, whole)]
    crossing = comparison(budget_grid(1e21, 1e24, 25), REFIT)

    assert whole.low[0] == alone.low[0]
    assert width[1][1] > 2 * width[0][1]
    (span,) = spread(crossing, "teacher-pretraining").crossovers
    assert span.share < 1.0


def test_the_interval_of_the_difference_holds_its_point_estimate() -> None:
    """Along a range the curve runs between the ends of its intervals."""
    found = comparison(budget_grid(1e20, 1e22, 5))

    for curve in found.curves:
        each = spread(found, curve.scenario)
        assert np.all(each.low <= curve.difference + 2e-3)
        assert np.all(each.high >= curve.difference - 2e-3)
        assert np.all((each.probability >= 0) & (each.probability <= 1))
