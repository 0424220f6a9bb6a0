"""A plan as the page shows it: every cell in the words and digits of the command line's table."""

from __future__ import annotations

from typing import Any

from coefficients import CoefficientSet
from planner import units
from planner.accelerators import parse_hardware
from planner.questions.plan import sheet as shown
from planner.questions.plan.answer import Plan
from planner.recipe import quantities
from planner.reports import words
from planner.results import Model


def display(plan: Plan, coefficients: CoefficientSet, budget: Any = None) -> dict[str, Any]:
    """Title, cells and sentences, all text; the page arranges and never formats a recipe.

    `outside` says whether the recipe and the supervised baseline leave what was measured.

    `budget` is what was asked in people's words: one written as hardware says what it assumes.
    """
    hardware = parse_hardware(budget) if isinstance(budget, str) else None
    recipe, baseline = plan.recipe, plan.supervised
    models = plan.decisive.models
    student = plan.problem.student
    flops = plan.recommendation.flops
    spent = flops.total / plan.problem.budget
    return {
        "title": shown.title(plan),
        "verdict": plan.verdict.text,
        "model_names": list(shown.model_names(plan)),
        "model_rows": [
            {"label": label, "cells": cells} for label, cells in words.model_rows(models)
        ],
        "flops_rows": [
            {"label": label, "flops": cell, "share": units.format_share(share), "fraction": share}
            for label, cell, share in words.flops_rows(flops)
        ],
        "flops_total": {
            "flops": units.format_flops(flops.total),
            "share": f"{units.format_share(spent)} of the budget",
        },
        "scenarios": [
            {
                "name": each.name + words.OUTSIDE * each.outside_domain,
                "chosen": each.chosen,
                "student": words.on_tokens(each.recipe.student) if each.recipe else "none feasible",
                "teacher": words.on_tokens(each.recipe.teacher) if each.recipe else words.NOTHING,
                "cross_entropy": words.NOTHING
                if each.cross_entropy is None
                else units.format_loss(each.cross_entropy),
                "difference": words.signed(each.difference),
            }
            for each in plan.scenarios
        ],
        "trust": shown.confidence(plan),
        "certificate": words.certificate(plan.certificate),
        "warnings_title": words.warnings_title(plan.warnings) if plan.warnings else "",
        "warnings": [warning.text for warning in plan.warnings],
        "in_domain": shown.in_domain(plan.in_domain, plan) if plan.in_domain else "",
        "remarks": [
            line
            for line in (
                words.binding(recipe),
                shown.baseline_binding(plan),
                *recipe.notes,
                words.unknown_cost(recipe.flops),
                shown.considered(plan),
                shown.counting(plan),
            )
            if line
        ],
        "outside": {
            "recipe": not coefficients.domain.covers(quantities(recipe, coefficients)),
            "supervised": not _measured(baseline.model, coefficients),
        },
        "understood": {
            "budget": f"{units.format_flops(plan.problem.budget)} FLOPs, "
            f"{units.format_ratio(plan.problem.budget / PETAFLOP_DAY)} PFLOP-days"
            + (f": {hardware}" if hardware else ""),
            "student": "size planned too"
            if student is None
            else f"{units.format_count(student)} non-embedding parameters",
        },
    }


def _measured(model: Model, coefficients: CoefficientSet) -> bool:
    """Whether a supervised model lies inside the measured sizes and tokens."""
    alone = {"supervised_parameters": model.parameters, "supervised_tokens": model.tokens}
    return bool(coefficients.domain.covers(alone))


PETAFLOP_DAY = 1e15 * 86400.0
"""FLOPs of one petaFLOP/s for a day."""
