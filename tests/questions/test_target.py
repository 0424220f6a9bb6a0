"""Smallest budgets: reached where promised, proven where not, floors with their reason."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InfeasibleError, ProblemError, UnreachableError
from planner.optima import optimum
from planner.problem import Problem, Teacher
from planner.questions.target.answer import (
    PRECISION,
    Like,
    smallest_budgets,
    supervised_targets,
    target,
)
from planner.scenarios import SCENARIOS
from tests.examples import examples
from tests.questions import brute

STUDENT = Problem(1.0, 1e9, coefficients="busbridge2025")


def best(problem: Problem) -> float:
    """The least loss of one problem, inf where nothing is feasible."""
    try:
        return optimum(problem)[0].student.cross_entropy
    except InfeasibleError:
        return math.inf


def by_bisection(problem: Problem, loss: float) -> float:
    """The same by sixty single solves."""
    low, high = math.log(1e12), math.log(1e30)
    for _ in range(60):
        middle = 0.5 * (low + high)
        enough = best(replace(problem, budget=math.exp(middle))) <= loss
        low, high = (low, middle) if enough else (middle, high)
    return math.exp(high)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("loss", [2.45, 2.15])
def test_budgets_agree_with_bisection_over_single_solves(scenario: str, loss: float) -> None:
    """All scenarios at once give what one long bisection each gives."""
    way = target(STUDENT, loss).way(scenario)
    alone = by_bisection(STUDENT.with_charges(*SCENARIOS[scenario].charges), loss)

    assert way.budget == pytest.approx(alone, rel=3e-4)


def test_budgets_agree_with_brute_force() -> None:
    """A dense grid over teachers reaches the loss at the budget and not at one per cent less."""
    for name, scenario in SCENARIOS.items():
        budget = target(STUDENT, 2.2).way(name).budget
        problem = STUDENT.with_charges(*scenario.charges)
        assert brute.best_loss(replace(problem, budget=budget * 1.001)) <= 2.2
        assert brute.best_loss(replace(problem, budget=budget * 0.99)) > 2.2


@examples(12)
@given(
    size=st.floats(2e8, 2e10),
    above=st.floats(0.02, 0.8),
    charges=st.tuples(*[st.sampled_from([0.0, 0.02, 0.25, 1.0])] * 2),
)
def test_the_loss_is_reached_at_the_budget_and_proven_out_of_reach_below(
    size: float, above: float, charges: tuple[float, float]
) -> None:
    """The certificate of a target: a plan on one side, a lower bound on the other."""
    problem = Problem(1.0, size, *charges)
    loss = float(brute.law().supervised.floor(size)) + above
    found = smallest_budgets([problem], np.array([loss]), brute.law())
    budget, below = float(found.budget[0]), float(found.unreachable[0])
    if not math.isfinite(budget):
        assert float(found.floor[0]) > loss
        return

    assert best(replace(problem, budget=budget, tolerance=1e-8)) <= loss + 1e-9
    assert best(replace(problem, budget=below, tolerance=1e-8)) > loss - 1e-8
    assert math.log(budget / below) <= 2 * PRECISION


def test_recipes_spend_the_budget_and_reach_the_loss() -> None:
    """What is printed beside a budget is a plan of that budget."""
    found = target(STUDENT, 2.2)
    for way in found.ways:
        if way.recipe is not None:
            assert way.recipe.flops.total == pytest.approx(way.budget, rel=1e-6)
            assert way.recipe.student.cross_entropy == pytest.approx(2.2, abs=1e-5)
    assert found.best is found.way("best-case")


def test_supervised_is_the_laws_inverse() -> None:
    """3 F(N) D with the closed form of D."""
    law = brute.law()
    way = target(STUDENT, 2.2).way("supervised")
    tokens = float(law.supervised.tokens_for_loss(1e9, 2.2))

    assert way.budget == pytest.approx(float(law.flops.training(1e9, tokens)), rel=1e-6)
    assert way.baseline is not None
    assert way.baseline.model.cross_entropy == pytest.approx(2.2, abs=1e-9)


def test_a_free_size_takes_the_cheapest_supervised_model() -> None:
    """No size of a dense grid reaches the loss with fewer FLOPs."""
    law = brute.law()
    found = supervised_targets(np.array([2.3]), [Problem(1.0)], law)
    sizes = np.geomspace(1e7, 1e12, 4001)
    costs = law.flops.training(sizes, law.supervised.tokens_for_loss(sizes, 2.3))

    assert float(found.flops[0]) == pytest.approx(float(np.min(costs)), rel=1e-5)


def test_lower_losses_cost_more() -> None:
    """Monotone in every way."""
    high, low = target(STUDENT, 2.3), target(STUDENT, 2.25)
    for one, other in zip(high.ways, low.ways, strict=True):
        assert other.budget > one.budget


@pytest.mark.parametrize("loss", [1.0, 1.5, 2.08])
def test_a_loss_below_the_floor_names_the_floor(loss: float) -> None:
    """The floor is what unlimited compute gives within the bounds, and the error carries it."""
    with pytest.raises(UnreachableError) as caught:
        target(STUDENT, loss)
    direct = brute.supervised_loss(replace(STUDENT, budget=1e40))
    distilled = brute.best_loss(replace(STUDENT, budget=1e40, charge_pretraining=0.0))

    assert caught.value.floor == pytest.approx(min(direct, distilled), abs=1e-6)
    assert f"{loss:.4f}" in str(caught.value)
    assert ("irreducible" in str(caught.value)) == (loss <= 1.22)


def test_ways_out_of_reach_stand_beside_those_that_reach() -> None:
    """1B students get lower on data than from any teacher: supervised alone reaches 2.0970."""
    found = target(STUDENT, 2.0970)

    assert found.best.method == "supervised"
    assert not any(way.reachable for way in found.ways if way.method != "supervised")
    assert all(way.floor > 2.0970 for way in found.ways if way.method != "supervised")


def test_an_existing_teacher_sets_its_own_floor() -> None:
    """Its student cannot get below the law's limit for that teacher."""
    problem = Problem(1.0, 1e9, 1.0, 0.0, teachers=(Teacher(size=2e9, loss=2.3),))
    way = target(problem, 2.5).way("teacher-inference")
    law = brute.law().distillation
    assert law is not None

    assert way.reachable
    assert way.floor == pytest.approx(float(law.loss(1e9, 20e12, 2.3)), abs=1e-5)


def test_a_target_may_be_another_model() -> None:
    """As good as a supervised 3B on 60B tokens."""
    like = Like.parse("size=3B,tokens=60B")

    assert like == Like(3e9, 60e9)
    assert like.loss(brute.law()) == pytest.approx(float(brute.law().supervised.loss(3e9, 60e9)))


@pytest.mark.parametrize("text", ["3B", "size=3B", "size=3B,size=4B", "size=3B,loss=2"])
def test_half_a_model_is_refused(text: str) -> None:
    """Both numbers, once each, and nothing else."""
    with pytest.raises(ProblemError, match="size=3B,tokens=60B"):
        Like.parse(text)


def test_a_loss_that_is_no_loss_is_refused() -> None:
    """Nats per token are positive and finite."""
    for loss in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ProblemError):
            target(STUDENT, loss)
