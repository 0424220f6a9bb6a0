"""Linear head, cross-entropies and KL in one pass over chunks of tokens.

The student's and the teacher's logits exist for one chunk at a time: the gradient of every term
with respect to the logits is known in closed form, so it is taken in the forward pass and folded at
once into the gradients of hidden states and head. Peak memory does not depend on the number of
tokens.

Per token (Busbridge et al. 2025, Eq. 7): ``(1 - lambda) CE + lambda KD + lambda_z log^2 Z``, with
``KD = -tau^2 sum_a p_a log q_a``, p and q the softmax of teacher and student logits over tau. KL
differs from it by the teacher's entropy, which has no gradient; both are reported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from planner.errors import PlannerError, require

IGNORE = -100  # label of a position that does not count
LEAST = -1e30  # stands for log 0 where it is multiplied by 0
ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 27}
"""Logits in a chunk: 16 MB, which a CPU's allocator reuses and its caches like; 512 MB on a GPU."""


@dataclass(frozen=True)
class Objective:
    """What a student learns from. `mixing` is lambda: 0 is the data alone, 1 the teacher alone.

    `top_k` and `top_p` truncate the teacher's distribution; `tail` says what becomes of the rest:
    "renormalise" spreads it over what was kept, "bucket" matches it as one further outcome.

    `direction` "jsd" is the generalised Jensen-Shannon divergence (Agarwal et al. 2024, arXiv
    2306.13649): ``beta KL(p || m) + (1 - beta) KL(q || m)`` with ``m = beta p + (1 - beta) q``.
    `hidden` weighs one minus the cosine between the teacher's last hidden state and a learned
    linear map of the student's, per token, beside all that.
    """

    mixing: float = 1.0
    temperature: float = 1.0
    direction: Literal["forward", "reverse", "jsd"] = "forward"
    top_k: int | None = None
    top_p: float | None = None
    tail: Literal["renormalise", "bucket"] = "renormalise"
    beta: float = 0.5
    hidden: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mixing <= 1:
            raise PlannerError(f"the share of distillation must be in [0, 1], not {self.mixing}")
        if self.temperature <= 0:
            raise PlannerError(f"the temperature must be positive, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise PlannerError(f"top-k must keep at least one token, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise PlannerError(f"top-p must be in (0, 1], not {self.top_p}")
        if not 0 < self.beta < 1:
            raise PlannerError(f"beta of the divergence must be in (0, 1), not {self.beta}")
        if not 0 <= self.hidden < float("inf"):
            raise PlannerError(f"the weight of hidden states cannot be {self.hidden}")
        truncated = self.top_k is not None or self.top_p is not None
        if self.direction == "reverse" and truncated and self.tail == "renormalise":
            raise PlannerError(
                "reverse KL against a truncated teacher is infinite; use the tail bucket or the "
                "full distribution"
            )


class Dense(NamedTuple):
    """A teacher as hidden states (M, D) and its head (V, D): its logits are made chunk by chunk.

    `vocabulary` (None: V) is how many of the head's rows mean a token.
    """

    hidden: Tensor
    head: Tensor
    vocabulary: int | None = None


class Full(NamedTuple):
    """A teacher as logits (M, V), for models whose head is not one plain matrix."""

    logits: Tensor


class Sparse(NamedTuple):
    """A teacher as stored top-k: token ids (M, k) and log-probabilities (M, k) at temperature 1."""

    ids: Tensor
    logprobs: Tensor


Signal = Dense | Full | Sparse
TERMS = ("loss", "cross_entropy", "kl", "teacher_cross_entropy", "z", "kept_mass", "tokens")


class LinearLoss:
    """`objective` over chunks of at most `elements` logits (None: `ELEMENTS`).

    Call it with flat hidden states. Rows of the head beyond `vocabulary` (None: none) are padding:
    they take part in the products, whose shapes the hardware likes better, and in nothing else.
    """

    def __init__(
        self,
        objective: Objective | None,
        z_loss: float = 0.0,
        *,
        elements: int | None = None,
        vocabulary: int | None = None,
        compiled: bool = False,
    ) -> None:
        self.objective, self.elements, self.vocabulary = objective, elements, vocabulary
        self.terms: Callable[..., tuple[Tensor, Tensor]] = make_terms(objective, z_loss)
        if compiled:
            self.terms = torch.compile(self.terms, dynamic=False)

    def __call__(
        self, hidden: Tensor, head: Tensor, labels: Tensor, signal: Signal | None = None
    ) -> tuple[Tensor, Tensor]:
        """Sum of the loss over tokens, differentiable, and the sums named in `TERMS`.

        Shapes: hidden (M, D), head (V, D), labels (M,) with `IGNORE` where nothing counts.
        """
        if (self.objective is None) != (signal is None):
            raise AssertionError(
                "a distillation objective needs a teacher's signal, and only it does"
            )
        return _Chunked.apply(hidden, head, labels, signal, self)  # type: ignore[no-any-return,no-untyped-call]


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        labels: Tensor,
        signal: Signal | None,
        plan: LinearLoss,
    ) -> tuple[Tensor, Tensor]:
        need_gradient = any(ctx.needs_input_grad[:2])
        weight = head.to(hidden.dtype)
        sums = torch.zeros(len(TERMS), dtype=torch.float32, device=hidden.device)
        d_hidden = torch.empty_like(hidden) if need_gradient else None
        d_head = torch.zeros_like(head, dtype=torch.float32) if need_gradient else None
        elements = plan.elements or ELEMENTS["cuda" if hidden.is_cuda else "cpu"]
        for rows in chunks(len(hidden), max(1, elements // len(head))):
            logits = (hidden[rows] @ weight.T).float()[:, : plan.vocabulary]
            part, d_logits = plan.terms(logits, labels[rows], *signal_rows(signal, rows))
            sums += part
            if d_hidden is not None and d_head is not None:
                d_logits = d_logits.to(hidden.dtype)
                if logits.shape[1] != len(head):
                    padding = (0, len(head) - logits.shape[1])
                    d_logits = torch.nn.functional.pad(d_logits, padding)
                d_hidden[rows] = d_logits @ weight
                if hidden.dtype == torch.float32:
                    d_head.addmm_(d_logits.T, hidden[rows])
                else:
                    d_head += d_logits.T @ hidden[rows]
        if d_hidden is not None:
            ctx.save_for_backward(d_hidden, d_head)
        ctx.mark_non_differentiable(sums)
        return sums[0].clone(), sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        d_hidden, d_head = ctx.saved_tensors
        return d_hidden * scale.to(d_hidden.dtype), d_head * scale, None, None, None


def chunks(count: int, size: int) -> list[slice]:
    """Slices of at most `size` rows."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def signal_rows(signal: Signal | None, rows: slice) -> tuple[Tensor | None, ...]:
    """The teacher of some rows as (logits, None, None) or (None, ids, log-probabilities)."""
    match signal:
        case None:
            return None, None, None
        case Dense(hidden, head, vocabulary):
            logits = (hidden[rows] @ head.to(hidden.dtype).T).float()
            return logits[:, :vocabulary], None, None
        case Full(logits):
            return logits[rows].float(), None, None
        case Sparse(ids, logprobs):
            return None, ids[rows].long(), logprobs[rows].float()


def make_terms(objective: Objective | None, z_loss: float) -> Callable[..., tuple[Tensor, Tensor]]:
    """The function from one chunk of logits to (sums of `TERMS`, d loss / d logits)."""
    mixing = 0.0 if objective is None else objective.mixing

    def terms(
        logits: Tensor,
        labels: Tensor,
        teacher: Tensor | None,
        ids: Tensor | None,
        logprobs: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        counted = (labels != IGNORE).float()
        label = labels.clamp(min=0)[:, None]
        log_z = torch.logsumexp(logits, dim=-1, keepdim=True)
        log_q = logits - log_z
        q = log_q.exp()
        cross_entropy = -log_q.gather(1, label)[:, 0]
        z = log_z[:, 0].square()
        loss = (1 - mixing) * cross_entropy + z_loss * z
        along_q = (1 - mixing) + 2 * z_loss * log_z  # what data and z-loss pull along q
        if objective is None:
            kl = teacher_ce = mass = torch.zeros_like(z)
            gradient = q.mul_(along_q)
        else:
            warm_q, warm_log_q = q, log_q
            if objective.temperature != 1:
                warm_log_q = torch.log_softmax(logits / objective.temperature, dim=-1)
                warm_q = warm_log_q.exp()
            goal = target(objective, warm_log_q, teacher, ids, logprobs)
            kl, teacher_ce, gradient = divergence(objective, goal, warm_q, warm_log_q)
            mass = goal.mass
            loss = loss + mixing * (teacher_ce if objective.direction == "forward" else kl)
            gradient = gradient.mul_(mixing) if mixing != 1 else gradient
            gradient = gradient.addcmul_(q, along_q)
        gradient.scatter_(1, label, gradient.gather(1, label) - (1 - mixing))
        rows = torch.stack((loss, cross_entropy, kl, teacher_ce, z, mass, torch.ones_like(z)))
        return (rows * counted).sum(1), gradient.mul_(counted[:, None])

    return terms


class Target(NamedTuple):
    """The teacher of one chunk: log-probabilities (M, V), -inf where it was cut off.

    `mass` (M,) is what was kept. `entropy` (M,) is that of kept tokens and tail bucket, None where
    it is that of `log_p`. `cut` says that some of `log_p` is -inf.
    """

    log_p: Tensor
    mass: Tensor
    entropy: Tensor | None = None
    cut: bool = False


def divergence(
    objective: Objective, goal: Target, q: Tensor, log_q: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """tau^2 KL, tau^2 teacher cross-entropy, and the gradient of the former, per row."""
    tau, log_p = objective.temperature, goal.log_p
    p = log_p.exp()
    # 0 log 0 = 0 where the teacher was cut off.
    p_log_p = (p * (log_p.clamp(min=LEAST) if goal.cut else log_p)).sum(-1)
    forward = p_log_p - (p * log_q).sum(-1)
    entropy = -p_log_p if goal.entropy is None else goal.entropy
    teacher_ce = tau**2 * (forward + entropy)
    if objective.direction == "forward":
        gradient = q - p
        return tau**2 * forward, teacher_ce, gradient.mul_(tau) if tau != 1 else gradient
    if objective.direction == "jsd":
        beta = objective.beta
        log_m = torch.logaddexp(log_p + log(beta), log_q + log(1 - beta))
        p_part = (p * ((log_p.clamp(min=LEAST) if goal.cut else log_p) - log_m)).sum(-1)
        ratio = log_q - log_m
        q_part = (q * ratio).sum(-1)
        value = beta * p_part + (1 - beta) * q_part
        return tau**2 * value, teacher_ce, tau * (1 - beta) * q * (ratio - q_part[:, None])
    ratio = log_q - log_p
    reverse = (q * ratio).sum(-1)
    return tau**2 * reverse, teacher_ce, tau * q * (ratio - reverse[:, None])


def target(
    objective: Objective,
    log_q: Tensor,
    teacher: Tensor | None,
    ids: Tensor | None,
    logprobs: Tensor | None,
) -> Target:
    """What the teacher teaches after temperature and truncation.

    A tail bucket is the same as a teacher whose tail has the student's own shape: matching
    ``p_tail`` with ``q_tail`` as one outcome has the value and the gradient of matching every tail
    token with ``p_tail q_a / q_tail``, held constant.
    """
    tau = objective.temperature
    if teacher is not None:
        log_p = torch.log_softmax(teacher if tau == 1 else teacher / tau, dim=-1)
        if objective.top_k is None and objective.top_p is None:
            return Target(log_p, torch.ones_like(log_p[:, 0]))
        keep = kept(log_p, objective.top_k, objective.top_p)
        log_p = log_p.masked_fill(~keep, -torch.inf)
        log_total = torch.logsumexp(log_p, dim=-1, keepdim=True)
        mass = log_total.exp()[:, 0]
    else:
        assert ids is not None
        assert logprobs is not None
        ids, logprobs = ids[:, : objective.top_k], logprobs[:, : objective.top_k]
        log_p = torch.full_like(log_q, -torch.inf).scatter_(1, ids, logprobs / tau)
        keep = torch.zeros_like(log_q, dtype=torch.bool).scatter_(1, ids, True)
        log_total = torch.logsumexp(logprobs / tau, dim=-1, keepdim=True)
        mass = logprobs.exp().sum(-1)  # at the temperature they were stored at
    if objective.tail == "renormalise":
        return Target(log_p - log_total, mass, cut=True)
    # Stored halves can sum to a hair above one: the tail keeps at least what float32 can tell.
    log_tail = torch.log((1 - mass).clamp(min=1e-7))[:, None]
    student_tail = torch.logsumexp(log_q.masked_fill(keep, -torch.inf), dim=-1, keepdim=True)
    outcomes = torch.cat((log_p, log_tail), dim=-1)
    entropy = -(outcomes.exp() * outcomes.clamp(min=LEAST)).sum(-1)
    return Target(torch.where(keep, log_p, log_q + log_tail - student_tail), mass, entropy)


def kept(log_p: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Mask (M, V) of the `top_k` likeliest tokens and of the smallest set with mass `top_p`."""
    if top_p is None and top_k is not None:
        best = log_p.topk(min(top_k, log_p.shape[1]), dim=-1).indices
        return torch.zeros_like(log_p, dtype=torch.bool).scatter(1, best, True)
    ranked, order = log_p.sort(dim=-1, descending=True)
    keep = torch.ones_like(ranked, dtype=torch.bool)
    if top_k is not None:
        keep[:, top_k:] = False
    if top_p is not None:
        probabilities = ranked.exp()
        keep &= probabilities.cumsum(-1) - probabilities < top_p
    return torch.zeros_like(keep).scatter(1, order, keep)


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
    """`LinearLoss` without a teacher by Liger-Kernel (extra `gpu`): the same call, the same sums.

    For supervised runs alone, since its divergences take no z-loss, no truncation and no tail
    bucket.
    """

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
