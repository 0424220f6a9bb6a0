"""The near-optimal set against random recipes and against its own definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.errors import InfeasibleError, QuantityError
from planner.optima import optimum
from planner.problem import Problem, Teacher
from planner.questions.near_optimal.answer import NearOptimal, near_optimal
from tests.questions import brute

QUESTIONS = {
    "full": Problem(1e21, 1e9),
    "inference": Problem(1e22, 1e10, 1.0, 0.0),
    "best-case": Problem(1e21, 1e9, 0.0, 0.0),
    "shared": Problem(1e22, 3e9, 1.0, 0.2),
}


@pytest.fixture(scope="module", params=QUESTIONS)
def found(request: pytest.FixtureRequest) -> NearOptimal:
    """The set of each question."""
    return near_optimal(QUESTIONS[request.param])


def sample(problem: Problem, count: int = 60_000) -> dict[str, np.ndarray]:
    """Random teachers with all student tokens the budget pays, and their losses."""
    random = np.random.default_rng(7)
    n, d = (
        np.exp(random.uniform(*np.log(ends), count))
        for ends in (problem.bounds.teacher_size, problem.bounds.teacher_tokens)
    )
    loss = brute.losses(problem, n, d)
    return {
        "teacher_size": n,
        "teacher_tokens": d,
        "student_tokens": brute.student_tokens(problem, n, d),
        "teacher_cross_entropy": brute.law().supervised.loss(n, d),
        "loss": loss,
    }


def test_no_random_recipe_of_the_set_lies_outside_its_ranges(found: NearOptimal) -> None:
    """Everything under the ceiling is inside, for every variable."""
    drawn = sample(found.problem)
    inside = drawn["loss"] <= found.ceiling
    assert np.count_nonzero(inside) > 100
    for span in found.spans:
        values = drawn[span.variable][inside]
        assert values.min() >= span.low * (1 - 2e-3)
        assert values.max() <= span.high * (1 + 2e-3)


def test_ends_are_on_the_ceiling_or_on_a_bound(found: NearOptimal) -> None:
    """Holding a size or tokens at an end still fits; two per cent beyond does not."""
    for span in found.spans:
        if span.variable == "teacher_cross_entropy":
            continue
        for end, beyond, bound in (
            (span.low, 0.98, span.open_low),
            (span.high, 1.02, span.open_high),
        ):
            assert held(found.problem, span.variable, end) <= found.ceiling + 1e-5
            if not bound:
                assert held(found.problem, span.variable, end * beyond) > found.ceiling


def held(problem: Problem, variable: str, value: float) -> float:
    """The best loss with one variable held."""
    bounds = replace(problem.bounds, **{variable: (value, value)})
    try:
        recipe, _ = optimum(replace(problem, bounds=bounds))
    except InfeasibleError:
        return float("inf")
    return recipe.student.cross_entropy


def test_the_best_is_inside_and_the_ceiling_is_half_a_per_cent(found: NearOptimal) -> None:
    """The definition."""
    assert found.ceiling == pytest.approx(1.005 * found.best.student.cross_entropy)
    for span in found.spans:
        assert span.low <= span.best <= span.high
        assert span.losses.min() >= found.certificate.lower_bound - 1e-9


def test_no_random_recipe_of_the_set_has_a_cheaper_teacher(found: NearOptimal) -> None:
    """The cheapest teacher to train, up to the scan's resolution, and its recipe is in the set."""
    drawn = sample(found.problem)
    law = brute.law()
    cheapest = found.cheapest_teacher
    assert cheapest is not None
    inside = drawn["loss"] <= found.ceiling
    costs = law.flops.training(drawn["teacher_size"], drawn["teacher_tokens"])[inside]
    assert cheapest.teacher.parameters and cheapest.teacher.tokens
    cost = float(law.flops.training(cheapest.teacher.parameters, cheapest.teacher.tokens))

    assert cost <= float(costs.min()) * (1 + 1e-3)
    assert cheapest.student.cross_entropy <= found.ceiling + 1e-6
    assert cheapest.flops.total <= found.problem.budget * (1 + 1e-9)


def test_buildable_teachers_are_in_the_set_and_all_there(found: NearOptimal) -> None:
    """Each listed one fits at its exact size; neighbours of the ends do not."""
    family = brute.law().architectures
    layers = [shape.architecture.layers for shape in found.shapes]
    span = found.span("teacher_size")
    for shape in found.shapes[:: max(1, len(found.shapes) // 3)]:
        exact = float(shape.architecture.parameters)
        assert held(found.problem, "teacher_size", exact) == pytest.approx(
            shape.cross_entropy, abs=2e-5
        )
        assert shape.cross_entropy <= found.ceiling
    if not found.shapes_left_out:
        assert layers == [m.layers for m in family.between(span.low, span.high)]


def test_a_share_of_compute_is_the_loss_of_the_smaller_budget() -> None:
    """Ten per cent of waste: as good as the best plan of a budget ten per cent smaller."""
    problem = QUESTIONS["full"]
    found = near_optimal(problem, compute=0.10)
    recipe, _ = optimum(replace(problem, budget=problem.budget / 1.1))

    assert found.ceiling == pytest.approx(recipe.student.cross_entropy, abs=1e-6)


def test_a_wider_ceiling_widens_every_range() -> None:
    """Sets are nested."""
    narrow, wide = (near_optimal(QUESTIONS["full"], share) for share in (0.002, 0.01))
    for one, other in zip(narrow.spans, wide.spans, strict=True):
        assert other.low < one.low and one.high < other.high


def test_a_free_student_has_a_range_of_sizes() -> None:
    """Holding the student at the ends of its range is still within the ceiling."""
    found = near_optimal(Problem(1e21))
    span = found.span("student_size")

    assert span.low < span.best < span.high
    for size, fits in ((span.low, True), (span.low * 0.97, False), (span.high * 1.03, False)):
        recipe, _ = optimum(Problem(1e21, size))
        assert (recipe.student.cross_entropy <= found.ceiling + 1e-5) == fits
    assert {shape.role for shape in found.shapes} == {"student", "teacher"}


def test_an_existing_teacher_leaves_the_students_tokens() -> None:
    """Nothing else can move."""
    problem = Problem(1e21, 1e9, 1.0, 0.0, teachers=(Teacher(size=7e9, loss=2.05),))
    found = near_optimal(problem)

    assert [span.variable for span in found.spans] == ["student_tokens"]
    assert found.cheapest_teacher is None
    assert found.spans[0].high == pytest.approx(found.best.student.tokens, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """Between nothing and everything."""
    with pytest.raises(QuantityError):
        near_optimal(QUESTIONS["full"], share)
