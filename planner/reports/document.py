"""A Plan as the versioned document of `--format json`: dicts, lists, numbers, strings and None.

The keys are described in planner/schema/plan.schema.json and docs/json.md. Within one
SCHEMA_VERSION keys are only ever added. Numbers are plain: FLOPs, tokens, parameters, nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from laws import Architecture
from planner.plan import (
    Baseline,
    Certificate,
    Flops,
    InDomain,
    Model,
    Plan,
    Recipe,
    Robust,
    ScenarioResult,
    SecondOpinion,
)
from planner.problem import VARIABLES, Problem

SCHEMA_VERSION = 1

Document = dict[str, Any]


def to_document(plan: Plan) -> Document:
    """The whole plan. Numbers that are not finite become None, as JSON has no word for them."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "kind": "plan",
        "verdict": asdict(plan.verdict),
        "scenario": plan.problem.scenario,
        "recipe": recipe(plan.recipe),
        "certificate": certificate(plan.certificate),
        "supervised": supervised(plan.supervised),
        "scenarios": [scenario(each, plan) for each in all_scenarios(plan)],
        "warnings": [asdict(warning) for warning in plan.warnings],
        "in_domain": in_domain(plan.in_domain),
        "uncertainty": _asdict(plan.uncertainty),
        "second_opinion": second_opinion(plan.second_opinion),
        "robust": robust(plan.robust),
        "sensitivity": [asdict(pull) for pull in plan.sensitivity],
        "considered": [{"teacher": name, "cross_entropy": loss} for name, loss in plan.considered],
        "problem": problem(plan.problem),
        "coefficients": asdict(plan.coefficients),
        "extras": dict(plan.extras),
    }
    finished: Document = plain(document)
    return finished


def all_scenarios(plan: Plan) -> tuple[ScenarioResult, ...]:
    """Every scenario in the plan's order, with the chosen one among them."""
    if any(is_chosen(each, plan) for each in plan.scenarios):
        return plan.scenarios
    chosen = ScenarioResult(
        plan.problem.scenario,
        plan.problem.charge_inference,
        plan.problem.charge_pretraining,
        plan.recipe,
        plan.certificate,
        plan.cross_entropy - plan.supervised.model.cross_entropy,
    )
    return (*plan.scenarios, chosen)


def is_chosen(result: ScenarioResult, plan: Plan) -> bool:
    """Whether this is the scenario that was asked for."""
    charges = (plan.problem.charge_inference, plan.problem.charge_pretraining)
    return (result.charge_inference, result.charge_pretraining) == charges


def problem(asked: Problem) -> Document:
    """The question as Problem.from_mapping reads it back, every bound spelled out."""
    return {
        "budget": asked.budget,
        "student": asked.student,
        "charge_inference": asked.charge_inference,
        "charge_pretraining": asked.charge_pretraining,
        "teachers": [asdict(teacher) for teacher in asked.teachers],
        **{
            f"{end}_{variable}": getattr(asked.bounds, variable)[index]
            for variable in VARIABLES
            for index, end in enumerate(("min", "max"))
        },
        "serving_tokens": asked.serving_tokens,
        "tolerance": asked.tolerance,
        "coefficients": asked.coefficients,
        "stay_in_domain": asked.stay_in_domain,
        "round_to_architecture": asked.round_to_architecture,
    }


def recipe(found: Recipe) -> Document:
    """Student, teacher, their FLOPs, and what to know about the choice."""
    return {
        "student": model(found.student),
        "teacher": {
            **model(found.teacher),
            "existing": found.teacher.existing,
            "name": found.teacher.name,
        },
        "flops": flops(found.flops),
        "notes": list(found.notes),
        "binding": list(found.binding),
    }


def model(found: Model) -> Document:
    """What a student, a teacher and a baseline have in common."""
    return {
        "parameters": found.parameters,
        "tokens": found.tokens,
        "tokens_per_parameter": found.tokens_per_parameter,
        "cross_entropy": found.cross_entropy,
        "architecture": architecture(found.architecture),
    }


def architecture(shape: Architecture | None) -> Document | None:
    """A buildable shape with its exact parameter count."""
    return None if shape is None else asdict(shape)


def flops(counted: Flops) -> Document:
    """Each term, their total and shares, and what the budget does not pay."""
    return {
        **{term: getattr(counted, term) for term in counted.TERMS},
        "total": counted.total,
        "uncharged": counted.uncharged,
        "shares": counted.shares(),
    }


def certificate(proof: Certificate | None) -> Document | None:
    """The bound, how far the recipe is from it, and whether that is within the tolerance."""
    return None if proof is None else {**asdict(proof), "proven": proof.proven}


def supervised(baseline: Baseline) -> Document:
    """Training the student on data alone with the same budget."""
    return {
        **model(baseline.model),
        "flops": flops(baseline.flops),
        "binding": list(baseline.binding),
    }


def scenario(result: ScenarioResult, plan: Plan) -> Document:
    """One scenario's optimum; recipe and certificate are None where nothing is feasible."""
    return {
        "name": result.name,
        "chosen": is_chosen(result, plan),
        "feasible": result.recipe is not None,
        "charge_inference": result.charge_inference,
        "charge_pretraining": result.charge_pretraining,
        "cross_entropy": result.recipe.student.cross_entropy if result.recipe else None,
        "difference": result.difference,
        "recipe": recipe(result.recipe) if result.recipe else None,
        "certificate": certificate(result.certificate),
        "outside_domain": result.outside_domain,
    }


def in_domain(inside: InDomain | None) -> Document | None:
    """The best recipe inside the domain; None where the recipe itself is inside."""
    if inside is None:
        return None
    return {
        "recipe": recipe(inside.recipe) if inside.recipe else None,
        "certificate": certificate(inside.certificate),
        "reason": inside.reason,
    }


def second_opinion(opinion: SecondOpinion | None) -> Document | None:
    """Another set's view of the recipe and its own optimum; None if no set was asked."""
    if opinion is None:
        return None
    return {
        "source": opinion.source,
        "cross_entropy": opinion.cross_entropy,
        "interval": _asdict(opinion.interval),
        "supervised": opinion.supervised,
        "optimum": recipe(opinion.optimum) if opinion.optimum else None,
        "regret": opinion.regret,
        "disagrees": opinion.disagrees,
    }


def robust(found: Robust | None) -> Document | None:
    """The robust recipe and the risk table: losses[i] and regrets[i] belong to recipes[i]."""
    if found is None:
        return None
    return {
        "criterion": found.criterion,
        "recipe": recipe(found.recipe),
        "value": found.value,
        "lower_bound": found.lower_bound,
        "recipes": [{"name": name, "recipe": recipe(each)} for name, each in found.recipes],
        "views": [
            {"name": v.name, "best": v.best, "losses": v.loss, "regrets": v.regret}
            for v in found.views
        ],
    }


def _asdict(value: Any) -> Document | None:
    return None if value is None else asdict(value)


def plain(value: Any) -> Any:
    """Lists for tuples, Python numbers for numpy's, None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):  # a numpy scalar or array
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
