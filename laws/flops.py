"""Forward FLOPs per token, F(N): what a parameter costs, by two stated conventions.

* [`transformer`][laws.flops.transformer]: fixed-aspect-ratio transformers with attention and the
  output head counted (Busbridge et al. 2025, Eq. 57-69);
* [`two_n`][laws.flops.two_n]: the plain ``F = 2N``, hence ``6ND`` for training.

N is the number of *non-embedding* parameters. A backward pass costs two forward passes, so training
costs ``3 F(N)`` per token. At 1B parameters and 4,096 tokens of context the first convention counts
23% more than the second, at 143M 56%: a recipe always says which one it used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laws._batch import Batched
from laws._types import Array, Real

TRAINING = 3.0
"""Forward passes that training on a token costs: one forward, and a backward of twice its cost."""


@dataclass(frozen=True)
class ForwardFlops(Batched):
    """``F(N) = parameter N + attention N^(2/3) + head N^(1/3)``, a posynomial in N (Eq. 69).

    The three coefficients are FLOPs per token; `convention` says in words what is counted.
    """

    parameter: Real
    attention: Real
    head: Real
    name: str = "transformer"
    convention: str = ""

    def per_token(self, parameters: Real) -> Array:
        """Forward FLOPs per token of a model with N non-embedding parameters."""
        cube_root = np.cbrt(parameters)
        return np.asarray(
            self.parameter * cube_root**3 + self.attention * cube_root**2 + self.head * cube_root
        )

    __call__ = per_token

    def on_logs(self, log_parameters: Real) -> tuple[Array, Array]:
        """F(N) and its elasticity d log F / d log N, from log N."""
        cube_root = np.exp(np.asarray(log_parameters) / 3.0)
        root = self.head * cube_root
        square = self.attention * cube_root * cube_root
        linear = self.parameter * cube_root * cube_root * cube_root
        total = linear + square + root
        return np.asarray(total), np.asarray((linear + (2.0 * square + root) / 3.0) / total)

    def training(self, parameters: Real, tokens: Real) -> Array:
        """FLOPs to train N parameters on D tokens: forward plus a backward of twice its cost."""
        return np.asarray(TRAINING * self.per_token(parameters) * tokens)

    def size(self, flops_per_token: Real) -> Array:
        """Parameters N with ``F(N) = flops_per_token`` (Newton on a convex increasing cubic)."""
        target = np.asarray(flops_per_token, dtype=float)
        root = np.cbrt(target / self.parameter)
        # Monotone from above: F is convex in N^(1/3) and the start is too large.
        for _ in range(60):
            value = self.parameter * root**3 + self.attention * root**2 + self.head * root - target
            slope = 3 * self.parameter * root**2 + 2 * self.attention * root + self.head
            root = root - value / slope
        return np.asarray(root**3)


def transformer(
    context: int = 4096,
    vocabulary: int = 32_168,
    aspect_ratio: float = 128.0,
    ffn_ratio: float = 8 / 3,
    ffn_matrices: int = 3,
    kv_group: int = 1,
) -> ForwardFlops:
    """Eq. 69: ``F(N) = 2N (1 + s1 n_ctx / N^(1/3) + s2 n_vocab / N^(2/3))``.

    `aspect_ratio` is d_model / n_layers, `kv_group` the query heads per key-value head (1 is
    multi-head attention), `ffn_matrices` is 3 for gated feed-forward layers, 2 otherwise.
    """
    omega = parameters_per_layer_width(ffn_ratio, ffn_matrices, kv_group)
    sigma1 = (1.0 / (aspect_ratio * omega**2)) ** (1 / 3)
    sigma2 = (aspect_ratio / omega) ** (1 / 3)
    return ForwardFlops(
        2.0,
        2.0 * sigma1 * context,
        2.0 * sigma2 * vocabulary,
        "transformer",
        f"forward FLOPs per token with attention (context {context:,}) and output head "
        f"(vocabulary {vocabulary:,}), Eq. 69; training = 3 x forward; "
        "parameters are non-embedding",
    )


def two_n() -> ForwardFlops:
    """``F(N) = 2N``: matrix products of the non-embedding parameters alone, 6ND for training."""
    return ForwardFlops(
        2.0,
        0.0,
        0.0,
        "2N",
        "forward FLOPs = 2N per token, training = 6ND; attention and output head are not counted; "
        "parameters are non-embedding",
    )


def parameters_per_layer_width(ffn_ratio: float, ffn_matrices: int, kv_group: int) -> float:
    """omega in ``N = n_layers d_model^2 omega`` (Eq. 60): 12 for the paper's models."""
    return 2.0 + 2.0 / kv_group + ffn_matrices * ffn_ratio
