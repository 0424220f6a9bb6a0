"""A law of another form: a student trained on its teacher and on the data at once.

What a new law takes: one class with its coefficients, its loss and an affine bound.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from laws import DistillationLaw
from laws._types import Array, Real
from laws.distillation import DistillationForm, Region, Support


@dataclass(frozen=True)
class MixedLaw(DistillationForm):
    """``L_S = mix Eq. 8 + (1 - mix) L(N_S, D_S)``: a mixed lambda, `mix` on the teacher."""

    A: Real
    B: Real
    alpha: Real
    beta: Real
    gamma: Real
    c0: Real
    c1: Real
    d1: Real
    f1: Real
    mix: Real

    COEFFICIENTS: ClassVar[tuple[str, ...]] = (*DistillationLaw.COEFFICIENTS, "mix")
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"c0"})

    def taught(self) -> DistillationLaw:
        """The part that the teacher has in it."""
        return DistillationLaw(*(getattr(self, field.name) for field in fields(DistillationLaw)))

    def loss_on_logs(self, log_parameters: Real, log_tokens: Real, log_teacher: Real) -> Array:
        """Student cross-entropy from logarithms."""
        alone = self.supervised
        data = alone.loss_of_reach(alone.log_reach(log_parameters, log_tokens))
        taught = self.taught().loss_on_logs(log_parameters, log_tokens, log_teacher)
        return np.asarray(self.mix * taught + (1 - self.mix) * data)

    def support(
        self, log_parameters: Real, log_tokens: Real, log_teacher: Real, region: Region | None
    ) -> Support:
        """The sum of two bounds: Eq. 8 states its own, and L(N, D) is convex in the logarithms."""
        a = self.taught().support(log_parameters, log_tokens, log_teacher, region)
        law = self.supervised
        log_p, log_q = law.log_terms(log_parameters, log_tokens)
        reach = np.logaddexp(log_p, log_q)
        data, rate = law.loss_of_reach(reach), law.gamma * np.exp(law.gamma * reach)
        size = -rate * law.alpha * np.exp(log_p - reach)
        tokens = -rate * law.beta * np.exp(log_q - reach)
        m, rest = self.mix, 1 - self.mix
        least = data
        if region is not None:
            away = size * (region.log_parameters - log_parameters)
            away = away + tokens * (region.log_tokens - log_tokens)
            least = data + np.min(away, axis=0)
        return Support(
            m * a.loss + rest * data, m * a.value + rest * data,
            m * a.by_size + rest * size, m * a.by_tokens + rest * tokens,
            m * a.by_teacher, m * a.least + rest * least,
        )  # fmt: skip
