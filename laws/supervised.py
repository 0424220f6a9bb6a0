"""Supervised scaling laws: the cross-entropy of a model trained on data itself.

Every form implements [`SupervisedForm`][laws.supervised.SupervisedForm]. Three are here:

* [`SupervisedLaw`][laws.supervised.SupervisedLaw], Eq. 1 of Busbridge et al. 2025
  (arXiv 2502.08606): ``L(N, D) = E + (A / N^alpha + B / D^beta)^gamma``;
* [`HoffmannLaw`][laws.supervised.HoffmannLaw], Hoffmann et al. 2022, the case ``gamma = 1``;
* [`KaplanLaw`][laws.supervised.KaplanLaw], Kaplan et al. 2020, the case ``E = 0``.

Units everywhere: N non-embedding parameters, D tokens, cross-entropy in nats per token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from laws._batch import Batched
from laws._types import Array, Real, log_sub_exp


class SupervisedForm(Protocol):
    """What planning needs of a supervised law. Methods broadcast over numpy arrays."""

    def loss(self, parameters: Real, tokens: Real) -> Array:
        """Cross-entropy (nats per token) of N parameters trained on D tokens."""

    def tokens_for_loss(self, parameters: Real, loss: Real) -> Array:
        """Tokens at which N parameters reach a loss; ``inf`` where no amount suffices."""

    def size_for_loss(self, tokens: Real, loss: Real) -> Array:
        """Parameters that reach a loss on D tokens; ``inf`` where no size suffices."""

    def floor(self, parameters: Real) -> Array:
        """Limit of the loss for infinitely many tokens."""

    def canonical(self) -> SupervisedLaw:
        """The same law written as Eq. 1, the form that the optimiser takes apart."""


@dataclass(frozen=True)
class SupervisedLaw(Batched):
    """``L(N, D) = E + (A / N^alpha + B / D^beta)^gamma`` (Busbridge et al. 2025, Eq. 1).

    Coefficients are numbers, or arrays of one shape: then the object is a batch of laws.
    """

    E: Real
    A: Real
    B: Real
    alpha: Real
    beta: Real
    gamma: Real

    COEFFICIENTS: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta", "gamma")
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"E"})
    CITATION: ClassVar[str] = "Busbridge et al. 2025, arXiv 2502.08606, Eq. 1"

    @cached_property
    def log_A(self) -> Array:
        """Logarithm of A, taken once."""
        return np.log(self.A)

    @cached_property
    def log_B(self) -> Array:
        """Logarithm of B, taken once."""
        return np.log(self.B)

    def log_terms(self, log_parameters: Real, log_tokens: Real) -> tuple[Array, Array]:
        """Logarithms of ``A / N^alpha`` and ``B / D^beta``."""
        return (
            np.asarray(self.log_A - self.alpha * log_parameters),
            np.asarray(self.log_B - self.beta * log_tokens),
        )

    def log_reach(self, log_parameters: Real, log_tokens: Real) -> Array:
        """``log(A / N^alpha + B / D^beta)``, the convex function behind the law (Eq. 45)."""
        return np.logaddexp(*self.log_terms(log_parameters, log_tokens))

    def loss_of_reach(self, log_reach: Real) -> Array:
        """``E + exp(gamma y)`` of ``y = log(A / N^alpha + B / D^beta)``."""
        return np.asarray(self.E + np.exp(self.gamma * log_reach))

    def loss(self, parameters: Real, tokens: Real) -> Array:
        """Cross-entropy in nats per token."""
        return self.loss_of_reach(self.log_reach(np.log(parameters), np.log(tokens)))

    __call__ = loss

    def log_reach_of_loss(self, loss: Real) -> Array:
        """``log((L - E)^(1/gamma))``, the inverse of the outer power; ``-inf`` for L <= E."""
        excess = np.maximum(np.asarray(loss, dtype=float) - self.E, 0.0)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(excess) / self.gamma)

    def tokens_for_loss(self, parameters: Real, loss: Real) -> Array:
        """``D`` with ``L(N, D) = loss``; ``inf`` where the loss is at or below the size's floor."""
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(self.log_tokens_for_loss(np.log(parameters), loss)))

    def log_tokens_for_loss(self, log_parameters: Real, loss: Real) -> Array:
        """The same in logarithms."""
        rest = log_sub_exp(self.log_reach_of_loss(loss), self.log_A - self.alpha * log_parameters)
        return np.asarray((self.log_B - rest) / self.beta)

    def size_for_loss(self, tokens: Real, loss: Real) -> Array:
        """``N`` with ``L(N, D) = loss``; ``inf`` where no size reaches the loss on D tokens."""
        rest = log_sub_exp(
            self.log_reach_of_loss(loss), np.log(self.B) - self.beta * np.log(tokens)
        )
        with np.errstate(over="ignore"):
            return np.asarray(np.exp((np.log(self.A) - rest) / self.alpha))

    def floor(self, parameters: Real) -> Array:
        """``E + (A / N^alpha)^gamma``: the loss with infinite data."""
        return np.asarray(
            self.E + np.exp(self.gamma * (np.log(self.A) - self.alpha * np.log(parameters)))
        )

    def compute_optimal_exponents(self) -> tuple[Real, Real]:
        """Exponents (a, b) of ``N* ~ C^a``, ``D* ~ C^b`` under 6ND FLOPs (Table 6's derived row).

        With ``C ~ N D`` the optimum has ``alpha A N^-alpha = beta B D^-beta``, so
        ``a = beta / (alpha + beta)`` and ``b = alpha / (alpha + beta)``.
        """
        total = self.alpha + self.beta
        return self.beta / total, self.alpha / total

    def canonical(self) -> SupervisedLaw:
        """The law itself."""
        return self


class SpecialCase(ABC):
    """A form that is Eq. 1 with some coefficients tied: it answers through `canonical`."""

    @abstractmethod
    def canonical(self) -> SupervisedLaw:
        """The same law written as Eq. 1."""

    def loss(self, parameters: Real, tokens: Real) -> Array:
        """Cross-entropy in nats per token."""
        return self.canonical().loss(parameters, tokens)

    def tokens_for_loss(self, parameters: Real, loss: Real) -> Array:
        """Tokens at which N parameters reach a loss; ``inf`` where no amount suffices."""
        return self.canonical().tokens_for_loss(parameters, loss)

    def size_for_loss(self, tokens: Real, loss: Real) -> Array:
        """Parameters that reach a loss on D tokens; ``inf`` where no size suffices."""
        return self.canonical().size_for_loss(tokens, loss)

    def floor(self, parameters: Real) -> Array:
        """Limit of the loss for infinitely many tokens."""
        return self.canonical().floor(parameters)


@dataclass(frozen=True)
class HoffmannLaw(SpecialCase):
    """``L(N, D) = E + A / N^alpha + B / D^beta`` (Hoffmann et al. 2022, Eq. 2)."""

    E: Real
    A: Real
    B: Real
    alpha: Real
    beta: Real

    COEFFICIENTS: ClassVar[tuple[str, ...]] = ("E", "A", "B", "alpha", "beta")
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset({"E"})
    CITATION: ClassVar[str] = "Hoffmann et al. 2022, arXiv 2203.15556, Eq. 2"

    def canonical(self) -> SupervisedLaw:
        """Eq. 1 with ``gamma = 1``."""
        return SupervisedLaw(self.E, self.A, self.B, self.alpha, self.beta, 1.0)


@dataclass(frozen=True)
class KaplanLaw(SpecialCase):
    """``L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D`` (Kaplan et al. 2020, Eq. 1.5)."""

    N_c: Real
    D_c: Real
    alpha_N: Real
    alpha_D: Real

    COEFFICIENTS: ClassVar[tuple[str, ...]] = ("N_c", "D_c", "alpha_N", "alpha_D")
    MAY_BE_ZERO: ClassVar[frozenset[str]] = frozenset()
    CITATION: ClassVar[str] = "Kaplan et al. 2020, arXiv 2001.08361, Eq. 1.5"

    def canonical(self) -> SupervisedLaw:
        """Eq. 1 with ``E = 0``, ``beta = 1``, ``gamma = alpha_D``."""
        alpha = self.alpha_N / self.alpha_D
        return SupervisedLaw(0.0, self.N_c**alpha, self.D_c, alpha, 1.0, self.alpha_D)
