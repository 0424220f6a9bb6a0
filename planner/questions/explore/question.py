"""The question `explore`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from planner.errors import ProblemError
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
from planner.questions.fields import Words, option
from planner.questions.hardware import OnHardware

if TYPE_CHECKING:
    from planner.questions.explore.answer import Exploration

PARTS = ("plan", "gap", "curves", "map")
QUICK = {"plan", "gap"}


@dataclass(frozen=True, kw_only=True)
class ExploreQuestion(
    OnHardware, Buildable, Measured, Served, Bounded, Teachers, Charges, Scenario, Sized, Budgeted,
    Question,
):  # fmt: skip
    """A plan and every chart around it, in one vectorised call."""

    NAME: ClassVar[str] = "explore"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "budget": "1e21", "student": "1B", "parts": ["plan", "gap"],
    }  # fmt: skip

    parts: Words = option(
        f"What to answer: {', '.join(PARTS)}; everything unless given.", default=PARTS
    )
    budgets: int = option("Budgets on each curve.", default=55, low=2, high=500)
    map_budgets: int = option("Columns of the map.", default=37, low=2, high=200)
    map_students: int = option("Rows of the map.", default=25, low=2, high=200)
    written: str = option("The budget as it was typed, to be explained.", default="")

    def __post_init__(self) -> None:
        budget: Any = self.budget
        if isinstance(budget, str):
            object.__setattr__(self, "written", budget)
        super().__post_init__()
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ProblemError(f"unknown part '{unknown[0]}'; known: {', '.join(PARTS)}.")

    @property
    def quick(self) -> bool:
        """Without curves and map it takes no longer than a plan."""
        return QUICK.issuperset(self.parts)

    @property
    def points(self) -> int:
        """Problems on the curves and the map."""
        from planner.questions.explore.charts import Grid

        return Grid(self.budgets, self.map_budgets, self.map_students).points

    def answer(self) -> Exploration:
        """The parts; InfeasibleError where no plan fits the budget."""
        from planner.questions.explore.answer import explore
        from planner.questions.explore.charts import Grid

        grid = Grid(self.budgets, self.map_budgets, self.map_students)
        return explore(
            self.problem(),
            self.parts,
            grid,
            self.coefficient_set(),
            self.written,
            self.offer,
            self.setup,
        )


QUESTION = ExploreQuestion
