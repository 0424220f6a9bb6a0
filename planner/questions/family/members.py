"""The students of a family, and the family as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coefficients import CoefficientSet
from planner import units
from planner.errors import ProblemError
from planner.optimise.batch import Array
from planner.problem import Problem, Teacher
from planner.questions.family.fleet import Fleet
from planner.recipe import existing_teacher, snap
from planner.results import AnyModel, Model
from planner.rows import to_batches

MOST_STUDENTS = 64


@dataclass(frozen=True)
class Member:
    """A student of the family: non-embedding parameters, its weight in the mean, or a target loss
    in nats per token, and how many equal students it stands for."""

    size: float
    weight: float = 1.0
    target: float | None = None
    copies: int = 1

    def __post_init__(self) -> None:
        units.check_positive(self.size, "student size")
        units.check_positive(self.weight, "student weight")
        if self.target is not None:
            units.check_positive(self.target, "target loss")
        if self.copies < 1:
            raise ProblemError(f"a student has {self.copies} copies; give at least one.")

    @classmethod
    def read(cls, given: Any, name: str = "student") -> Member:
        """``1B``, ``1Bx8`` for eight equal students, or size, weight, target and copies."""
        if isinstance(given, Member):
            return given
        if not isinstance(given, Mapping):
            size, cross, copies = str(given).lower().partition("x")
            if cross and not (copies.isascii() and copies.isdigit() and len(copies) < 6):
                raise ProblemError(f"student '{given}' has no count after the x; write 1Bx8.")
            return cls(
                units.parse_count(size.strip(), "student size"), copies=int(copies) if cross else 1
            )
        for key in given:
            if key not in ("size", "weight", "target", "copies"):
                raise ProblemError(
                    f"unknown student key '{key}'; known: size, weight, target, copies."
                )
        copies, target = given.get("copies", 1), given.get("target")
        if isinstance(copies, bool) or not isinstance(copies, int):
            raise ProblemError(f"copies are {copies!r}; give a whole number.")
        return cls(
            units.parse_count(given.get("size", ""), "student size"),
            units.parse_plain(given.get("weight", 1.0), "student weight"),
            None if target is None else units.parse_plain(target, "target loss"),
            copies,
        )


def fleet_of(
    problem: Problem,
    members: Sequence[Member],
    copies: Array,
    budgets: Array,
    cached: bool,
    coefficients: CoefficientSet,
) -> Fleet:
    """The arrays of a family: copies (P, K) and budgets (P,) of the problems."""
    sizes = np.array([member.size for member in members])
    row, _ = to_batches([replace(problem, student=float(sizes[0]))], coefficients)
    weight = copies * np.array([member.weight for member in members])
    weight = weight / weight.sum(axis=1, keepdims=True)
    return Fleet(row, np.log(sizes), weight, copies, budgets, cached)


def check(problem: Problem, members: Sequence[Member]) -> None:
    """ProblemError for a family that makes no sense or asks for what families cannot do."""
    if not members:
        raise ProblemError("a family needs students; give --student 300M,1B,3B.")
    if len(members) > MOST_STUDENTS:
        raise ProblemError(f"a family has at most {MOST_STUDENTS} different students.")
    if problem.serving_tokens:
        raise ProblemError("a family cannot charge serving tokens; leave --serving-tokens out.")
    if problem.round_to_architecture:
        raise ProblemError("a family plans sizes as given; leave --round-to-architecture out.")
    targets = sum(member.target is not None for member in members)
    if targets not in (0, len(members)):
        raise ProblemError("give every student a target loss, or none: a mixture has no one goal.")
    for member in members:
        low, high = problem.bounds.student_size
        if not low <= member.size <= high:
            raise ProblemError(
                f"a student of {units.format_count(member.size)} parameters is outside the allowed "
                f"{units.format_count(low)} to {units.format_count(high)}."
            )


def planned_teacher(problem: Problem, n: float, d: float, chosen: CoefficientSet) -> AnyModel:
    """The existing teacher of the problem, or the planned one of these logarithms."""
    if problem.teachers:
        named: Teacher = problem.teachers[0]
        return existing_teacher(named, chosen)
    size = snap(math.exp(n), problem.bounds.teacher_size)
    tokens = snap(math.exp(d), problem.bounds.teacher_tokens)
    loss = float(chosen.supervised.loss(size, tokens))
    return Model(size, tokens, loss, chosen.architectures.nearest(size))
