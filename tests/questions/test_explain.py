"""Explanations: parts add up, marginal values are equal at an optimum, curves touch the plan."""

from __future__ import annotations

import numpy as np
import pytest

from planner.problem import Problem, Teacher
from planner.questions.explain.answer import Explanation, explain
from tests.questions import brute

QUESTIONS = {
    "full": Problem(1e21, 1e9),
    "best-case": Problem(1e21, 1e9, 0.0, 0.0),
    "inference": Problem(1e22, 1e10, 1.0, 0.0),
    "free": Problem(1e21),
    "existing": Problem(1e22, 3e9, 1.0, 0.0, teachers=(Teacher(size=7e9, loss=1.95),)),
}


@pytest.fixture(scope="module", params=QUESTIONS)
def found(request: pytest.FixtureRequest) -> Explanation:
    """Each question explained."""
    return explain(QUESTIONS[request.param])


def test_parts_add_up_to_the_loss(found: Explanation) -> None:
    """Irreducible, the teacher's excess, what the student is behind."""
    assert sum(part.nats for part in found.parts) == pytest.approx(found.plan.cross_entropy)
    assert all(part.nats >= 0 for part in found.parts)


def test_the_gap_curve_is_the_law_and_its_best_teacher_the_bottom(found: Explanation) -> None:
    """The U at the plan's student and tokens."""
    law = brute.law().distillation
    assert law is not None
    student = found.plan.recipe.student
    assert student.parameters is not None and student.tokens is not None
    again = law.loss(student.parameters, student.tokens, found.gap.x)

    assert found.gap.loss == pytest.approx(again, rel=1e-12)
    assert found.best_student_loss <= float(found.gap.loss.min()) + 1e-9
    assert found.best_student_loss == pytest.approx(float(found.gap.loss.min()), abs=1e-9)
    assert found.gap.loss[0] > found.best_student_loss < found.gap.loss[-1]  # a U, not a slope


def test_curves_at_the_budget_have_the_plan_as_their_lowest_point(found: Explanation) -> None:
    """No teacher's loss and no split of the budget does better."""
    for curve in (found.along_share, found.along_teacher):
        if curve.x.size:
            assert float(curve.loss.min()) == pytest.approx(found.plan.cross_entropy, abs=2e-5)
            assert np.all(curve.loss >= found.plan.certificate.lower_bound - 1e-9)


def test_the_share_is_the_plans(found: Explanation) -> None:
    """Student training over the budget."""
    spent = found.plan.recipe.flops.student_training / found.plan.problem.budget

    assert found.share == pytest.approx(spent, rel=1e-9)


def test_marginal_values_are_equal_at_an_interior_optimum() -> None:
    """A nat per FLOP is the same for student tokens, teacher tokens and teacher size."""
    found = explain(QUESTIONS["full"])
    prices = [
        m.per_compute
        for m in found.marginals
        if m.what in ("compute, replanned", "student tokens", "teacher tokens", "teacher size")
    ]
    assert len(prices) == 4 and None not in prices

    assert max(prices) / min(prices) < 1.05  # type: ignore[type-var, operator]
    assert not found.plan.recipe.binding


def test_more_compute_is_worth_what_solving_again_says(found: Explanation) -> None:
    """Replanned with ten per cent more."""
    from dataclasses import replace

    from planner.optima import optimum

    problem = found.plan.problem
    student = found.plan.recipe.student.parameters
    more, _ = optimum(replace(problem, budget=1.1 * problem.budget, student=student))
    change = more.student.cross_entropy - found.plan.cross_entropy

    assert found.marginals[0].loss_change == pytest.approx(min(change, 0.0), abs=2e-6)


def test_limits_are_gains_and_the_largest_limits(found: Explanation) -> None:
    """Unlimited tokens are the law's floor; nothing limits by a negative amount."""
    law = brute.law().distillation
    assert law is not None
    recipe = found.plan.recipe
    by_name = {each.what: each.gain for each in found.limits}
    assert recipe.student.parameters is not None
    floor = float(law.floor(recipe.student.parameters, recipe.teacher.cross_entropy))

    assert all(gain >= 0 for gain in by_name.values())
    assert by_name["student tokens"] == pytest.approx(found.plan.cross_entropy - floor)
    assert found.limit.gain == max(by_name.values())


def test_a_free_teacher_is_at_the_bottom_of_the_gap() -> None:
    """Best case: nothing keeps the plan from the best teacher."""
    found = explain(QUESTIONS["best-case"])
    teacher = found.plan.recipe.teacher.cross_entropy

    assert teacher == pytest.approx(found.best_teacher_loss, abs=1e-4)
    assert not found.teacher_beyond_gap


def test_a_teacher_beyond_the_gap_is_pointed_out() -> None:
    """A very strong existing teacher makes a worse student than a weaker one would."""
    problem = Problem(1e20, 3e8, 0.0, 0.0, teachers=(Teacher(loss=1.4),))
    found = explain(problem)

    assert found.teacher_beyond_gap
    assert found.best_student_loss < found.plan.cross_entropy
