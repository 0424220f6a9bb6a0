"""The verdict: three methods, the reasons against each, and headlines that never say too much."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from coefficients import Domain, load
from planner.errors import PlannerError
from planner.problem import Problem, Teacher
from planner.questions.plan.answer import Plan, solve, solve_each
from planner.uncertainty import assess
from planner.verdict import LAW_ERROR, default_caps

PUBLISHED = "busbridge2025"


def test_supervised_where_it_is_clearly_better() -> None:
    """Inside the measured range, by more than the law's error, under both sets."""
    plan = solve(Problem(1e21, 1e9))
    assert (plan.verdict.method, plan.verdict.reasons) == ("supervised", ())
    assert plan.verdict.headline == "Train without a teacher"
    assert plan.recommendation.method == "supervised"
    assert plan.recommendation.teacher is None
    assert plan.recommendation.student == plan.supervised.model


def test_distil_where_it_is_clearly_better() -> None:
    """Few tokens and a teacher at hand."""
    plan = solve(Problem(3e20, 1e9, 0, 0, teachers=(Teacher(size=7e9, tokens=140e9),)))
    assert (plan.verdict.method, plan.verdict.reasons) == ("distil", ())
    assert plan.verdict.headline == "Distil"
    assert plan.recommendation.teacher == plan.recipe.teacher
    assert plan.recommendation.flops == plan.recipe.flops


def test_within_error() -> None:
    """Less than a percent of the loss is undecided; the better of two measured plans is shown."""
    plan = solve(Problem(5e20, 1e9, 1, 0, teachers=(Teacher(size=2e9, tokens=100e9),)))
    assert "outside-domain" not in plan.verdict.reasons
    difference = plan.cross_entropy - plan.supervised.model.cross_entropy
    assert abs(difference) < LAW_ERROR * plan.supervised.model.cross_entropy
    assert (plan.verdict.method, plan.verdict.headline) == ("undecided", "Too close to call")
    assert "within-error" in plan.verdict.reasons
    assert plan.recommendation.method == ("distil" if difference < 0 else "supervised")


def test_outside_the_domain() -> None:
    """Where nothing was measured, the headline says how far the optimum extrapolates."""
    plan = solve(Problem(1e21, 3e9, 1, 0, coefficients=PUBLISHED))
    assert plan.in_domain is not None
    assert plan.verdict.method == "undecided"
    assert "outside-domain" in plan.verdict.reasons
    assert plan.verdict.headline.startswith("Not measured here: the optimum extrapolates")
    assert plan.recommendation.method == "supervised"


def test_the_plan_inside_decides() -> None:
    """It comes first, the supervised model is held to what was measured for it, too."""
    plan = solve(Problem(1e22, 1e9))
    inside = plan.in_domain
    assert inside is not None and inside.supervised is not None and inside.recipe is not None
    assert plan.supervised.model.tokens > 1e12 >= inside.supervised.model.tokens
    assert plan.recommendation.student == inside.supervised.model
    assert plan.verdict.headline.endswith("of the budget unspent)")
    held = solve(Problem(1e22, 1e9, stay_in_domain=True))
    assert held.supervised == inside.supervised
    assert held.cross_entropy == pytest.approx(inside.recipe.student.cross_entropy, abs=1e-6)
    assert not any(each.code == "baseline-outside-domain" for each in held.warnings)


def test_the_fits_disagree() -> None:
    """A second set of opposite sign is never hidden behind a method."""
    plan = solve(Problem(1e20, 7e9, 1, 0, coefficients=PUBLISHED))
    assert "coefficients-disagree" in plan.verdict.reasons
    assert plan.verdict.method == "undecided"


def test_held_by_a_cap() -> None:
    """A default bound is named; one that the user set is the user's own."""
    free = replace(load("busbridge2025-refit"), domain=Domain(), second_opinion=None)
    plan = solve(Problem(1e24, 3e9, 1, 0), free)
    assert "max-teacher-tokens" in plan.recipe.binding
    assert plan.verdict.reasons[-1] == "held-by-a-cap"
    assert plan.verdict.method == "undecided"
    bounds = replace(plan.problem.bounds, teacher_tokens=(1e6, 1e12))
    assert default_caps(["max-teacher-tokens"], plan.problem) == ("max-teacher-tokens",)
    assert default_caps(["max-teacher-tokens"], replace(plan.problem, bounds=bounds)) == ()


SCENARIOS = ((1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (0.0, 1.0))
GRID = [
    Problem(float(budget), size, *charges)
    for budget in np.geomspace(1e19, 1e25, 15)
    for size in (200e6, 700e6, 1.8e9, 4e9, 10e9)
    for charges in SCENARIOS
]


@pytest.fixture(scope="module", params=["busbridge2025-refit", PUBLISHED])
def grid(request: pytest.FixtureRequest) -> list[Plan]:
    """300 plans under either set, less those without a plan; 64 draws say as much as all here."""
    asked = [replace(each, coefficients=request.param) for each in GRID]
    assert len(asked) == 300
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.questions.plan.answer.assess", partial(assess, limit=64))
        found = solve_each(asked)
    assert not any(isinstance(e, PlannerError) and not hasattr(e, "minimum_budget") for e in found)
    return [each for each in found if isinstance(each, Plan)]


def test_no_headline_contradicts_the_second_set_or_its_own_error(grid: list[Plan]) -> None:
    """Whatever is advised is so under both sets, inside what was measured, beyond the error."""
    methods = {each.verdict.method for each in grid}
    assert len(grid) > 200 and methods == {"distil", "supervised", "undecided"}
    for plan in grid:
        verdict, pair = plan.verdict, plan.decisive
        if verdict.method == "undecided":
            assert verdict.reasons
            continue
        sign = -1 if verdict.method == "distil" else 1
        assert pair.opinion is not None
        theirs = pair.opinion.cross_entropy - pair.opinion.supervised
        assert sign * pair.difference >= LAW_ERROR * pair.supervised.model.cross_entropy
        assert sign * theirs > 0
        assert sign * (plan.cross_entropy - plan.supervised.model.cross_entropy) > 0
        assert plan.recommendation.method == verdict.method
        if plan.in_domain is not None:
            assert plan.in_domain.recipe is not None
            assert verdict.headline.startswith("Inside the measured range: ")
        if plan.uncertainty is not None:
            spread = plan.uncertainty.difference
            assert min(sign * spread.low, sign * spread.high) > 0
