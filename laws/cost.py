"""What a distillation costs (Busbridge et al. 2025, Eq. 9), and what a budget leaves of it.

    FLOPs = 3 F(N_S) D_S + F(N_S) T + di F(N_T) D_S + dp 3 F(N_T) D_T

N_S, D_S are the student's size and tokens, N_T, D_T the teacher's, T the tokens that the student
will serve (an addition to the paper's equation), di and dp the charged shares of the teacher's
inference and pretraining. Everything broadcasts over arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laws._types import Array, Real
from laws.flops import TRAINING, ForwardFlops


@dataclass(frozen=True)
class Terms:
    """The terms of Eq. 9 in FLOPs, numbers or arrays of one shape."""

    student_training: Real
    teacher_inference: Real
    teacher_pretraining: Real
    serving: Real


@dataclass(frozen=True)
class Cost:
    """Eq. 9 for models of given sizes, as a function of their tokens.

    student, teacher: forward FLOPs per token, F(N). charge_inference, charge_pretraining: shares
    from 0 to 1. serving_tokens: tokens that the student will serve. Without a teacher, or with no
    share charged, this is the cost of supervised training.
    """

    student: Real
    teacher: Real = 0.0
    charge_inference: Real = 0.0
    charge_pretraining: Real = 0.0
    serving_tokens: Real = 0.0

    @classmethod
    def of(
        cls,
        flops: ForwardFlops,
        student: Real,
        teacher: Real | None = None,
        charge_inference: Real = 0.0,
        charge_pretraining: Real = 0.0,
        serving_tokens: Real = 0.0,
    ) -> Cost:
        """From sizes in non-embedding parameters; a teacher of None costs nothing."""
        return cls(
            flops.per_token(student),
            0.0 if teacher is None else flops.per_token(teacher),
            charge_inference,
            charge_pretraining,
            serving_tokens,
        )

    @property
    def per_token(self) -> Real:
        """FLOPs that each student token is charged with: its training and the teacher's logits."""
        return TRAINING * self.student + self.charge_inference * self.teacher

    @property
    def serving(self) -> Real:
        """FLOPs of the tokens served."""
        return self.student * self.serving_tokens

    def pretraining(self, teacher_tokens: Real) -> Real:
        """Charged FLOPs of the teacher's own training."""
        return TRAINING * self.charge_pretraining * self.teacher * teacher_tokens

    def terms(self, student_tokens: Real, teacher_tokens: Real = 0.0) -> Terms:
        """Charged FLOPs term by term."""
        return Terms(
            TRAINING * self.student * student_tokens,
            self.charge_inference * self.teacher * student_tokens,
            self.pretraining(teacher_tokens),
            self.serving,
        )

    def total(self, student_tokens: Real, teacher_tokens: Real = 0.0) -> Real:
        """Charged FLOPs: the budget that these tokens need."""
        return self.per_token * student_tokens + self.serving + self.pretraining(teacher_tokens)

    def uncharged(self, student_tokens: Real, teacher_tokens: Real = 0.0) -> Real:
        """FLOPs of the teacher that somebody else pays."""
        return (1.0 - self.charge_inference) * self.teacher * student_tokens + (
            1.0 - self.charge_pretraining
        ) * (TRAINING * self.teacher * teacher_tokens)

    def student_tokens(self, budget: Real, teacher_tokens: Real = 0.0) -> Real:
        """Student tokens that a budget leaves; zero or less where it leaves none."""
        return (budget - self.serving - self.pretraining(teacher_tokens)) / self.per_token

    def teacher_tokens(self, budget: Real, student_tokens: Real) -> Array:
        """Teacher tokens that a budget leaves; ``inf`` where its training is not charged.

        Zero or less where the student's own tokens leave nothing.
        """
        rest = np.asarray(budget - self.serving - self.per_token * student_tokens)
        each = np.asarray(self.pretraining(1.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(each > 0, rest / each, np.where(rest >= 0, np.inf, -np.inf))


def affordable_size(
    flops: ForwardFlops, budget: Real, student_tokens: Real, serving_tokens: Real = 0.0
) -> Array:
    """Largest student size N that a budget trains on so many tokens, and serves, by itself."""
    return flops.size(budget / (TRAINING * student_tokens + serving_tokens))
