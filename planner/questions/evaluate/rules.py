"""Rules of thumb that people plan distillation by, as recipes of the same cost.

A rule is one function from a `Setting` to a teacher (and, if it says so, the student's tokens), and
one line in RULES. What the rule leaves open, the student's tokens, is what the budget still pays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from coefficients import CoefficientSet
from laws import Cost
from planner.problem import Problem
from planner.recipe import cost_of
from planner.results import Recipe

CHINCHILLA = 20.0
"""Tokens per parameter (Hoffmann et al. 2022)."""

CAPACITY_GAP = 2.5
"""Teacher over student parameters (Zhang et al. 2023, arXiv 2311.07052)."""


@dataclass(frozen=True)
class Setting:
    """What a rule may look at: the question (its budget is the recipe's cost) and the recipe."""

    problem: Problem
    recipe: Recipe
    coefficients: CoefficientSet

    @property
    def student(self) -> float:
        """The student's parameters."""
        return self.recipe.student.parameters

    def forward(self, parameters: float) -> float:
        """FLOPs per token of a forward pass."""
        return float(self.coefficients.flops.per_token(parameters))

    def affordable(self, teacher: float, teacher_tokens: float) -> float:
        """Student tokens that the budget still pays under that teacher; negative if it cannot."""
        cost = cost_of(self.problem, self.student, teacher, self.coefficients)
        return float(cost.student_tokens(self.problem.budget, teacher_tokens))

    def teacher_for(self, student_tokens: float) -> float | None:
        """The largest teacher at 20 tokens per parameter that leaves exactly these student tokens.

        None where the budget does not pay for the student alone, or does not feel the teacher.
        """
        low, high = 0.0, math.log(1e17)
        if self.affordable(1.0, CHINCHILLA) < student_tokens:
            return None
        if self.affordable(math.exp(high), CHINCHILLA * math.exp(high)) >= student_tokens:
            return None
        for _ in range(80):
            middle = 0.5 * (low + high)
            size = math.exp(middle)
            enough = self.affordable(size, CHINCHILLA * size) >= student_tokens
            low, high = (middle, high) if enough else (low, middle)
        return math.exp(low)


@dataclass(frozen=True)
class Choice:
    """What a rule picks; student tokens None for all that the budget pays."""

    teacher_size: float
    teacher_tokens: float
    student_tokens: float | None = None


@dataclass(frozen=True)
class Rule:
    """A name, one sentence, and the function; None means the rule picks nothing affordable here."""

    name: str
    summary: str
    choose: Callable[[Setting], Choice | None]


def chinchilla_teacher(setting: Setting) -> Choice | None:
    """The recipe's own teacher compute, spent at 20 tokens per parameter."""
    teacher = setting.recipe.teacher
    if teacher.parameters is None or teacher.tokens is None:
        return None
    spent = setting.forward(teacher.parameters) * teacher.tokens
    low, high = 0.0, math.log(1e17)
    for _ in range(80):
        middle = 0.5 * (low + high)
        size = math.exp(middle)
        less = setting.forward(size) * CHINCHILLA * size < spent
        low, high = (middle, high) if less else (low, middle)
    size = math.exp(low)
    return Choice(size, CHINCHILLA * size)


def capacity_gap_law(setting: Setting) -> Choice | None:
    """A teacher 2.5 times the student, at 20 tokens per parameter."""
    size = CAPACITY_GAP * setting.student
    return Choice(size, CHINCHILLA * size)


def chinchilla_student(setting: Setting) -> Choice | None:
    """20 tokens per parameter for the student; the rest buys the teacher."""
    tokens = CHINCHILLA * setting.student
    return _rest_to_teacher(setting, tokens)


def half_and_half(setting: Setting) -> Choice | None:
    """Half of the compute trains the student, the other half makes and runs the teacher."""
    alone = Cost.of(setting.coefficients.flops, setting.student)
    return _rest_to_teacher(setting, float(alone.student_tokens(0.5 * setting.problem.budget)))


def biggest_teacher(setting: Setting) -> Choice | None:
    """The largest teacher within what the law was measured on, at 20 tokens per parameter."""
    measured = setting.coefficients.domain.of("teacher_parameters")
    if measured is None:
        return None
    return Choice(measured[1], CHINCHILLA * measured[1])


def _rest_to_teacher(setting: Setting, student_tokens: float) -> Choice | None:
    size = setting.teacher_for(student_tokens)
    if size is not None:
        return Choice(size, CHINCHILLA * size, student_tokens)
    own = setting.recipe.teacher  # a free teacher takes no share: keep the recipe's own
    free = setting.problem.charge_inference == 0 and setting.problem.charge_pretraining == 0
    if not free or own.parameters is None or own.tokens is None:
        return None
    if student_tokens > setting.affordable(own.parameters, own.tokens):
        return None
    return Choice(own.parameters, own.tokens, student_tokens)


RULES: tuple[Rule, ...] = (
    Rule(
        "chinchilla-teacher",
        "your teacher's compute at 20 tokens per parameter",
        chinchilla_teacher,
    ),
    Rule("capacity-gap", "teacher 2.5× the student, 20 tokens per parameter", capacity_gap_law),
    Rule(
        "chinchilla-student",
        "student on 20 tokens per parameter, the rest for the teacher",
        chinchilla_student,
    ),
    Rule("half-half", "half the compute for the student, half for the teacher", half_and_half),
    Rule("biggest-teacher", "the largest teacher the law was measured on", biggest_teacher),
)
