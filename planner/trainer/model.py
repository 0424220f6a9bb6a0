"""The decoder transformer of the paper, with its parameters and FLOPs counted structurally.

Busbridge et al. 2025, App. G and I: fixed aspect ratio, multi-head attention, pre-norm RMSNorm
(gains only), QK-norm per head, RoPE with base 500k, gated SiLU feed-forward of ratio 8/3, tied
embeddings.

Shapes in comments: B sequences, T positions, D width, H heads, K head size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from laws.architecture import Architecture, Family
from laws.flops import ForwardFlops, transformer
from planner.errors import PlannerError

EPSILON = 1e-6  # of every RMSNorm


@dataclass(frozen=True)
class Config:
    """One model. ``d_model = aspect_ratio * layers``; at full scale the aspect ratio is 128.

    `ffn_multiple` is what d_ff is rounded up to; small models want a smaller one, or rounding
    swamps the ratio 8/3. `kv_group` query heads share one key and value head. The embedding has the
    vocabulary rounded up to `vocabulary_multiple` rows: products of such shapes are faster on a
    GPU, and the rows beyond the vocabulary are never predicted.

    Raises `PlannerError` for a model that cannot be built.
    """

    layers: int
    aspect_ratio: int = 128
    head_size: int = 128
    vocabulary: int = 32_168
    context: int = 4_096
    ffn_multiple: int = 128
    rope_base: float = 500_000.0
    kv_group: int = 1
    vocabulary_multiple: int = 1

    def __post_init__(self) -> None:
        names = ("layers", "aspect_ratio", "head_size", "vocabulary", "context", "ffn_multiple")
        for name in (*names, "kv_group", "vocabulary_multiple"):
            if getattr(self, name) < 1:
                raise PlannerError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.d_model % self.head_size or self.head_size % 2:
            raise PlannerError(
                f"a head size of {self.head_size} does not divide the width {self.d_model} "
                f"({self.layers} layers x aspect ratio {self.aspect_ratio}) into even-sized heads; "
                "choose an even --head-size that divides it"
            )
        if self.heads % self.kv_group:
            raise PlannerError(
                f"{self.heads} query heads cannot share key-value heads in groups of "
                f"{self.kv_group}; choose a --kv-group that divides them"
            )

    @property
    def heads(self) -> int:
        return self.d_model // self.head_size

    @property
    def kv_heads(self) -> int:
        return self.heads // self.kv_group

    @property
    def rows(self) -> int:
        """Rows of the embedding: the vocabulary and its padding."""
        return self.vocabulary_multiple * ceil(self.vocabulary / self.vocabulary_multiple)

    @property
    def d_model(self) -> int:
        return self.aspect_ratio * self.layers

    @cached_property
    def architecture(self) -> Architecture:
        family = Family(
            self.aspect_ratio,
            self.head_size,
            kv_group=self.kv_group,
            ffn_multiple=self.ffn_multiple,
        )
        return family.build(self.layers)

    @property
    def parameters(self) -> int:
        """Exact non-embedding parameters N: matrices and gains, not the tied embedding."""
        return self.architecture.parameters

    @property
    def law_flops(self) -> ForwardFlops:
        """F(N) by the law's convention for this context, vocabulary and aspect ratio (Eq. 69)."""
        return transformer(self.context, self.vocabulary, float(self.aspect_ratio))

    @property
    def flops(self) -> FlopCount:
        """Forward FLOPs per token, counted from the shapes."""
        width, d_ff = self.d_model, self.architecture.d_ff
        return FlopCount(
            matrices=2.0
            * self.layers
            * (2 * width**2 + 2 * width**2 // self.kv_group + 3 * width * d_ff),
            head=2.0 * width * self.rows,
            attention=4.0 * self.layers * width * self.context,
        )


@dataclass(frozen=True)
class FlopCount:
    """Forward FLOPs per token of one model, by part. A multiply and an add are two FLOPs.

    `attention` is the full T x T product (what PyTorch's own counter reports); a causal kernel
    needs half of it, and half is what the law's convention charges.
    """

    matrices: float
    head: float
    attention: float

    @property
    def dense(self) -> float:
        return self.matrices + self.head + self.attention

    @property
    def causal(self) -> float:
        return self.matrices + self.head + self.attention / 2


class Linear(nn.Module):
    """A matrix without bias, applied in the precision of its input; `initialise` fills it.

    Master weights stay float32; casting here, in the open, replaces autocast.
    """

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """Root-mean-square normalisation of the last dimension, with gains."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), EPSILON)


class Attention(nn.Module):
    """Causal multi-head attention with QK-norm and rotary positions."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.head_size, self.grouped = config.head_size, config.kv_group > 1
        width, narrow = config.d_model, config.kv_heads * config.head_size
        self.query, self.key = Linear(width, width), Linear(width, narrow)
        self.value, self.output = Linear(width, narrow), Linear(width, width)
        self.query_norm, self.key_norm = RMSNorm(config.head_size), RMSNorm(config.head_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None = None) -> Tensor:
        def heads(projected: Tensor) -> Tensor:
            return projected.view(*projected.shape[:-1], -1, self.head_size)  # (B, T, H, K)

        q = rotate(self.query_norm(heads(self.query(x))), cos, sin)
        k = rotate(self.key_norm(heads(self.key(x))), cos, sin)
        v = heads(self.value(x))
        mixed = functional.scaled_dot_product_attention(
            q.transpose(1, 2),
            k.transpose(1, 2),
            v.transpose(1, 2),
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.grouped,
        )
        return self.output(mixed.transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Gated SiLU feed-forward (SwiGLU)."""

    def __init__(self, width: int, d_ff: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = (
            Linear(width, d_ff),
            Linear(width, d_ff),
            Linear(d_ff, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = RMSNorm(config.d_model), RMSNorm(config.d_model)
        self.attention = Attention(config)
        self.ffn = FeedForward(config.d_model, config.architecture.d_ff)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.attention_norm(x), cos, sin, mask)
        return x + self.ffn(self.ffn_norm(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The language model; `initialise` fills its weights.

    `compute` is the precision of the matrix products. With `teacher_width` there is a linear map
    from its hidden states to a teacher's, for the loss between the two.

    The output head is never applied to a whole batch: `forward` hands hidden states and the tied
    matrix to `objective`, so that wrappers for several devices see every use of a parameter.
    """

    def __init__(
        self,
        config: Config,
        compute: torch.dtype = torch.float32,
        teacher_width: int | None = None,
    ) -> None:
        super().__init__()
        self.config, self.compute, self.recompute = config, compute, False
        width = config.d_model
        self.embedding = nn.Parameter(torch.empty(config.rows, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(width)
        self.projector = None if teacher_width is None else Linear(width, teacher_width)
        self.reset_tables()

    def reset_tables(self) -> None:
        """Compute the rotary tables, which checkpoints do not hold."""
        cos, sin = (table.to(self.embedding.device) for table in rotary_tables(self.config))
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @torch.no_grad()
    def initialise(
        self, seed: int, placed: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> None:
        """Draw the weights: N(0, 1/fan_in) for matrices, the embedding among them, 1 for gains.

        The same seed gives the same weights on every machine and number of devices: each is drawn
        whole on the CPU, one at a time, and `placed` (from the whole and the parameter it is for)
        picks what this device holds of it.
        """
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            shape = parameter.shape
            if parameter.ndim == 1:
                whole = torch.ones(shape)
            else:
                whole = torch.randn(shape, generator=generator) * shape[1] ** -0.5
            parameter.copy_(whole if placed is None else placed(whole, parameter))

    def forward(
        self,
        tokens: Tensor,
        objective: Callable[[Tensor, Tensor], Any] | None = None,
        documents: Tensor | None = None,
    ) -> Any:
        """Hidden states (B, T, D) for tokens (B, T), or ``objective(hidden, head)``.

        `documents` (B, T) numbers the document of every token: none is read from another.
        """
        x = functional.embedding(tokens, self.embedding).to(self.compute)
        length = tokens.shape[1]
        cos, sin = (table[:length].to(x.dtype) for table in (self.cos, self.sin))  # type: ignore[index]
        mask = None if documents is None else document_mask(documents)
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, cos, sin, mask, use_reentrant=False)
            else:
                x = block(x, cos, sin, mask)
        hidden = self.norm(x)
        return hidden if objective is None else objective(hidden, self.embedding)


def document_mask(documents: Tensor) -> Tensor:
    """Which positions each may read (B, 1, T, T): earlier ones, of its own document."""
    length = documents.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    return ((documents[:, :, None] == documents[:, None, :]) & earlier)[:, None]


def rotary_tables(config: Config) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, 1, K/2) of the rotary angles."""
    exponents = torch.arange(0, config.head_size, 2, dtype=torch.float64) / config.head_size
    positions = torch.arange(config.context, dtype=torch.float64)
    angles = torch.outer(positions, config.rope_base**-exponents)[:, None, :]
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the two halves of each head (B, T, H, K) by the angles of its position."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def build(
    config: Config,
    seed: int,
    compute: torch.dtype = torch.float32,
    teacher_width: int | None = None,
) -> Decoder:
    """A freshly initialised model on the CPU."""
    model = Decoder(config, compute, teacher_width)
    model.initialise(seed)
    return model
