"""Cross-entropy by a fused kernel of Liger-Kernel, for supervised runs on a GPU (extra `gpu`).

It covers cross-entropy with z-loss. It has no counterpart for distillation as it is done here:
its divergences take no z-loss, no truncation and no tail bucket, so students always use the chunks
of `loss.py`.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from planner.errors import PlannerError, require
from planner.trainer.loss import IGNORE, TERMS, LinearLoss, Objective, Signal


def make_loss(
    kernel: str,
    objective: Objective | None,
    z_loss: float,
    device: torch.device,
    *,
    vocabulary: int | None = None,
    compiled: bool,
) -> LinearLoss | FusedLoss:
    """The loss of a run by the kernel that was asked for, where that kernel can do it."""
    if kernel == "chunked":
        return LinearLoss(objective, z_loss, vocabulary=vocabulary, compiled=compiled)
    if objective is not None:
        raise PlannerError(
            "the fused kernel covers supervised runs only; leave --kernel out for a student"
        )
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise PlannerError(f"the fused kernel needs a GPU, not {device}; leave --kernel out")
    return FusedLoss(z_loss, vocabulary)


class FusedLoss:
    """`LinearLoss` without a teacher: the same call, the same sums."""

    def __init__(self, z_loss: float, vocabulary: int | None = None) -> None:
        self.vocabulary = vocabulary
        module = require("liger_kernel.transformers.fused_linear_cross_entropy", extra="gpu")
        self.z_loss = z_loss
        self.fused = module.LigerFusedLinearCrossEntropyLoss(
            ignore_index=IGNORE,
            lse_square_scale=z_loss,
            reduction="sum",
            return_z_loss=True,
            accum_dtype=torch.float32,
        )

    def __call__(
        self, hidden: Tensor, head: Tensor, labels: Tensor, signal: Signal | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `LinearLoss.__call__`; the sum of log^2 Z is 0 where there is no z-loss."""
        assert signal is None
        found = self.fused(head[: self.vocabulary].to(hidden.dtype), hidden, labels)
        loss, z_loss = found.loss.detach().float(), found.z_loss.detach().float()
        none = torch.zeros_like(loss)
        terms = {
            "loss": loss,
            "cross_entropy": loss - z_loss,
            "z": z_loss / self.z_loss if self.z_loss else none,
            "tokens": (labels != IGNORE).sum().float(),
        }
        return found.loss, torch.stack([terms.get(name, none) for name in TERMS])
