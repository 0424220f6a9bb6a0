"""A recipe document is recomputed, and tampering with any part of it is noticed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import tomli
import tomli_w
from planner.reports.read import check_recipe

from planner import Problem, load_coefficients, solve
from planner.reports.toml import without_none
from planner.validate.bound import second_bound
from planner.validate.checks import Check, check_document, unchecked

QUESTIONS: dict[str, dict[str, Any]] = {
    "full": {"budget": "1e21", "student": "1B"},
    "outside the domain": {"budget": "1e21", "student": "3B", "scenario": "teacher-inference"},
    "existing teachers": {
        "budget": "1e21",
        "student": "1B",
        "teachers": ["size=7B,tokens=140B", "size=3B,loss=2.05"],
    },
    "loss alone": {
        "budget": "1e21", "student": "1B", "scenario": "best-case", "teachers": ["loss=2.0"],
    },
    "any size": {"budget": "1e21"},
    "buildable": {"budget": "1e21", "round_to_architecture": True},
    "inside the domain": {"budget": "1e21", "stay_in_domain": True},
    "capped": {
        "budget": "1e22", "student": "1B", "max_student_tokens": "50B", "scenario": "full",
    },
    "draws": {"budget": "1e21", "coefficients": "busbridge2025-refit"},
    "serving": {"budget": "1e21", "student": "500M", "serving_tokens": "100B"},
}  # fmt: skip


def failed(checks: tuple[Check, ...]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def restored(document: dict[str, Any]) -> dict[str, Any]:
    """The document as a TOML file gives it back."""
    return check_recipe(tomli.loads(tomli_w.dumps(without_none(document))))


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_plan_passes_its_own_checks(name: str) -> None:
    """What the solver prints survives a recomputation that does not use the solver."""
    document = solve(Problem.from_mapping(QUESTIONS[name])).to_dict()

    checks = check_document(restored(document))

    assert failed(checks) == []
    assert len(checks) >= 12


@pytest.mark.parametrize(
    ("path", "factor", "noticed"),
    [
        (("recipe", "student", "cross_entropy"), 0.99, "the recipe: losses, FLOPs, bounds"),
        (("recipe", "student", "tokens"), 1.01, "the recipe: losses, FLOPs, bounds"),
        (("recipe", "flops", "total"), 1.5, "the recipe: losses, FLOPs, bounds"),
        (("supervised", "cross_entropy"), 1.01, "the supervised baseline of the same budget"),
        (("certificate", "gap"), 100.0, "the recipe: the certificate's numbers"),
        (("certificate", "lower_bound"), 1.01, "the recipe: a second proof from monotonicity"),
    ],
)
def test_a_tampered_number_is_named(path: tuple[str, ...], factor: float, noticed: str) -> None:
    """Changing one number of the document fails the check that is about it."""
    document = copy.deepcopy(solve(Problem.from_mapping(QUESTIONS["full"])).to_dict())
    where = document
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] *= factor

    assert noticed in failed(check_document(document))


def test_a_missing_warning_is_noticed() -> None:
    """A document that leaves the domain silently does not pass."""
    document = solve(Problem.from_mapping(QUESTIONS["outside the domain"])).to_dict()
    document["warnings"] = document["warnings"][1:]

    assert "the warnings are those that the numbers call for" in failed(check_document(document))


def test_the_second_bound_finds_better_plans() -> None:
    """A lower bound that a feasible plan undercuts is exposed by the plans tried on the way."""
    problem = Problem.from_mapping(QUESTIONS["full"])

    second = second_bound(problem, load_coefficients(), incumbent=2.4)

    assert second.best < 2.2979
    assert 2.2977 < second.lower < 2.2979


@pytest.mark.parametrize("flag", ["stay_in_domain", "round_to_architecture"])
def test_the_second_bound_holds_inside_and_for_buildable_sizes(flag: str) -> None:
    """Between the second proof and the best plan met lies the solver's, to 1e-3 at the most."""
    plan = solve(Problem.from_mapping({"budget": "1e21", flag: True}))
    built = flag == "round_to_architecture"

    second = second_bound(plan.problem, load_coefficients(), float("inf"), 1e-3, built)

    assert second.lower <= plan.cross_entropy <= second.best + 1e-6
    assert second.best - second.lower <= 1.1e-3


def test_what_is_not_recomputed_is_named() -> None:
    """Wordings and further analyses are listed as not checked."""
    document = solve(Problem.from_mapping(QUESTIONS["full"])).to_dict()
    document["extras"] = {"near_optimal": {}}

    assert any("near_optimal" in each for each in unchecked(document))
    assert any("wording" in each for each in unchecked(document))
