"""How large a trial is: shapes of models and data for an allowance, and the tiers that name one."""

from __future__ import annotations

from dataclasses import dataclass

from laws.architecture import Family
from planner import units
from planner.errors import QuantityError
from planner.trainer.model import Config


@dataclass(frozen=True)
class Scale:
    """Shapes that every model of a trial shares. `largest` is the FLOPs of one allocation up to
    which the scale is meant."""

    name: str
    aspect_ratio: int
    head_size: int
    ffn_multiple: int
    vocabulary: int
    context: int
    batch: int
    evaluation_tokens: int
    largest: float

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.context

    @property
    def family(self) -> Family:
        """The buildable models."""
        return Family(self.aspect_ratio, self.head_size, ffn_multiple=self.ffn_multiple)

    def config(self, layers: int, vocabulary: int) -> Config:
        """The model of this many layers."""
        return Config(
            layers,
            aspect_ratio=self.aspect_ratio,
            head_size=self.head_size,
            vocabulary=vocabulary,
            context=self.context,
            ffn_multiple=self.ffn_multiple,
        )


SCALES = (
    Scale("tiny", 16, 16, 8, 1_024, 128, 8, 1 << 15, 1e14),
    Scale("small", 64, 64, 64, 8_192, 512, 32, 1 << 18, 1e17),
    Scale("paper", 128, 128, 128, 32_168, 2_048, 128, 1 << 20, float("inf")),
)


def scale_for(flops: float) -> Scale:
    """The scale for allocations of this many FLOPs."""
    return next(scale for scale in SCALES if flops <= scale.largest)


@dataclass(frozen=True)
class Tier:
    """An allowance in FLOPs, and how it is spent: seeds of every arm, neighbours of the plan.

    `seconds` is about what it takes on an idle 2-core CPU.
    """

    name: str
    flops: float
    seeds: int
    neighbours: int
    seconds: float


TIERS = {
    tier.name: tier
    for tier in (
        Tier("smoke", 1.6e11, 1, 2, 15),
        Tier("quick", 3.2e12, 3, 2, 120),
        Tier("default", 2.0e13, 3, 4, 600),
        Tier("seeds", 4.2e13, 5, 6, 1_200),
    )
}

LEAST_SEEDS = 3
"""Seeds below which nothing is concluded."""


def tier_of(flops: float) -> Tier:
    """How to spend an allowance: as the largest tier that it pays for, else as the smallest."""
    paid = [tier for tier in TIERS.values() if tier.flops <= flops * (1 + 1e-9)]
    chosen = paid[-1] if paid else TIERS["smoke"]
    return Tier(
        chosen.name, flops, chosen.seeds, chosen.neighbours, chosen.seconds * flops / chosen.flops
    )


def parse_time(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``1.5h``; a plain number is seconds."""
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}
    stripped = text.strip().lower()
    unit = stripped[-1:] if stripped[-1:] in factor else ""
    number = stripped.removesuffix(unit) if unit else stripped
    try:
        value = float(number) * factor.get(unit, 1.0)
    except ValueError:
        raise QuantityError(f"--time '{text}' is no time; write it like 90s, 10m or 1h.") from None
    return units.check_positive(value, "--time", text)
