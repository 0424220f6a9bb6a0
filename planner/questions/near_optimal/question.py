"""The question `near-optimal`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from planner.errors import ProblemError
from planner.questions.base import (
    Bounded,
    Budgeted,
    Charges,
    Measured,
    Question,
    Scenario,
    Served,
    Sized,
    Teachers,
)
from planner.questions.fields import Share, option
from planner.questions.hardware import OnDevices

if TYPE_CHECKING:
    from planner.questions.near_optimal.answer import NearOptimal


@dataclass(frozen=True, kw_only=True)
class NearOptimalQuestion(
    OnDevices, Measured, Served, Bounded, Teachers, Charges, Scenario, Sized, Budgeted, Question
):
    """How far each quantity may move before the loss is worse than a ceiling, the cheapest teacher
    among all those recipes, and the buildable models in their ranges.
    """

    NAME: ClassVar[str] = "near-optimal"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"budget": "1e21", "student": "1B", "within": "0.5%"}

    within: Share | None = option(
        "How far above the best loss; 0.5% unless given.", default=None, metavar="SHARE"
    )
    compute: Share | None = option(
        "Instead: recipes that waste at most this share of compute.", default=None, metavar="SHARE"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.within is not None and self.compute is not None:
            raise ProblemError("give within or compute, not both.")

    def answer(self) -> NearOptimal:
        """The ranges; InfeasibleError where no plan fits the budget."""
        from planner.questions.near_optimal.answer import WITHIN, near_optimal

        within = WITHIN if self.within is None else self.within
        chosen = self.coefficient_set()
        found: NearOptimal = self.costed(near_optimal(self.problem(), within, self.compute, chosen))
        return found


QUESTION = NearOptimalQuestion
