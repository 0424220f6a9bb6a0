"""Repeated data: how much tokens are worth that were seen before.

Muennighoff et al. 2023 (arXiv 2305.16264): a token of a further epoch is worth less than a new one,
exponentially less with every epoch (Eq. 5), and so are parameters beyond what the unique tokens
support (Eq. 6). U_D unique tokens seen R_D times again count as ``U_D + U_D R_D* (1 - exp(-R_D /
R_D*))`` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from laws._types import Array, Real
from laws.supervised import HoffmannLaw, SupervisedForm

CAREFREE_EPOCHS = 4.0
"""Up to here repetition costs next to nothing (Muennighoff et al. 2023, Sec. 6)."""


@dataclass(frozen=True)
class Repetition:
    """What repeated tokens and surplus parameters are worth; both decay constants are in epochs.

    tokens_decay: R_D*. size_decay: R_N*; None leaves parameters undiscounted, for laws that were
    not fitted together with this one. tokens_per_parameter: of the compute-optimal model, which
    says how many parameters U_D unique tokens support.
    """

    tokens_decay: Real = 15.387756
    size_decay: Real | None = 5.309743
    tokens_per_parameter: Real = 19.6

    CITATION: ClassVar[str] = "Muennighoff et al. 2023, arXiv 2305.16264, Eq. 5 and 6, Table 1"
    DOMAIN: ClassVar[dict[str, tuple[float, float]]] = {
        "parameters": (1e7, 9e9),
        "tokens": (1e8, 9e11),
        "unique_tokens": (1e8, 1.78e11),
        "epochs": (1.0, 1500.0),
    }
    """What the fitted runs covered: C4, GPT-2 architecture and tokenizer."""

    def effective_tokens(self, tokens: Real, unique_tokens: Real) -> Array:
        """D': unique tokens that are worth as much as `tokens` drawn from `unique_tokens` (Eq. 5).

        Equal to the tokens where none repeats, and at most ``(1 + R_D*) unique_tokens``.
        """
        unique = np.minimum(unique_tokens, tokens)
        repeats = np.asarray(tokens) / unique - 1.0
        return np.asarray(
            unique * (1.0 - self.tokens_decay * np.expm1(-repeats / self.tokens_decay))
        )

    def tokens_for_effective(self, effective: Real, unique_tokens: Real) -> Array:
        """Tokens to train on for `effective` ones, the inverse; ``inf`` beyond the limit."""
        unique = np.minimum(unique_tokens, effective)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = 1.0 - (np.asarray(effective) / unique - 1.0) / self.tokens_decay
            repeats = np.where(left > 0, -self.tokens_decay * np.log(left), np.inf)
        return np.asarray(unique * (1.0 + repeats))

    def effective_parameters(self, parameters: Real, unique_tokens: Real) -> Array:
        """N': parameters that are worth as much, where all data are new (Eq. 6)."""
        if self.size_decay is None:
            return np.asarray(parameters, dtype=float)
        base = np.minimum(np.asarray(unique_tokens) / self.tokens_per_parameter, parameters)
        surplus = np.asarray(parameters) / base - 1.0
        return np.asarray(base * (1.0 - self.size_decay * np.expm1(-surplus / self.size_decay)))

    def loss(
        self, law: SupervisedForm, parameters: Real, tokens: Real, unique_tokens: Real
    ) -> Array:
        """Cross-entropy of a law at the effective size and tokens."""
        unique = np.minimum(unique_tokens, tokens)
        return law.loss(
            self.effective_parameters(parameters, unique), self.effective_tokens(tokens, unique)
        )


def muennighoff2023() -> tuple[HoffmannLaw, Repetition]:
    """The published law and its constants, fitted together on C4 (Table 1 and its repository).

    The paper prints E = 1.87, A = 521, B = 1488, alpha = beta = 0.353, R_D* = 15.4, R_N* = 5.3; the
    digits here are those of the fit. Unique tokens support D / N = (beta B / (alpha A)) to the
    power 2 / (alpha + beta), here with alpha = beta.
    """
    alpha = 0.3526596
    law = HoffmannLaw(
        E=float(np.exp(0.6254804)),
        A=float(np.exp(6.255414)),
        B=float(np.exp(7.3049974)),
        alpha=alpha,
        beta=alpha,
    )
    return law, Repetition(tokens_per_parameter=float(np.exp((7.3049974 - 6.255414) / alpha)))
