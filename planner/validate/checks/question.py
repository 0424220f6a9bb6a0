"""Whose numbers these are, every scenario, the verdict, and the other teachers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from coefficients import CoefficientSet
from planner import units
from planner.problem import Problem
from planner.scenarios import SCENARIOS, scenario_of
from planner.validate.bound import second_bound
from planner.validate.checks.compare import Check, Ledger
from planner.validate.checks.proofs import SECOND_TOLERANCE, nothing_fits, proof_checks
from planner.validate.checks.recipes import outside, recipe_check
from planner.verdict import LAW_ERROR

Part = Mapping[str, Any]


def provenance_check(document: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """The coefficient set, its conventions, and the scenario's name."""
    ledger = Ledger("scenario and coefficients")
    ledger.same("the scenario", problem.scenario, document["scenario"])
    stated, source = document["coefficients"], coefficients.source
    ledger.same("the coefficient set", coefficients.name, stated["name"])
    cited = ", ".join(part for part in (source.citation, source.location) if part)
    ledger.same("its source", cited, stated["source"])
    ledger.same("the FLOP convention", coefficients.flops.convention, stated["flop_convention"])
    convention = stated["parameter_convention"]
    ledger.same("the parameter convention", "non-embedding parameters", convention)
    return ledger.check()


def scenario_checks(
    document: Part, problem: Problem, coefficients: CoefficientSet
) -> Iterator[Check]:
    """Each scenario as a plan of its own; the chosen one is the recipe itself."""
    asked = (problem.charge_inference, problem.charge_pretraining)
    expected = _charges(problem)
    ledger = Ledger("every scenario is there once")
    found = [(s["charge_inference"], s["charge_pretraining"]) for s in document["scenarios"]]
    ledger.same("the scenarios' charges", sorted(expected), sorted(found))
    yield ledger.check()
    supervised = document["supervised"]["cross_entropy"]
    for each in document["scenarios"]:
        charges = (each["charge_inference"], each["charge_pretraining"])
        name = f"scenario {each['name']}"
        ledger = Ledger(f"{name}: its line")
        ledger.same("the name", scenario_of(*charges), each["name"])
        ledger.same("whether it is chosen", charges == asked, each["chosen"])
        recipe = each["recipe"]
        ledger.same("whether it is feasible", recipe is not None, each["feasible"])
        ledger.same("whether it has a certificate", recipe is not None, bool(each["certificate"]))
        loss = None if recipe is None else recipe["student"]["cross_entropy"]
        ledger.near("its cross-entropy", loss, each["cross_entropy"])
        gain = None if loss is None else loss - supervised
        ledger.near("its difference to supervised", gain, each["difference"], room=1e-12)
        leaves = recipe is not None and bool(outside(recipe, coefficients))
        ledger.same("whether it leaves the domain", leaves, each["outside_domain"])
        if charges == asked:
            ledger.tree("its recipe", document["recipe"], recipe, rel=0.0)
            ledger.tree("its certificate", document["certificate"], each["certificate"], rel=0.0)
            yield ledger.check()
            continue
        yield ledger.check()
        varied = problem.with_charges(*charges)
        if recipe is None:
            yield nothing_fits(f"{name}: infeasible", varied, coefficients)
            continue
        yield recipe_check(f"{name}: its recipe", recipe, varied, coefficients)
        if each["certificate"] is not None:
            yield from proof_checks(name, recipe, each["certificate"], varied, coefficients)


def _charges(problem: Problem) -> set[tuple[float, float]]:
    """The charges worth a line: with existing teachers only those of inference differ."""
    own = (problem.charge_inference, problem.charge_pretraining)
    charges = {each.charges for each in SCENARIOS.values()}
    if problem.teachers:
        sized = all(each.size is not None for each in problem.teachers)
        charges = {(i, p) for i, p in charges if p == 0 and (sized or i == 0) and i != own[0]}
    return charges | {own}


def verdict_check(document: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """What to do follows from the two losses, and the sentence says so with its caveats."""
    ledger = Ledger("the verdict follows from the numbers")
    recipe, verdict = document["recipe"], document["verdict"]
    ours, theirs = recipe["student"]["cross_entropy"], document["supervised"]["cross_entropy"]
    difference = ours - theirs
    method = "supervised" if difference > 0 else "distil"
    if abs(difference) <= max(problem.tolerance, 1e-5):
        method = "either"
    ledger.same("the method", method, verdict["method"])
    text = verdict["text"]
    opening = {"supervised": "Train it directly", "distil": "Distil", "either": "Either"}[method]
    ledger.holds(f"the sentence does not begin with '{opening}'", text.startswith(opening))
    for loss in {units.format_loss(ours)} | ({units.format_loss(theirs)} - {""}):
        ledger.holds(f"the sentence does not name the loss {loss}", loss in text)
    main = text.partition(" With a teacher ")[0].partition(" With teacher ")[0]
    small = abs(difference) < LAW_ERROR * theirs
    ledger.same("whether the law's error is named", small, "law's own error" in main)
    leaves = bool(outside(recipe, coefficients))
    ledger.same("whether the domain is named", leaves, "outside the range" in main)
    return ledger.check()


def considered_check(document: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """The student's loss under each existing teacher, best first."""
    ledger = Ledger("the teachers considered")
    expected = []
    if len(problem.teachers) > 1:
        for teacher in problem.teachers:
            alone = replace(problem, teachers=(teacher,))
            second = second_bound(alone, coefficients, np.inf, SECOND_TOLERANCE)
            if np.isfinite(second.best):
                expected.append((str(teacher), second.best))
    stated = [(each["teacher"], each["cross_entropy"]) for each in document["considered"]]
    ledger.same("their number", len(expected), len(stated))
    losses = [loss for _, loss in stated]
    ledger.same("their order", sorted(losses), losses)
    ours = dict(expected)
    for name, loss in stated:
        ledger.near(f"the student's loss under {name}", ours.get(name), loss, room=1e-5)
    return ledger.check()
