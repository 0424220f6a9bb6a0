"""The question `target`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from planner.errors import ProblemError
from planner.questions.base import Bounded, Charges, Measured, Question, Served, Sized, Teachers
from planner.questions.fields import Number, option
from planner.questions.hardware import OnDevices

if TYPE_CHECKING:
    from planner.questions.target.answer import Target


@dataclass(frozen=True, kw_only=True)
class TargetQuestion(OnDevices, Measured, Served, Bounded, Teachers, Charges, Sized, Question):
    """The smallest budget that reaches a loss, for every scenario and for supervised training.

    Each budget comes with its recipe and a proof that a smaller one is not enough.
    """

    NAME: ClassVar[str] = "target"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"loss": 2.2, "student": "1B"}

    loss: Number | None = option(
        "Cross-entropy to reach, nats per token.", default=None, metavar="NATS", example=2.2
    )
    like: str | None = option(
        "Be as good as this supervised model instead: size=3B,tokens=60B.",
        default=None,
        metavar="MODEL",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.loss is None) == (self.like is None):
            raise ProblemError("give either --loss 2.2 or --like size=3B,tokens=60B.")

    def answer(self) -> Target:
        """Every way to the loss, cheapest first; UnreachableError where there is none."""
        from planner.questions.target.answer import Like, target

        chosen = self.coefficient_set()
        like = None if self.like is None else Like.parse(self.like)
        loss = self.loss if like is None else like.loss(chosen)
        assert loss is not None
        found: Target = self.costed(target(self.problem(budget=1.0), loss, chosen, like))
        return found


QUESTION = TargetQuestion
