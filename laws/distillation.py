"""Distillation scaling laws: a student's cross-entropy after learning from a teacher.

Every law extends [`DistillationForm`][laws.distillation.DistillationForm], which says what planning
asks of it; [`DistillationLaw`][laws.distillation.DistillationLaw] is Busbridge et al. 2025
(arXiv 2502.08606), Eq. 8, in the stable log form of Eq. 49. A new law is one class, and one line in
`laws.DISTILLATION_LAWS`.
Units: N_S non-embedding parameters, D_S tokens, cross-entropies in nats per token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from laws._batch import Batched
from laws._types import Array, Real, log_sum
from laws.supervised import SupervisedLaw


@dataclass(frozen=True)
class Region:
    """Students and teachers to bound a loss over, in logarithms; every array (..., regions).

    Students (log N_S, log D_S) lie in the convex hull of the corners, arrays (corners, regions);
    the teacher's log L_T lies between `weakest` and `strongest`, which hold its logarithms.
    """

    log_parameters: Array
    log_tokens: Array
    strongest: Array
    weakest: Array


@dataclass(frozen=True)
class Support:
    """The loss at a point, and an affine function of the logarithms that is below it on a region.

    Everywhere on the region, with differences from the point: ``L_S >= value + by_size dlogN_S +
    by_tokens dlogD_S + by_teacher dlogL_T``, and ``L_S >= least``. Nats per token; by_tokens is not
    positive, since every law falls in the student's tokens.
    """

    loss: Array
    value: Array
    by_size: Array
    by_tokens: Array
    by_teacher: Array
    least: Array


@dataclass(frozen=True)
class DistillationForm(Batched, ABC):
    """A law ``L_S(N_S, D_S, L_T)``: what planning asks of it.

    The loss must fall in the student's tokens and be defined for log D_S = inf. Coefficients are
    numbers or arrays of one length (a batch). `loss_on_logs` and `support` define a law; the rest
    follows from them.
    """

    supervised: SupervisedLaw

    COEFFICIENTS: ClassVar[tuple[str, ...]]
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset()
    """Coefficients that may be zero; the others are positive."""
    CITATION: ClassVar[str] = ""

    @abstractmethod
    def loss_on_logs(self, log_parameters: Real, log_tokens: Real, log_teacher: Real) -> Array:
        """Student cross-entropy from log N_S, log D_S and log L_T."""

    @abstractmethod
    def support(
        self, log_parameters: Real, log_tokens: Real, log_teacher: Real, region: Region | None
    ) -> Support:
        """The loss at a point, and an affine lower bound over a region, tight near the point.

        The proof of a plan's optimality rests on its validity, the speed of the proof on how fast
        its error shrinks with the region (squares are enough). Without a region: the tangent at the
        point, so the loss and its gradient.
        """

    def loss(self, parameters: Real, tokens: Real, teacher_loss: Real) -> Array:
        """Student cross-entropy in nats per token."""
        return self.loss_on_logs(np.log(parameters), np.log(tokens), np.log(teacher_loss))

    __call__ = loss

    def floor(self, parameters: Real, teacher_loss: Real) -> Array:
        """Limit of the student's loss for infinitely many distillation tokens and this teacher."""
        return self.loss_on_logs(np.log(parameters), np.inf, np.log(teacher_loss))

    def tokens_for_loss(self, parameters: Real, teacher_loss: Real, loss: Real) -> Array:
        """Distillation tokens at which the student reaches a loss; ``inf`` where none suffices.

        The student's loss falls monotonically in its tokens, so bisection on log D_S finds the
        crossing to the last bit; there is no closed form because D_S also moves Lsup.
        """
        return _bisect_decreasing(
            lambda log_d: self.loss(parameters, np.exp(log_d), teacher_loss),
            target=loss,
            reachable=self.floor(parameters, teacher_loss) < loss,
        )

    def size_for_loss(self, tokens: Real, teacher_loss: Real, loss: Real) -> Array:
        """Student parameters that reach a loss on D_S tokens; ``inf`` where no size suffices."""
        huge = self.loss(np.exp(_LOG_LIMIT), tokens, teacher_loss)
        return _bisect_decreasing(
            lambda log_n: self.loss(np.exp(log_n), tokens, teacher_loss),
            target=loss,
            reachable=huge < loss,
        )

    def best_teacher_loss(self, parameters: Real, tokens: Real) -> Array:
        """The teacher cross-entropy L_T* that minimises the student's loss (the capacity gap).

        L_T ranges over (E, 2 * Lsup]; beyond twice the student's own supervised loss no teacher
        helps. A grid brackets the global minimum, since two valleys can exist; golden section
        refines it.
        """
        lo = np.log(np.maximum(self.supervised.E, 1e-3) * (1 + 1e-9))
        hi = np.log(2.0 * self.supervised.loss(parameters, tokens))
        step = (hi - lo) / (_GRID - 1)
        grid = lo + step * np.arange(_GRID).reshape((_GRID,) + (1,) * np.ndim(step))
        best = np.argmin(self.loss(parameters, tokens, np.exp(grid)), axis=0)
        centre = lo + step * best
        left, right = np.maximum(centre - step, lo), np.minimum(centre + step, hi)
        ratio = (np.sqrt(5.0) - 1.0) / 2.0
        for _ in range(60):
            inner_l, inner_r = right - ratio * (right - left), left + ratio * (right - left)
            go_left = self.loss(parameters, tokens, np.exp(inner_l)) < self.loss(
                parameters, tokens, np.exp(inner_r)
            )
            left, right = np.where(go_left, left, inner_l), np.where(go_left, inner_r, right)
        return np.asarray(np.exp(0.5 * (left + right)))


@dataclass(frozen=True)
class DistillationLaw(DistillationForm):
    """Student cross-entropy ``L_S(N_S, D_S, L_T)`` (Eq. 8).

    ``L_S = L_T + L_T^-c0 (1 + (L_T / (Lsup d1))^(1/f1))^(-c1 f1) h`` with
    ``h = (A / N_S^alpha + B / D_S^beta)^gamma`` and ``Lsup = L(N_S, D_S)`` from the supervised law
    of the same family. The teacher enters only through its own cross-entropy L_T. Both factors are
    positive, so within the law no student beats its teacher: measured weak-to-strong students do,
    by up to 0.024 nats.

    c1 and d1 are kept as logarithm-friendly numbers: for c1 -> inf the capacity-gap factor tends to
    an exponential, and only a combination of c1 and d1 is identified by data.
    """

    A: Real
    B: Real
    alpha: Real
    beta: Real
    gamma: Real
    c0: Real
    c1: Real
    d1: Real
    f1: Real

    COEFFICIENTS: ClassVar[tuple[str, ...]] = (
        "A", "B", "alpha", "beta", "gamma", "c0", "c1", "d1", "f1",
    )  # fmt: skip
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"c0"})
    CITATION: ClassVar[str] = "Busbridge et al. 2025, arXiv 2502.08606, Eq. 8"

    @cached_property
    def log_A(self) -> Array:
        """Logarithm of A, taken once."""
        return np.log(self.A)

    @cached_property
    def log_B(self) -> Array:
        """Logarithm of B, taken once."""
        return np.log(self.B)

    @cached_property
    def log_d1(self) -> Array:
        """Logarithm of d1, taken once."""
        return np.log(self.d1)

    def log_terms(self, log_parameters: Real, log_tokens: Real) -> tuple[Array, Array]:
        """Logarithms of ``A / N_S^alpha`` and ``B / D_S^beta``."""
        return (
            np.asarray(self.log_A - self.alpha * log_parameters),
            np.asarray(self.log_B - self.beta * log_tokens),
        )

    def log_capacity(self, log_parameters: Real, log_tokens: Real) -> Array:
        """``log((A / N_S^alpha + B / D_S^beta)^gamma)``, the student's own power law."""
        return np.asarray(self.gamma * np.logaddexp(*self.log_terms(log_parameters, log_tokens)))

    def log_gap_factor(self, log_teacher: Real, log_supervised: Real) -> Array:
        """``log(L_T^-c0 (1 + (L_T / (Lsup d1))^(1/f1))^(-c1 f1))``: the teacher's part."""
        ratio = (np.asarray(log_teacher) - log_supervised - self.log_d1) / self.f1
        return np.asarray(-self.c0 * log_teacher - self.c1 * self.f1 * np.logaddexp(0.0, ratio))

    def loss(self, parameters: Real, tokens: Real, teacher_loss: Real) -> Array:
        """Student cross-entropy in nats per token (Eq. 8 by Eq. 49)."""
        logs = np.log(parameters), np.log(tokens), np.log(teacher_loss)
        return np.asarray(teacher_loss + np.exp(self.log_excess(*logs)))

    __call__ = loss

    def log_excess(self, log_parameters: Real, log_tokens: Real, log_teacher: Real) -> Array:
        """``log(L_S - L_T)``."""
        supervised = self.supervised.loss_of_reach(
            self.supervised.log_reach(log_parameters, log_tokens)
        )
        return np.asarray(
            self.log_gap_factor(log_teacher, np.log(supervised))
            + self.log_capacity(log_parameters, log_tokens)
        )

    def loss_on_logs(self, log_parameters: Real, log_tokens: Real, log_teacher: Real) -> Array:
        """Student cross-entropy in nats per token (Eq. 8 by Eq. 49)."""
        excess = self.log_excess(log_parameters, log_tokens, log_teacher)
        return np.asarray(np.exp(log_teacher) + np.exp(excess))

    def support(
        self, log_parameters: Real, log_tokens: Real, log_teacher: Real, region: Region | None
    ) -> Support:
        """An affine bound from convexity; its error comes from one chord.

        log h and ``w = log Lsup`` are convex in (log N_S, log D_S). In log(L_S - L_T) only
        ``-c1 f1 log(1 + e^v)``, ``v = (log L_T - w - log d1) / f1``, is concave; over the range of
        v it lies above its chord of slope m, which is ``c1 m w`` plus affine terms, convex again.
        So L_T plus the exponential of a convex function is below L_S, and its tangent is.
        """
        supervised, log_t = self.supervised, np.asarray(log_teacher)
        share, power = log_sum(*supervised.log_terms(log_parameters, log_tokens))
        power = np.exp(supervised.gamma * power)
        alone = supervised.E + power
        w = np.log(alone)
        w_rate = -supervised.gamma * power / alone
        w_size, w_tokens = (
            w_rate * supervised.alpha * (1.0 - share),
            w_rate * supervised.beta * share,
        )
        own, capacity = log_sum(*self.log_terms(log_parameters, log_tokens))
        v = (log_t - w - self.log_d1) / self.f1
        # log(1 + e^v) at the point, and what it is taken to be: the tangent or the chord
        soft = _softplus(v)
        rest = -self.c0 * log_t + self.gamma * capacity
        scale = self.c1 * self.f1
        loss = np.exp(log_t) + np.exp(rest - scale * soft)
        if region is None:
            slope, above = np.exp(v - soft), soft
        else:
            away_size = region.log_parameters - log_parameters
            away_tokens = region.log_tokens - log_tokens
            corners = supervised.log_terms(region.log_parameters, region.log_tokens)
            highest = np.max(log_sum(*corners)[1], axis=0)
            w_high = np.log(supervised.loss_of_reach(highest))
            w_low = w + np.min(w_size * away_size + w_tokens * away_tokens, axis=0)
            v0 = (region.strongest - w_high - self.log_d1) / self.f1
            v1 = (region.weakest - w_low - self.log_d1) / self.f1
            soft0, soft1 = _softplus(v0), _softplus(v1)
            wide = v1 - v0 > _THIN
            slope = np.where(
                wide, (soft1 - soft0) / np.where(wide, v1 - v0, 1.0), np.exp(v1 - soft1)
            )
            above = soft0 + slope * (v - v0)
        excess = np.exp(rest - scale * above)
        pull = self.c1 * slope
        log_size = pull * w_size - self.gamma * self.alpha * (1.0 - own)
        log_tokens_ = pull * w_tokens - self.gamma * self.beta * own
        by_teacher = self.c0 + pull
        teacher = np.exp(log_t)
        least = value = teacher + excess
        if region is not None:
            fall = np.min(log_size * away_size + log_tokens_ * away_tokens, axis=0)
            fall = fall - by_teacher * (region.weakest - log_t)
            least = np.exp(region.strongest) + excess * np.exp(np.maximum(fall, -700.0))
        return Support(
            loss, value, excess * log_size, excess * log_tokens_,
            teacher - excess * by_teacher, least,
        )  # fmt: skip


_THIN = 1e-7  # of a range of v: below it a chord's slope is rounding, and a steeper one is as good


def _softplus(v: Array) -> Array:
    """``log(1 + e^v)``."""
    return np.asarray(np.maximum(v, 0.0) + np.log1p(np.exp(-np.abs(v))))


_LOG_LIMIT = 200.0  # log of a size or token count beyond any physical meaning (e^200 ~ 1e87)
_GRID = 257


def _bisect_decreasing(
    function: Callable[[Array], Array], target: Real, reachable: NDArray[np.bool_]
) -> Array:
    """exp(x) with function(x) = target for a decreasing function on [0, _LOG_LIMIT].

    `reachable` has the shape of the answer: arguments and batched coefficients broadcast together.
    """
    low, high = np.zeros(np.shape(reachable)), np.full(np.shape(reachable), _LOG_LIMIT)
    for _ in range(100):
        middle = 0.5 * (low + high)
        above = function(middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(reachable, np.exp(high), np.inf)
