"""The question `compare-supervised`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from planner.questions.base import Bounded, Charges, Measured, Question, Served, Teachers
from planner.questions.fields import Counts, Span, option
from planner.questions.hardware import OnDevices
from planner.scenarios import SCENARIOS

if TYPE_CHECKING:
    from planner.questions.compare.answer import Comparisons


@dataclass(frozen=True, kw_only=True)
class CompareQuestion(Measured, Served, Bounded, Teachers, Charges, OnDevices, Question):
    """Every scenario's best loss against supervised training of the same student and budget.

    Says where the better method changes (crossover budgets), the largest gain, and how much more
    compute and data supervised training needs for the same loss.
    """

    NAME: ClassVar[str] = "compare-supervised"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"budget": "1e20:1e23", "students": ["300M", "1B"]}

    budget: Span = option(
        "Total FLOPs, or a log-spaced range of them like 1e19:1e26 or 1e19:1e26:200.",
        metavar="FLOPS|LOW:HIGH[:POINTS]",
    )
    students: Counts = option(
        "One or several student sizes like 300M,1B,3B; left out, the size is planned too.",
        default=(),
        metavar="SIZE[,SIZE...]",
        flag="--student",
        called="student size",
    )

    @property
    def points(self) -> int:
        """Budgets of all students and scenarios."""
        from planner.questions.compare.answer import budget_grid

        return budget_grid(*self.budget).size * max(1, len(self.students)) * (len(SCENARIOS) + 1)

    def answer(self) -> Comparisons:
        """The comparison; InfeasibleError where a student has no plan at any budget."""
        from planner.questions.compare.answer import budget_grid, compare_supervised

        low, high, points = self.budget
        problem = self.problem(budget=low)
        grid = budget_grid(low, high, points)
        chosen = self.coefficient_set()
        found: Comparisons = self.costed(compare_supervised(problem, grid, self.students, chosen))
        return found


QUESTION = CompareQuestion
