"""The warnings that the numbers call for, and the best plan inside the domain of validity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from coefficients import CoefficientSet
from planner.problem import Problem
from planner.second_opinion import ALARM
from planner.validate.checks.compare import CLOSE, Check, Ledger
from planner.validate.checks.proofs import nothing_fits, proof_checks
from planner.validate.checks.recipes import outside, recipe_check

Part = Mapping[str, Any]
Expected = tuple[str, str, float | None, tuple[float, float] | None]


def warnings_check(document: Part, coefficients: CoefficientSet) -> Check:
    """Every warning is due, with its quantity, value and range, and none is missing."""
    ledger = Ledger("the warnings are those that the numbers call for")
    expected = sorted(_expected(document, coefficients), key=lambda each: each[:2])
    stated = sorted(document["warnings"], key=lambda each: (each["code"], each["quantity"]))
    ours = [f"{code} {quantity}".strip() for code, quantity, *_ in expected]
    theirs = [f"{each['code']} {each['quantity']}".strip() for each in stated]
    for name in sorted(set(ours) - set(theirs)):
        ledger.holds(f"'{name}' is missing", False)
    for name in sorted(set(theirs) - set(ours)):
        ledger.holds(f"'{name}' has no ground", False)
    ledger.same("their number", len(ours), len(theirs))
    for (code, quantity, value, ends), each in zip(expected, stated, strict=False):
        name = quantity or code
        ledger.near(f"{name}: the value", value, each["value"])
        pair = [None, None] if each["range"] is None else each["range"]
        for mine, its in zip(ends or (None, None), pair, strict=True):
            ledger.near(f"{name}: the range", mine, its)
        ledger.holds(f"{name}: it says nothing", bool(each["text"].strip()))
    return ledger.check(f"{len(theirs)} of them" if theirs else "none")


def _expected(document: Part, coefficients: CoefficientSet) -> Iterator[Expected]:
    recipe, baseline = document["recipe"], document["supervised"]
    if coefficients.source.details.get("converged") is False:
        yield "fit-not-converged", "", None, None
    if not coefficients.domain.known:
        yield "unknown-domain", "", None, None
    for quantity, (value, measured) in outside(recipe, coefficients).items():
        yield "outside-domain", quantity, value, measured
    for quantity in ("parameters", "tokens"):
        measured, value = coefficients.domain.of(f"student_{quantity}"), baseline[quantity]
        if measured and not measured[0] * (1 - CLOSE) <= value <= measured[1] * (1 + CLOSE):
            yield "baseline-outside-domain", f"supervised_{quantity}", value, measured
    teacher = recipe["teacher"]
    if teacher["existing"] and teacher["parameters"] is not None:
        floor = float(coefficients.supervised.floor(teacher["parameters"]))
        if teacher["cross_entropy"] < floor:
            ends = (floor, float("inf"))
            yield "teacher-below-floor", "teacher_cross_entropy", teacher["cross_entropy"], ends
    opinion = document["second_opinion"]
    if opinion is not None and opinion["disagrees"]:
        ours, theirs = recipe["student"]["cross_entropy"], opinion["cross_entropy"]
        if abs(theirs - ours) > ALARM * ours or (opinion["regret"] or 0.0) >= ALARM:
            spread = opinion["interval"]
            around = None if spread is None else (spread["low"], spread["high"])
            yield "second-opinion", "cross_entropy", theirs, around


def in_domain_checks(
    document: Part, problem: Problem, coefficients: CoefficientSet
) -> Iterator[Check]:
    """A plan inside the domain, or proof that none fits, exactly where the recipe is outside."""
    leaves = bool(outside(document["recipe"], coefficients))
    ledger = Ledger("a plan inside the domain is offered where the recipe leaves it")
    inside = document["in_domain"]
    ledger.same("whether it is there", leaves, inside is not None)
    yield ledger.check("it is there" if leaves else "the recipe is inside")
    if inside is None:
        return
    asked = replace(problem, stay_in_domain=True)
    if inside["recipe"] is None:
        yield nothing_fits("inside the domain: infeasible", asked, coefficients)
        return
    yield recipe_check("inside the domain: its recipe", inside["recipe"], asked, coefficients)
    if inside["certificate"] is not None:
        yield from proof_checks(
            "inside the domain", inside["recipe"], inside["certificate"], asked, coefficients
        )
