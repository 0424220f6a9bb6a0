"""What a problem allows and what a plan in it costs and reaches: Eq. 1, 8 and 9, nothing else.

The checks and their proofs stand on this module and on `laws`; it shares nothing with the
optimiser. Coefficients may be arrays of shape (draws, 1), points then have shape (draws, points).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet
from laws import DistillationForm
from planner.problem import Problem, Range, Teacher
from planner.rows import require_distillation, teacher_loss

Array = NDArray[np.float64]

SLIVER = 1e-12
"""Relative room for rounding at the edge of the allowed."""


@dataclass(frozen=True)
class Region:
    """Ranges of a plan's quantities under one teacher (None: a teacher to be planned).

    sizes: if given, the only teacher sizes allowed (buildable ones), ascending.
    """

    problem: Problem
    coefficients: CoefficientSet
    teacher: Teacher | None
    student_size: Range
    student_tokens: Range
    teacher_size: Range
    teacher_tokens: Range
    ratio: Range
    teacher_loss: Range
    to_supervised: Range
    sizes: tuple[float, ...] = ()

    @property
    def law(self) -> DistillationForm:
        """The distillation law."""
        return require_distillation(self.coefficients)

    @property
    def empty(self) -> bool:
        """Whether the ranges exclude each other."""
        ranges = [self.student_size, self.student_tokens, self.ratio, self.teacher_loss]
        if self.teacher is None:
            ranges += [self.teacher_size, self.teacher_tokens]
        return any(low > high for low, high in ranges)

    def teacher_cross_entropy(self, size: Array, tokens: Array) -> Array:
        """L_T of planned teachers (Eq. 1); the existing teacher's own where there is one."""
        if self.teacher is not None:
            own = np.asarray(teacher_loss(self.teacher, self.coefficients), dtype=float)
            return np.broadcast_to(own, np.broadcast_shapes(own.shape, np.shape(size))).copy()
        return self.coefficients.supervised.loss(size, tokens)

    def affordable(self, student: Array, size: Array, tokens: Array) -> Array:
        """Student tokens that the budget leaves: Eq. 9, with serving, solved for D_S."""
        flops, problem = self.coefficients.flops, self.problem
        learning = flops.per_token(student)
        if self.teacher is None:
            teaching = flops.per_token(size)
            training = problem.charge_pretraining * 3.0 * teaching * tokens
        else:
            known = self.teacher.size
            teaching = np.zeros_like(size) if known is None else flops.per_token(known)
            training = np.zeros_like(size)
        rest = problem.budget - training - learning * problem.serving_tokens
        return np.asarray(rest / (3.0 * learning + problem.charge_inference * teaching))

    def fitted(self, u: Array, n: Array, d: Array) -> Array:
        """d, lowered to what the budget leaves beside the fewest student tokens (logarithms)."""
        share = self.problem.charge_pretraining
        if self.teacher is not None or share == 0:
            return d
        flops, student = self.coefficients.flops, np.exp(u)
        learning, teaching = flops.per_token(student), flops.per_token(np.exp(n))
        per_token = 3.0 * learning + self.problem.charge_inference * teaching
        rest = self.problem.budget * (1 - SLIVER) - learning * self.problem.serving_tokens
        rest = rest - per_token * self.least(student)
        with np.errstate(invalid="ignore", divide="ignore"):
            most = np.log(rest / (3.0 * share * teaching))
        return np.where(most >= np.log(self.teacher_tokens[0]), np.minimum(d, most), d)

    def tokens(self, student: Array, size: Array, tokens: Array) -> Array:
        """The most student tokens that budget, bounds and domain allow; below the least: none."""
        most = np.minimum(self.affordable(student, size, tokens), self.student_tokens[1])
        most = np.minimum(most, self.ratio[1] * student)
        return np.minimum(most, self.cap(student, self.teacher_cross_entropy(size, tokens)))

    def cap(self, student: Array, loss: Array) -> Array:
        """Tokens beyond which the teacher is too weak for what the student reaches on data."""
        if not np.isfinite(self.to_supervised[1]):
            return np.full(np.broadcast_shapes(np.shape(student), np.shape(loss)), np.inf)
        return self.coefficients.supervised.tokens_for_loss(student, loss / self.to_supervised[1])

    def least(self, student: Array) -> Array:
        """The fewest student tokens allowed."""
        return np.maximum(self.student_tokens[0], self.ratio[0] * student)

    def loss(self, student: Array, size: Array, tokens: Array) -> Array:
        """The best loss of a student under such a teacher; inf where there is no plan."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            reached, least = self.tokens(student, size, tokens), self.least(student)
            teacher = self.teacher_cross_entropy(size, tokens)
            paid = np.maximum(reached, least)
            supervised = self.coefficients.supervised.loss(student, paid)
            ok = reached >= least * (1 - SLIVER)
            ok = ok & _in(teacher, self.teacher_loss)
            ok = ok & _in(teacher / supervised, self.to_supervised)
            return np.where(ok, self.law.loss(student, paid, teacher), np.inf)


def regions(problem: Problem, coefficients: CoefficientSet) -> list[Region]:
    """One region for a planned teacher, or one per existing teacher that the problem allows."""
    anywhere = (0.0, float("inf"))

    def measured(name: str) -> Range:
        return (coefficients.domain.of(name) or anywhere) if problem.stay_in_domain else anywhere

    bounds = problem.bounds
    made = [
        Region(
            problem,
            coefficients,
            teacher,
            _both(problem.size_range, measured("student_parameters")),
            _both(bounds.student_tokens, measured("student_tokens")),
            _both(bounds.teacher_size, measured("teacher_parameters")),
            _both(bounds.teacher_tokens, measured("teacher_tokens")),
            measured("student_tokens_per_parameter"),
            measured("teacher_cross_entropy"),
            measured("teacher_to_supervised"),
        )
        for teacher in (problem.teachers or (None,))
    ]
    return [each for each in made if not each.empty and _exists_inside(each, measured)]


def _exists_inside(region: Region, measured: object) -> bool:
    """Whether an existing teacher is one of the domain."""
    teacher = region.teacher
    if teacher is None:
        return True
    assert callable(measured)
    known = ((teacher.size, "teacher_parameters"), (teacher.tokens, "teacher_tokens"))
    return all(
        value is None or bool(_in(np.asarray(value), measured(name))) for value, name in known
    )


def _in(value: Array, ends: Range) -> NDArray[np.bool_]:
    low, high = ends[0] * (1 - SLIVER), ends[1] * (1 + SLIVER)
    return np.asarray((value >= low) & (value <= high))


def _both(wanted: Range, measured: Range) -> Range:
    return max(wanted[0], measured[0]), min(wanted[1], measured[1])
