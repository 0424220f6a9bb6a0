"""What a trial is made of: shapes, amounts, runs, and the design decided before the first run.

Costs are FLOPs of training counted from the shapes with causal attention, as the law's convention
counts them (Eq. 69), and of everything that is really trained: what a recipe's scenario leaves
uncharged is paid by the trial's allowance all the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from laws.architecture import Family
from planner import units
from planner.errors import QuantityError
from planner.trainer.model import Config


@dataclass(frozen=True)
class Scale:
    """Shapes that every model of a trial shares.

    d_base: the width from which the rates of hidden matrices fall (muP), that of the narrowest
    models trained. largest: FLOPs of one allocation up to which the scale is meant.
    """

    name: str
    aspect_ratio: int
    head_size: int
    ffn_multiple: int
    vocabulary: int
    context: int
    batch: int
    evaluation_tokens: int
    d_base: int
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
    Scale("tiny", 16, 16, 8, 1_024, 128, 8, 1 << 15, 32, 1e14),
    Scale("small", 64, 64, 64, 8_192, 512, 32, 1 << 18, 128, 1e17),
    Scale("paper", 128, 128, 128, 32_168, 2_048, 128, 1 << 20, 768, float("inf")),
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


Method = Literal["supervised", "distilled", "teacher"]

TEACHER_SEEDS = 1_000_000
"""Added to the seeds of teachers: one of its student's size must not share its initial weights."""

EQUAL_TOKENS, EQUAL_FLOPS, PLAN = "supervised-tokens", "supervised-flops", "distillation"


@dataclass(frozen=True)
class Run:
    """One model to train.

    teacher: the run that a distilled student learns from. rate: peak learning rate; None for the
    one that tuning finds.
    """

    key: str
    phase: Literal["tuning", "ladder", "test"]
    arm: str
    method: Method
    layers: int
    tokens: int
    seed: int
    teacher: str | None = None
    teacher_layers: int | None = None
    rate: float | None = None

    @property
    def split(self) -> str:
        """The half of the corpus it is trained on."""
        return "teacher" if self.method == "teacher" else "student"


@dataclass(frozen=True)
class Arm:
    """One allocation of the test; tokens in whole steps."""

    key: str
    title: str
    layers: int
    tokens: int
    teacher_layers: int | None = None
    teacher_tokens: int | None = None


@dataclass(frozen=True)
class StandIn:
    """A teacher that the recipe names, as the trial has it: trained once, for all seeds.

    text: the recipe's own, in words.
    """

    layers: int
    tokens: int
    text: str


@dataclass(frozen=True)
class Design:
    """Everything decided before the first run; kept in the output folder, so that a resumed trial
    does not depend on how fast the machine is then.

    budget: FLOPs of every allocation that is compared, by the recipe's accounting. allowance: FLOPs
    that all runs together may cost, charged or not; expected: what they were expected to cost.
    ratio: tokens per parameter of the recipe's own supervised baseline. vocabulary: entries of the
    tokenizer. split_tokens: the smaller half of the corpus. teachers: those that the recipe names.
    """

    scale: str
    vocabulary: int
    layers: int
    budget: float
    allowance: float
    seeds: int
    neighbours: int
    seed: int
    corpus: str
    split_tokens: int
    ratio: float
    charge_inference: float
    charge_pretraining: float
    tuning: tuple[Run, ...] = ()
    ladder: tuple[Run, ...] = ()
    teachers: tuple[StandIn, ...] = ()
    expected: float = 0.0
    remarks: tuple[str, ...] = ()

    @property
    def shapes(self) -> Scale:
        return next(scale for scale in SCALES if scale.name == self.scale)

    @property
    def most(self) -> int:
        """Tokens in whole steps that a run can read without repeating any."""
        context, batch = self.shapes.context, self.shapes.batch
        return max(1, (self.split_tokens - 1) // context // batch) * batch * context

    @property
    def before(self) -> tuple[Run, ...]:
        """Everything that is trained before the tests."""
        return (*self.tuning, *self.ladder)

    @property
    def coincide(self) -> bool:
        """Whether equal tokens are equal FLOPs, because nothing of the teacher is charged."""
        return self.charge_inference == 0 and self.charge_pretraining == 0

    @property
    def whole_teacher(self) -> bool:
        """Whether the recipe pays for all of a teacher's training."""
        return self.charge_pretraining >= 1

    @property
    def teacher_flops(self) -> float:
        """FLOPs that the training of one teacher may cost.

        One allocation. Teachers that the recipe names are trained once and leave nothing to vary
        but which of them is taken, so that they share what neighbours would cost.
        """
        named = len(self.teachers)
        return self.budget * (max(1.0, (1 + self.neighbours) / named) if named else 1.0)

    def forward(self, layers: int) -> float:
        """Forward FLOPs per token of a model."""
        return self.shapes.config(layers, self.vocabulary).flops.causal

    def parameters(self, layers: int) -> float:
        """Non-embedding parameters of a model."""
        return float(self.shapes.family.build(layers).parameters)

    def cost(self, run: Run) -> float:
        """FLOPs of training a run, teacher's forward passes included."""
        teacher = self.forward(run.teacher_layers) if run.teacher_layers else 0.0
        return run.tokens * (3.0 * self.forward(run.layers) + teacher)

    def baseline(self) -> float:
        """Tokens of the student's supervised baseline of equal FLOPs."""
        return self.budget / (3.0 * self.forward(self.layers))

    def whole(self, tokens: float) -> int:
        """Tokens in whole steps, at least one and at most the corpus."""
        step = self.shapes.tokens_per_step
        return min(self.most, max(1, round(tokens / step)) * step)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Design:
        """The inverse of `to_dict`."""
        return cls(
            **{
                **value,
                "tuning": tuple(Run(**run) for run in value["tuning"]),
                "ladder": tuple(Run(**run) for run in value["ladder"]),
                "teachers": tuple(StandIn(**given) for given in value["teachers"]),
                "remarks": tuple(value["remarks"]),
            }
        )
