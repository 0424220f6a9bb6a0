"""What a trial takes from a recipe: its question, and the teachers that exist already.

A teacher of the recipe's size cannot teach a student of the trial's. The trial trains a stand-in:
as much larger than the student, on as many tokens per parameter, as far as text and FLOPs reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from coefficients import CoefficientSet
from planner.problem import Problem, Teacher
from planner.validate.design import Design, Given

ASSUMED_RATIO = 20.0
"""Tokens per parameter of a teacher that is known by its cross-entropy alone."""


@dataclass(frozen=True)
class Question:
    """What a trial takes from a recipe: sizes relative to one another, and who pays for what.

    student: non-embedding parameters. ratio: tokens per parameter of the supervised baseline.
    chosen: size and tokens of the recipe's teacher (None: unknown).
    """

    problem: Problem
    student: float
    ratio: float
    chosen: tuple[float | None, float | None] = (None, None)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Question:
        """From a recipe document."""
        recipe = document["recipe"]
        student, teacher = recipe["student"], recipe["teacher"]
        ratio = float(document["supervised"]["tokens_per_parameter"] or 20.0)
        problem = Problem.from_mapping(document["problem"])
        chosen = (teacher.get("parameters"), teacher.get("tokens"))
        return cls(problem, float(student["parameters"]), ratio, chosen)

    @property
    def charge_pretraining(self) -> float:
        """The share of a teacher's training that is charged: none where it exists."""
        return 0.0 if self.problem.teachers else self.problem.charge_pretraining


def given(design: Design, question: Question, base: CoefficientSet) -> tuple[Given, ...]:
    """The recipe's own teachers at the trial's scale, the chosen one first, none twice."""
    teachers = sorted(question.problem.teachers, key=lambda one: _differs(one, question.chosen))
    teachers = teachers[: 1 + design.neighbours]
    # what each may cost depends on how many there are
    design = replace(design, teachers=tuple(Given(1, 1, str(each)) for each in teachers))
    found: dict[tuple[int, int], Given] = {}
    for each in teachers:
        size, tokens = _sizes(each, base)
        layers, count = _scaled(design, size / question.student, tokens / size)
        before = found.get((layers, count))
        text = f"{before.text} and {each}" if before else str(each)
        found[layers, count] = Given(layers, count, text)
    return tuple(found.values())


def _differs(teacher: Teacher, chosen: tuple[float | None, float | None]) -> bool:
    """Whether the recipe chose another one."""
    return any(
        mine is not None and theirs is not None and abs(mine / theirs - 1) > 1e-6
        for mine, theirs in zip((teacher.size, teacher.tokens), chosen, strict=True)
    )


def _sizes(teacher: Teacher, base: CoefficientSet) -> tuple[float, float]:
    """Size and tokens of a teacher; what is unknown is what the law makes of its cross-entropy."""
    law, size, tokens = base.supervised, teacher.size, teacher.tokens
    if size is None:
        assert teacher.loss is not None
        low, high = 1e3, 1e15
        while high / low > 1.001:
            middle = (low * high) ** 0.5
            worse = float(law.loss(middle, ASSUMED_RATIO * middle)) > teacher.loss
            low, high = (middle, high) if worse else (low, middle)
        size = low
    if tokens is None:
        assert teacher.loss is not None
        tokens = float(law.tokens_for_loss(size, teacher.loss))
    return size, tokens


def _scaled(design: Design, times: float, ratio: float) -> tuple[int, int]:
    """Layers and tokens of a teacher so many times the student, of so many tokens per parameter.

    Corpus and allowance may leave it fewer tokens; it is made smaller before it has fewer than
    the student's own baseline.
    """
    family = design.shapes.family
    layers = family.nearest(times * design.parameters(design.layers)).layers

    def tokens(layers: int) -> float:
        asked = ratio * design.parameters(layers)
        return min(asked, design.most, design.teacher_flops / (3.0 * design.forward(layers)))

    def poor(layers: int) -> bool:
        asked = min(ratio * design.parameters(layers), design.most)
        return tokens(layers) < min(asked, design.baseline())

    while layers > design.layers and poor(layers):
        layers -= 1
    return layers, design.whole(tokens(layers))
