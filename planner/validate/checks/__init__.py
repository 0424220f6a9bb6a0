"""A recipe document recomputed from the laws: everything in it that a number can contradict.

Nothing here calls the optimiser: losses and FLOPs come from Eq. 1, 8 and 9, bounds from a second
proof (`planner.validate.bound`), optima under other laws from a search of its own
(`planner.validate.optima`). Every check names what it compared, so a failure says where;
`unchecked` names what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coefficients import CoefficientSet, load
from planner.problem import Problem
from planner.rows import require_distillation
from planner.validate.checks.baseline import baseline_check
from planner.validate.checks.compare import CLOSE as CLOSE
from planner.validate.checks.compare import Check as Check
from planner.validate.checks.domain import in_domain_checks, warnings_check
from planner.validate.checks.proofs import proof_checks
from planner.validate.checks.question import (
    considered_check,
    provenance_check,
    scenario_checks,
    verdict_check,
)
from planner.validate.checks.recipes import recipe_check
from planner.validate.checks.sensitivity import sensitivity_check
from planner.validate.checks.trust import (
    opinion_checks,
    robust_checks,
    uncertainty_check,
)


def check_document(
    document: Mapping[str, Any], coefficients: CoefficientSet | None = None
) -> tuple[Check, ...]:
    """Every check of a recipe document (as `reports.read.read_recipe` returns it).

    `coefficients` overrides the set that the document's problem names.
    """
    problem = Problem.from_mapping(document["problem"])
    chosen = coefficients if coefficients is not None else load(problem.coefficients)
    require_distillation(chosen)
    return tuple(_checks(document, problem, chosen))


def _checks(
    document: Mapping[str, Any], problem: Problem, chosen: CoefficientSet
) -> Iterator[Check]:
    recipe, built = document["recipe"], problem.round_to_architecture
    yield recipe_check("the recipe: losses, FLOPs, bounds", recipe, problem, chosen, built)
    yield from proof_checks("the recipe", recipe, document["certificate"], problem, chosen, built)
    yield baseline_check(document["supervised"], problem, chosen)
    yield verdict_check(document, problem, chosen)
    yield provenance_check(document, problem, chosen)
    yield warnings_check(document, chosen)
    yield from in_domain_checks(document, problem, chosen)
    yield from scenario_checks(document, problem, chosen)
    yield considered_check(document, problem, chosen)
    yield from opinion_checks(document, problem, chosen)
    yield uncertainty_check(document, problem, chosen)
    yield from robust_checks(document, problem, chosen)
    if document["sensitivity"]:
        yield sensitivity_check(document, problem, chosen)


def unchecked(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What a document holds that nothing here recomputes."""
    left = ["the wording of notes, warnings and reasons", "the number of boxes of each proof"]
    left += [f"the analysis '{name}'" for name in document["extras"]]
    return tuple(left)
