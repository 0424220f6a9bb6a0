"""muP (simple), AdamW with independent weight decay, and the learning-rate schedule.

Wortsman et al. 2024 (arXiv 2309.14322, Sec. 3.2.4): the learning rate of a hidden matrix is scaled
by ``m = min(d_base / d_model, 1)``; embeddings and gains keep the peak rate. Weight decay is
*independent* of the learning rate: one update is ``theta <- theta - s(t) (eta m Adam + lambda
theta)`` with one schedule s(t) on both terms. PyTorch multiplies its decay by the learning rate, so
each group gets ``lambda / lr``; passing 1e-4 as it stands would decay a hundred times too weakly at
a learning rate of 1e-2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import Any, Literal

import torch

from planner.errors import PlannerError
from planner.trainer.model import Decoder


@dataclass(frozen=True)
class Hyper:
    """Optimisation of one run; the defaults are the paper's (App. I).

    `batch` counts sequences per step over all devices. `d_base` is the width from which hidden
    learning rates fall; the paper does not print its own, so it is part of every run record.
    `warmup_steps` of None is the paper's 2,000 or 5% of the run, whichever is shorter.
    """

    batch: int = 64
    learning_rate: float = 1e-2
    d_base: int = 768
    warmup_steps: int | None = None
    final_fraction: float = 1e-3
    weight_decay: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    clip: float = 1.0
    z_loss: float = 1e-4
    max_epochs: float = 4.0
    schedule_form: Literal["cosine", "wsd"] = "cosine"
    decay_share: float = 0.2

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise PlannerError(f"a batch needs at least one sequence, not {self.batch}")
        for name in ("learning_rate", "d_base", "max_epochs", "clip"):
            value = getattr(self, name)
            if not (isfinite(value) and value > 0):
                raise PlannerError(f"{name} must be a positive, finite number, not {value}")
        if self.warmup_steps is not None and self.warmup_steps < 0:
            raise PlannerError(f"warm-up steps cannot be negative ({self.warmup_steps})")
        for name in ("weight_decay", "z_loss", "final_fraction", "beta1", "beta2", "epsilon"):
            value = getattr(self, name)
            most = 1.0 if name in ("final_fraction", "beta1", "beta2") else float("inf")
            if not (isfinite(value) and 0 <= value <= most):
                raise PlannerError(f"{name} cannot be {value}")
        if not 0 < self.decay_share <= 1:
            raise PlannerError(f"the share of the decay must be in (0, 1], not {self.decay_share}")

    def warmup(self, steps: int) -> int:
        """Warm-up steps of a run of this length."""
        return min(2_000, max(1, steps // 20)) if self.warmup_steps is None else self.warmup_steps

    def schedule(self, step: int, steps: int) -> float:
        """s(t) of update `step` (from 0): linear warm-up, then down to `final_fraction`.

        By a cosine, or ("wsd": warm-up, stable, decay; Hu et al. 2024, arXiv 2404.06395) at the
        peak until the last `decay_share` of the updates, and linearly then.
        """
        warmup = self.warmup(steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.schedule_form == "wsd":
            decay = max(1, round(self.decay_share * steps))
            left = min(1.0, (steps - 1 - step) / decay)
            return self.final_fraction + (1 - self.final_fraction) * left
        progress = (step - warmup) / max(1, steps - 1 - warmup)
        return self.final_fraction + (1 - self.final_fraction) * (1 + cos(pi * progress)) / 2

    def hidden_multiplier(self, d_model: int) -> float:
        """m of muP (simple): models narrower than the base are not scaled."""
        return min(self.d_base / d_model, 1.0)


def make_optimizer(model: Decoder, hyper: Hyper) -> torch.optim.AdamW:
    """AdamW over two groups, hidden matrices and the rest; every parameter is in exactly one."""
    hidden = [
        p for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2
    ]
    chosen = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    multiplier = hyper.hidden_multiplier(model.config.d_model)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "lr": peak, "peak": peak, "weight_decay": hyper.weight_decay / peak}
        for parameters, peak in (
            (hidden, hyper.learning_rate * multiplier),
            (rest, hyper.learning_rate),
        )
    ]
    betas = (hyper.beta1, hyper.beta2)
    return torch.optim.AdamW(groups, betas=betas, eps=hyper.epsilon, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, scale: float) -> None:
    """Apply s(t) to every group; decay follows, since PyTorch multiplies it by the rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * scale
