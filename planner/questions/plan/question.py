"""The question `plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from planner.questions.base import (
    Bounded,
    Budgeted,
    Buildable,
    Charges,
    Constrained,
    Measured,
    Question,
    Scenario,
    Served,
    Sized,
    Teachers,
)
from planner.questions.fields import Count, Flag, Share, option
from planner.questions.hardware import OnHardware

if TYPE_CHECKING:
    from planner.questions.plan.answer import Plan


@dataclass(frozen=True, kw_only=True)
class PlanQuestion(
    Constrained, OnHardware, Buildable, Measured, Served, Bounded, Teachers, Charges, Scenario,
    Sized, Budgeted, Question,
):  # fmt: skip
    """Find the best distillation recipe for a compute budget and prove that it is the best."""

    NAME: ClassVar[str] = "plan"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"budget": "1e21", "student": "1B"}

    near_optimal: Share | None = option(
        "Also show all recipes within this share of the best loss; 0.5% unless given.",
        default=None,
        metavar="[SHARE]",
        is_flag=False,
        flag_value="0.5%",
    )
    robust: Literal["expected", "worst"] | None = option(
        "Also the recipe with the best expected (or worst) loss over the coefficients' draws.",
        default=None,
        is_flag=False,
        flag_value="expected",
    )
    sensitivity: Flag = option("Also what each coefficient does to the plan.", default=False)

    unique_tokens: Count | None = option(
        "Tokens of text that there are: the plan is judged by how often it reads them, not planned "
        "by it.",
        default=None,
        metavar="TOKENS",
    )

    @property
    def quick(self) -> bool:
        """The wider views take longer."""
        return self.near_optimal is None and self.robust is None and not self.sensitivity

    def answer(self) -> Plan:
        """The plan; InfeasibleError where none fits the budget."""
        problem = self.problem()
        from planner.questions.plan.answer import solve

        found = solve(
            problem,
            self.coefficient_set(),
            robust=self.robust,
            sensitivity=self.sensitivity,
            near_optimal=self.near_optimal,
        )
        return self.finished(found)

    def finished(self, plan: Plan) -> Plan:
        """The plan with what it takes on the devices, and what a limit on data does to it."""
        from planner.questions.plan.answer import with_resources, with_unique_tokens

        return with_unique_tokens(with_resources(plan, self.setup), self.unique_tokens)


QUESTION = PlanQuestion
