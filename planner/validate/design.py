"""What a trial is made of: runs, allocations, and the design that is decided before the first run.

Costs are FLOPs of training counted from the shapes with causal attention, as the law's convention
counts them (Eq. 69), and of everything that is really trained: what a recipe's scenario leaves
uncharged is paid by the trial's allowance all the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from planner.validate.scale import SCALES, Scale

Method = Literal["supervised", "distilled", "teacher"]

EQUAL_TOKENS, EQUAL_FLOPS, PLAN = "supervised-tokens", "supervised-flops", "recommended"


@dataclass(frozen=True)
class Run:
    """One model to train. `teacher` names the run that a distilled student learns from."""

    key: str
    phase: Literal["ladder", "test"]
    arm: str
    method: Method
    layers: int
    tokens: int
    seed: int
    teacher: str | None = None
    teacher_layers: int | None = None

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
class Given:
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
    ladder: tuple[Run, ...] = ()
    teachers: tuple[Given, ...] = ()
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
                "ladder": tuple(Run(**run) for run in value["ladder"]),
                "teachers": tuple(Given(**given) for given in value["teachers"]),
                "remarks": tuple(value["remarks"]),
            }
        )
