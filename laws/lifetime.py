"""Lifetime cost: training once and serving for months, each at its own utilisation.

After Sardana et al. 2024 (arXiv 2401.00448): a smaller model trained longer reaches the same loss
and costs less to serve, so the cheapest size depends on the load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from laws._types import Array, Real
from laws.flops import ForwardFlops

_GRID = 4_001


@dataclass(frozen=True)
class Serving:
    """A serving load over a model's life.

    requests: per month. prompt, completion: tokens per request. months: of service.
    """

    requests: float
    prompt: float
    completion: float
    months: float

    @property
    def prefill_tokens(self) -> float:
        """Prompt tokens in all."""
        return self.requests * self.prompt * self.months

    @property
    def decode_tokens(self) -> float:
        """Generated tokens in all."""
        return self.requests * self.completion * self.months

    @property
    def tokens(self) -> float:
        """Tokens that pass through the model, each at F(N) FLOPs."""
        return self.prefill_tokens + self.decode_tokens

    def weighted_tokens(self, prefill: float, decode: float, training: float) -> float:
        """Tokens in units of training's device time: F(N) times these, at the training utilisation,
        takes as long as serving does at its own (arguments: utilisations in (0, 1])."""
        return training * (self.prefill_tokens / prefill + self.decode_tokens / decode)


@dataclass(frozen=True)
class Shares:
    """Utilisations of the peak, each in (0, 1]."""

    training: float = 0.4
    prefill: float = 0.4
    decode: float = 0.05


def device_flops(
    forward: ForwardFlops, parameters: Real, tokens: Real, load: Serving, shares: Shares
) -> Array:
    """FLOPs that the devices could have done meanwhile: ``F(N) (3 D / u + D_p / u_p + D_d / u_d)``.

    Over the peak this is device-seconds, and times the price money. The teacher's part does not
    depend on the student's size but through D: add ``F(N_T) D / u`` where its inference is paid.
    """
    per_token = forward(parameters)
    serving = load.prefill_tokens / shares.prefill + load.decode_tokens / shares.decode
    return np.asarray(per_token * (3.0 * np.asarray(tokens) / shares.training + serving))


@dataclass(frozen=True)
class Lifetime:
    """The cheapest model of a required loss: its size, its training tokens, its device-FLOPs."""

    parameters: float
    tokens: float
    device_flops: float


def cheapest(
    tokens_for_loss: Callable[[Array], Array],
    forward: ForwardFlops,
    load: Serving,
    shares: Shares = Shares(),
    sizes: tuple[float, float] = (1e6, 1e12),
    teacher_flops_per_token: float = 0.0,
) -> Lifetime | None:
    """The size that reaches a loss at the least lifetime cost; None where none reaches it.

    tokens_for_loss: training tokens by size, ``inf`` where a size cannot reach the loss (a law's
    method with the loss bound to it, supervised or distilled). teacher_flops_per_token: F(N_T)
    where the student's training pays for the teacher's inference. The minimum over a grid of 4,001
    sizes, even in the logarithm and refined once around the best, not certified.
    """
    low, high = np.log(sizes[0]), np.log(sizes[1])
    for _ in range(2):
        parameters = np.exp(np.linspace(low, high, _GRID))
        tokens = tokens_for_loss(parameters)
        cost = device_flops(forward, parameters, tokens, load, shares)
        if teacher_flops_per_token > 0:
            cost = cost + teacher_flops_per_token * tokens / shares.training
        best = int(np.argmin(cost))
        if not np.isfinite(cost[best]):
            return None
        low, high = (
            np.log(parameters[max(best - 1, 0)]),
            np.log(parameters[min(best + 1, _GRID - 1)]),
        )
    return Lifetime(float(parameters[best]), float(tokens[best]), float(cost[best]))


def best_loss(
    loss: Callable[[Array, Array], Array],
    forward: ForwardFlops,
    load: Serving,
    budget: float,
    shares: Shares = Shares(),
    sizes: tuple[float, float] = (1e6, 1e12),
) -> tuple[Lifetime, float] | None:
    """The least loss at a lifetime budget of device-FLOPs, and the model; None if none fits it.

    loss: cross-entropy by size and tokens. What serving leaves of the budget trains the model.
    """
    low, high = np.log(sizes[0]), np.log(sizes[1])
    for _ in range(2):
        parameters = np.exp(np.linspace(low, high, _GRID))
        left = budget - device_flops(forward, parameters, 0.0, load, shares)
        tokens = np.maximum(left, 0.0) * shares.training / (3.0 * forward(parameters))
        fits = tokens > 0
        if not fits.any():
            return None
        losses = np.where(fits, loss(parameters, np.where(fits, tokens, 1.0)), np.inf)
        best = int(np.argmin(losses))
        low, high = (
            np.log(parameters[max(best - 1, 0)]),
            np.log(parameters[min(best + 1, _GRID - 1)]),
        )
    return Lifetime(float(parameters[best]), float(tokens[best]), budget), float(losses[best])
