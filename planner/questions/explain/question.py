"""The question `explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from planner.questions.base import (
    Bounded,
    Budgeted,
    Buildable,
    Charges,
    Measured,
    Question,
    Scenario,
    Served,
    Sized,
    Teachers,
)

if TYPE_CHECKING:
    from planner.questions.explain.answer import Explanation


@dataclass(frozen=True, kw_only=True)
class ExplainQuestion(
    Buildable, Measured, Served, Bounded, Teachers, Charges, Scenario, Sized, Budgeted, Question
):
    """Why the plan is what it is: the student's loss against its teacher's (the capacity gap) and
    against the split of the budget, what ten per cent more would bring, and what limits it now.
    """

    NAME: ClassVar[str] = "explain"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"budget": "1e21", "student": "1B"}

    def answer(self) -> Explanation:
        """The explanation; InfeasibleError where no plan fits the budget."""
        from planner.questions.explain.answer import explain

        return explain(self.problem(), self.coefficient_set())


QUESTION = ExplainQuestion
