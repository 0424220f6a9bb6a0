"""A recipe recomputed from Eq. 1, 8 and 9: models, FLOPs, bounds and the domain of validity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coefficients import CoefficientSet
from planner.problem import Problem, Teacher
from planner.validate.checks.compare import CLOSE, Check, Ledger

Part = Mapping[str, Any]

EDGE = 1e-6
"""Relative distance from an edge of the domain at which a plan rests on it."""

TERMS = ("student_training", "teacher_inference", "teacher_pretraining", "serving")


def recipe_check(
    name: str, recipe: Part, problem: Problem, coefficients: CoefficientSet, built: bool = False
) -> Check:
    """Everything about one recipe. `built`: student and teacher are real architectures."""
    ledger = Ledger(name)
    teacher = _teacher_of(recipe, problem, ledger)
    if teacher is None and None in (recipe["teacher"]["parameters"], recipe["teacher"]["tokens"]):
        ledger.holds("a teacher to be trained has no size or no tokens", False)
        return ledger.check()
    _models(ledger, recipe, problem, coefficients, teacher)
    _costs(ledger, recipe, problem, coefficients)
    _within(ledger, recipe, problem, coefficients)
    ledger.same("binding", binding(recipe, problem, coefficients), list(recipe["binding"]))
    if built:
        for role in ("student", "teacher"):
            model = recipe[role]
            if model["architecture"] and not (role == "teacher" and model["existing"]):
                exact = float(model["architecture"]["parameters"])
                ledger.near(f"the buildable {role}'s size", exact, model["parameters"])
    return ledger.check()


def _teacher_of(recipe: Part, problem: Problem, ledger: Ledger) -> Teacher | None:
    """The existing teacher that the recipe names, if the problem has any."""
    model = recipe["teacher"]
    ledger.same("whether the teacher exists", bool(problem.teachers), model["existing"])
    if not problem.teachers:
        ledger.same("the teacher's name", "", model["name"])
        return None
    for each in problem.teachers:
        if (each.name, each.size, each.tokens) == (
            model["name"], model["parameters"], model["tokens"],
        ) and each.loss in (None, model["cross_entropy"]):  # fmt: skip
            return each
    ledger.holds("the teacher is none of the question's", False)
    return problem.teachers[0]


def _models(
    ledger: Ledger,
    recipe: Part,
    problem: Problem,
    coefficients: CoefficientSet,
    existing: Teacher | None,
) -> None:
    student, teacher = recipe["student"], recipe["teacher"]
    if problem.student is not None:
        ledger.near("the student's size", problem.student, student["parameters"])
    for role in ("student", "teacher"):
        model_shape(ledger, role, recipe[role], coefficients)
    loss = teacher["cross_entropy"]
    if existing is not None and existing.loss is not None:
        ledger.near("the teacher's cross-entropy", existing.loss, loss)
    elif teacher["parameters"] and teacher["tokens"]:
        value = float(coefficients.supervised.loss(teacher["parameters"], teacher["tokens"]))
        ledger.near("the teacher's cross-entropy (Eq. 1)", value, loss)
    else:
        ledger.holds("the teacher has neither size and tokens nor a measured loss", False)
    law = coefficients.distillation
    assert law is not None
    value = float(law.loss(student["parameters"], student["tokens"], loss))
    ledger.near("the student's cross-entropy (Eq. 8)", value, student["cross_entropy"])


def model_shape(ledger: Ledger, role: str, model: Part, coefficients: CoefficientSet) -> None:
    """Tokens per parameter and the nearest architecture of a model."""
    size, tokens = model["parameters"], model["tokens"]
    ratio = tokens / size if size and tokens else None
    ledger.near(f"{role}: tokens per parameter", ratio, model["tokens_per_parameter"])
    shape = None if size is None else asdict(coefficients.architectures.nearest(size))
    ledger.tree(f"{role}: architecture", shape, model["architecture"])


def _costs(ledger: Ledger, recipe: Part, problem: Problem, coefficients: CoefficientSet) -> None:
    student, teacher, flops = recipe["student"], recipe["teacher"], recipe["flops"]
    per_token = float(coefficients.flops.per_token(student["parameters"]))
    size = teacher["parameters"]
    logits = 0.0 if size is None else float(coefficients.flops.per_token(size))
    running = logits * student["tokens"]
    sunk = bool(problem.teachers)
    training = 0.0 if sunk else 3.0 * logits * (teacher["tokens"] or 0.0)
    charged = {
        "student_training": 3.0 * per_token * student["tokens"],
        "teacher_inference": problem.charge_inference * running,
        "teacher_pretraining": problem.charge_pretraining * training,
        "serving": per_token * problem.serving_tokens,
    }
    rest = (1 - problem.charge_inference) * running + (1 - problem.charge_pretraining) * training
    flops_check(ledger, charged, None if size is None else rest, flops)
    ledger.holds(
        f"{sum(charged.values()):.6e} FLOPs are more than the budget of {problem.budget:.6e}",
        sum(charged.values()) <= problem.budget * (1 + CLOSE),
    )


def flops_check(
    ledger: Ledger, charged: Mapping[str, float], uncharged: float | None, flops: Part
) -> None:
    """Every term, the total, the shares and what is not charged."""
    total = sum(charged.values())
    for term in TERMS:
        ledger.near(f"{term.replace('_', ' ')} FLOPs", charged[term], flops[term])
        ledger.near(f"{term}'s share", charged[term] / total, flops["shares"][term])
    ledger.near("total FLOPs", total, flops["total"])
    ledger.near("FLOPs not charged", uncharged, flops["uncharged"])


def _limits(recipe: Part, problem: Problem, coefficients: CoefficientSet) -> dict[str, Any]:
    """Value and inclusive range of everything that is bounded, by the bound's name."""
    student, teacher, bounds = recipe["student"], recipe["teacher"], problem.bounds
    values = {
        "student-tokens": (student["tokens"], bounds.student_tokens),
        "student-size": (student["parameters"], bounds.student_size),
    }
    if not (teacher["existing"] or problem.teachers):
        values["teacher-size"] = (teacher["parameters"], bounds.teacher_size)
        values["teacher-tokens"] = (teacher["tokens"], bounds.teacher_tokens)
    return values


def _within(ledger: Ledger, recipe: Part, problem: Problem, coefficients: CoefficientSet) -> None:
    for name, (value, (low, high)) in _limits(recipe, problem, coefficients).items():
        inside = low * (1 - CLOSE) <= value <= high * (1 + CLOSE)
        ledger.holds(f"{name} ({value:.6g}) is outside {low:.6g} to {high:.6g}", inside)
    if problem.stay_in_domain:
        for quantity in outside(recipe, coefficients):
            ledger.holds(f"{quantity} leaves the domain that the plan was to stay in", False)


def quantities(recipe: Part, coefficients: CoefficientSet) -> dict[str, float | None]:
    """What the domain of validity is about, as the recipe has it."""
    student, teacher = recipe["student"], recipe["teacher"]
    supervised = float(coefficients.supervised.loss(student["parameters"], student["tokens"]))
    return {
        "student_parameters": student["parameters"],
        "student_tokens": student["tokens"],
        "teacher_parameters": teacher["parameters"],
        "teacher_tokens": teacher["tokens"],
        "student_tokens_per_parameter": student["tokens"] / student["parameters"],
        "teacher_cross_entropy": teacher["cross_entropy"],
        "teacher_to_supervised": teacher["cross_entropy"] / supervised,
    }


def outside(recipe: Part, coefficients: CoefficientSet) -> dict[str, tuple[float, Any]]:
    """Quantities outside the domain of validity, with their values and measured ranges."""
    found = {}
    for quantity, value in quantities(recipe, coefficients).items():
        measured = coefficients.domain.of(quantity)
        if measured is None or value is None:
            continue
        if not measured[0] * (1 - CLOSE) <= value <= measured[1] * (1 + CLOSE):
            found[quantity] = (value, measured)
    return found


def binding(recipe: Part, problem: Problem, coefficients: CoefficientSet) -> list[str]:
    """The bounds that the recipe rests on, and the domain's edges if it was to stay inside."""
    limits = _limits(recipe, problem, coefficients)
    if problem.student is not None:
        limits.pop("student-size")
    found = [end for name, (value, span) in limits.items() for end in ends(name, value, span)]
    if problem.stay_in_domain:
        free = quantities(recipe, coefficients)
        if problem.student is not None:
            free.pop("student_parameters")
        if recipe["teacher"]["existing"]:
            for known in ("teacher_parameters", "teacher_tokens", "teacher_cross_entropy"):
                free.pop(known)
        for quantity, value in free.items():
            measured = coefficients.domain.of(quantity)
            if measured is not None and value is not None:
                found += [f"domain-{end}" for end in ends(_dashed(quantity), value, measured, EDGE)]
    return found


def _dashed(quantity: str) -> str:
    return quantity.replace("_", "-")


def ends(name: str, value: float, span: tuple[float, float], room: float = CLOSE) -> list[str]:
    """Names of the ends of a range that a value rests on."""
    low = [f"min-{name}"] if value <= span[0] * (1 + room) else []
    high = [f"max-{name}"] if value >= span[1] * (1 - room) else []
    return low + high
