"""Recipes judged: prediction, cost, distance, first change, rules of thumb."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import ProblemError
from planner.optima import optimum
from planner.problem import Problem, Teacher
from planner.questions.evaluate.answer import Evaluation, evaluate, evaluate_plan
from planner.questions.evaluate.rules import RULES
from planner.questions.plan.answer import solve
from tests.examples import examples
from tests.questions import brute

STUDENT = Problem(1.0, 1e9)
BIG = Teacher(size=7e9, tokens=20e9)


@pytest.fixture(scope="module")
def poor() -> Evaluation:
    """A recipe with too large a teacher."""
    return evaluate(STUDENT, 40e9, BIG)


def test_prediction_and_cost_are_the_laws(poor: Evaluation) -> None:
    """Eq. 8 and Eq. 9, term by term."""
    law = brute.law()
    assert law.distillation is not None
    teacher = float(law.supervised.loss(7e9, 20e9))
    forward = law.flops.per_token

    assert poor.recipe.student.cross_entropy == pytest.approx(
        float(law.distillation.loss(1e9, 40e9, teacher)), rel=1e-12
    )
    assert poor.recipe.flops.student_training == pytest.approx(3 * float(forward(1e9)) * 40e9)
    assert poor.recipe.flops.teacher_inference == pytest.approx(float(forward(7e9)) * 40e9)
    assert poor.recipe.flops.teacher_pretraining == pytest.approx(3 * float(forward(7e9)) * 20e9)
    assert poor.recipe.flops.total == pytest.approx(poor.cost)


def test_the_optimum_of_equal_cost_agrees_with_brute_force(poor: Evaluation) -> None:
    """The distance in nats is the distance to a dense grid's best."""
    best = brute.best_loss(replace(STUDENT, budget=poor.cost))

    assert poor.best.student.cross_entropy == pytest.approx(best, abs=2e-6)
    assert poor.excess == pytest.approx(poor.recipe.student.cross_entropy - best, abs=3e-6)


def test_the_compute_that_could_be_saved_reaches_the_same_loss(poor: Evaluation) -> None:
    """At that budget the best plan is as good, at one per cent less it is not."""
    loss = poor.recipe.student.cross_entropy

    assert 0.3 < poor.saved < 0.45
    assert brute.best_loss(replace(STUDENT, budget=poor.budget_for_loss * 1.001)) <= loss
    assert brute.best_loss(replace(STUDENT, budget=poor.budget_for_loss * 0.99)) > loss


def test_moves_agree_with_a_scan_of_one_variable(poor: Evaluation) -> None:
    """The best teacher size alone, by a dense scan with the tokens balancing the cost."""
    problem = replace(STUDENT, budget=poor.cost)
    sizes = np.geomspace(1e8, 1e11, 20001)
    scanned = brute.losses(problem, sizes, np.full(sizes.shape, 20e9))
    tokens = np.geomspace(1e9, 1e12, 20001)
    longer = brute.losses(problem, np.full(tokens.shape, 7e9), tokens)
    by_name = {move.variable: move for move in poor.moves}

    move = by_name["teacher size"]
    assert move.recipe.student.cross_entropy == pytest.approx(float(scanned.min()), abs=2e-6)
    assert move.new == pytest.approx(sizes[int(np.argmin(scanned))], rel=0.02)
    assert move.recipe.teacher.tokens == pytest.approx(20e9, rel=1e-9)
    other = by_name["teacher tokens"]
    assert other.recipe.student.cross_entropy == pytest.approx(float(longer.min()), abs=2e-6)
    kept = by_name["teacher size and tokens"].recipe
    assert kept.student.tokens == pytest.approx(40e9, rel=1e-6)


@examples(15)
@given(
    tokens=st.floats(5e9, 3e11),
    teacher=st.floats(3e8, 2e10),
    ratio=st.floats(2, 200),
    charges=st.sampled_from([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 0.2)]),
)
def test_nothing_of_equal_cost_beats_the_optimum(
    tokens: float, teacher: float, ratio: float, charges: tuple[float, float]
) -> None:
    """Moves lie between the recipe and the optimum, rules never spend more or do better."""
    problem = STUDENT.with_charges(*charges)
    found = evaluate(problem, tokens, Teacher(size=teacher, tokens=ratio * teacher))
    best = found.best.student.cross_entropy

    assert found.excess >= 0
    assert found.budget_for_loss <= found.cost
    for move in found.moves:
        assert move.gain >= -1e-6
        assert move.recipe.flops.total <= found.cost * (1 + 1e-6)
        if move.variable != "student size":
            assert move.recipe.student.cross_entropy >= best - 1e-6
    for rule in found.rules:
        if rule.recipe is not None:
            assert rule.recipe.flops.total <= found.cost * (1 + 1e-6)
            assert rule.recipe.student.cross_entropy >= best - 1e-6


def test_an_optimal_recipe_has_nothing_to_change() -> None:
    """The plan of `solve`, judged, is at distance zero."""
    recipe, _ = optimum(Problem(1e21, 1e9))
    teacher = Teacher(size=recipe.teacher.parameters, tokens=recipe.teacher.tokens)
    assert recipe.student.tokens is not None
    found = evaluate(STUDENT, recipe.student.tokens, teacher)

    assert found.cost == pytest.approx(1e21)
    assert found.excess <= 1e-6
    assert found.first is None
    assert found.saved <= 2e-3


def test_the_first_change_is_the_one_that_gains_most(poor: Evaluation) -> None:
    """Of all but the student's own size."""
    gains = {move.variable: move.gain for move in poor.moves}

    assert poor.first is not None
    assert poor.first.gain == max(v for k, v in gains.items() if k != "student size")


def test_rules_say_what_they_say(poor: Evaluation) -> None:
    """20 tokens per parameter, 2.5 times the student, half of the compute."""
    by_name = {rule.name: rule.recipe for rule in poor.rules}
    assert set(by_name) == {rule.name for rule in RULES}
    chinchilla, gap = by_name["chinchilla-teacher"], by_name["capacity-gap"]
    own, half = by_name["chinchilla-student"], by_name["half-half"]
    assert chinchilla and gap and own and half

    assert chinchilla.teacher.tokens_per_parameter == pytest.approx(20, rel=1e-6)
    assert chinchilla.flops.teacher_pretraining == pytest.approx(
        poor.recipe.flops.teacher_pretraining, rel=1e-6
    )
    assert gap.teacher.parameters == pytest.approx(2.5e9)
    assert own.student.tokens == pytest.approx(20e9)
    assert half.flops.student_training == pytest.approx(0.5 * poor.cost, rel=1e-6)
    for recipe in (chinchilla, gap, own, half):
        assert recipe.flops.total == pytest.approx(poor.cost, rel=1e-6)
    assert by_name["biggest-teacher"] is None  # 12.6B on 252B tokens costs more than the recipe


def test_rules_keep_to_the_bounds() -> None:
    """A budget for more than 20T student tokens does not let a rule beat the optimum by them."""
    problem = STUDENT.with_charges(0.0, 1.0)
    found = evaluate(problem, 222e9, Teacher(size=17.5e9, tokens=199 * 17.5e9))
    by_name = {rule.name: rule for rule in found.rules}
    biggest = by_name["biggest-teacher"].recipe

    assert biggest is not None
    assert biggest.student.tokens == pytest.approx(20e12)
    assert by_name["capacity-gap"].excess is not None
    assert min(rule.excess for rule in found.rules if rule.excess is not None) >= -1e-6


def test_a_free_teacher_takes_no_share_of_the_compute() -> None:
    """Best case: rules on the split keep the recipe's own teacher."""
    found = evaluate(STUDENT.with_charges(0, 0), 40e9, BIG)
    by_name = {rule.name: rule.recipe for rule in found.rules}
    kept = by_name["chinchilla-student"]

    assert kept is not None
    assert kept.teacher.parameters == pytest.approx(7e9)
    assert kept.student.tokens == pytest.approx(20e9)


def test_a_teacher_known_by_its_loss_is_kept() -> None:
    """It exists: no moves, no rules, and its pretraining is not charged."""
    found = evaluate(STUDENT, 40e9, Teacher(size=7e9, loss=2.05))

    assert found.moves == () and found.rules == ()
    assert found.recipe.flops.teacher_pretraining == 0
    assert found.excess <= 1e-6


def test_a_plans_document_is_judged_as_the_plan() -> None:
    """What `plan --format json` wrote comes back with distance zero."""
    found = evaluate_plan(solve(Problem(1e21, 1e9)))

    assert found.cost == pytest.approx(1e21, rel=1e-9)
    assert found.excess <= 1e-6


def test_recipes_outside_the_usual_bounds_are_judged_too() -> None:
    """Bounds are widened to hold the recipe, which warns of the domain instead."""
    found = evaluate(STUDENT, 40e12, Teacher(size=2e12, tokens=30e12))

    assert found.recipe.student.tokens == pytest.approx(40e12)
    assert {"teacher_parameters", "teacher_tokens"} <= {w.quantity for w in found.warnings}


def test_a_recipe_without_a_student_is_refused() -> None:
    """The size is part of a recipe."""
    with pytest.raises(ProblemError, match="--student"):
        evaluate(Problem(1.0), 40e9, BIG)
