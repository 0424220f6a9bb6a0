"""The user's constraints as rules of the optimiser, and what a recipe makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from coefficients import CoefficientSet
from planner.errors import ProblemError
from planner.posynomial import NAMES, Posynomial
from planner.problem import Problem, Teacher
from planner.results import Recipe
from planner.rows import teacher_flops

if TYPE_CHECKING:
    from planner.optimise.constrained import Rule

EDGE = 1e-6
"""A constraint with less to spare, as a share of its limit, is one that the plan rests on."""

TRAINING = 3.0
"""Forward FLOPs that training on a token costs (Eq. 9)."""


def rules_of(problem: Problem, coefficients: CoefficientSet) -> list[list[Rule]]:
    """The constraints of every row of a problem.

    What an existing teacher is takes the place of its size, tokens and FLOPs.
    """
    parsed = [Posynomial.parse(text) for text in problem.constraints]
    teachers: Sequence[Teacher | None] = problem.teachers or (None,)
    return [
        [
            [_term(factor / each.limit, powers, teacher, coefficients, each)
             for factor, powers in each.terms]
            for each in parsed
        ]
        for teacher in teachers
    ]  # fmt: skip


def student_rules(problem: Problem, coefficients: CoefficientSet) -> list[Rule]:
    """The constraints that mention the student alone: those that supervised training obeys."""
    own = tuple(
        text
        for text in problem.constraints
        if all(name.startswith("student") for name in Posynomial.parse(text).variables)
    )
    return rules_of(replace(problem, teachers=(), constraints=own), coefficients)[0]


def _term(
    factor: float,
    powers: Mapping[str, float],
    teacher: Teacher | None,
    coefficients: CoefficientSet,
    whole: Posynomial,
) -> tuple[float, list[float]]:
    """A term's logarithm and exponents; those of an existing teacher go into the logarithm."""
    log_factor, exponents = math.log(factor), {**dict.fromkeys(NAMES, 0.0), **powers}
    if teacher is None:
        return log_factor, list(exponents.values())
    size, tokens = teacher.size, teacher.tokens
    flops = teacher_flops(teacher, coefficients) or None
    known = {
        "teacher_size": size,
        "teacher_tokens": tokens,
        "teacher_flops": None if flops is None or tokens is None else TRAINING * flops * tokens,
        "inference_flops": flops,
    }
    for name, value in known.items():
        power = exponents[name]
        if not power:
            continue
        if value is None:
            raise ProblemError(
                f"constraint '{whole}' asks for {name} of the existing teacher '{teacher}', which "
                "is not known; give its size and tokens."
            )
        log_factor += power * math.log(value)
        exponents[name] = 0.0
        if name == "inference_flops":
            exponents["student_tokens"] += power
    return log_factor, list(exponents.values())


def values_of(recipe: Recipe, coefficients: CoefficientSet) -> dict[str, float]:
    """What constraints may mention, as a recipe has it; without what is not known of a teacher."""
    student, teacher = recipe.student, recipe.teacher
    return values(
        coefficients, student.parameters, student.tokens, teacher.parameters, teacher.tokens,
        getattr(teacher, "forward_flops", None),
    )  # fmt: skip


def values(
    coefficients: CoefficientSet,
    student_size: float,
    student_tokens: float,
    teacher_size: float | None = None,
    teacher_tokens: float | None = None,
    forward_flops: float | None = None,
) -> dict[str, float]:
    """The same from sizes and tokens; forward_flops: per token of the teacher, if not F(N_T)."""
    per_token = coefficients.flops.per_token
    found = {
        "student_size": student_size,
        "student_tokens": student_tokens,
        "student_flops": TRAINING * float(per_token(student_size)) * student_tokens,
    }
    if forward_flops is None and teacher_size is not None:
        forward_flops = float(per_token(teacher_size))
    if teacher_size is not None:
        found["teacher_size"] = teacher_size
    if teacher_tokens is not None:
        found["teacher_tokens"] = teacher_tokens
    if forward_flops is not None:
        found["inference_flops"] = forward_flops * student_tokens
        if teacher_tokens is not None:
            found["teacher_flops"] = TRAINING * forward_flops * teacher_tokens
    return found


def resting_on(recipe: Recipe, problem: Problem, coefficients: CoefficientSet) -> tuple[str, ...]:
    """The constraints that a recipe satisfies with nothing to spare."""
    known = values_of(recipe, coefficients)
    parsed = [Posynomial.parse(text) for text in problem.constraints]
    return tuple(
        str(each)
        for each in parsed
        if each.variables <= set(known) and each.value(known) >= each.limit * (1 - EDGE)
    )
