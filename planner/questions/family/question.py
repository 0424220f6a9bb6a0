"""The question `family`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from planner.errors import ProblemError
from planner.questions.base import Bounded, Charges, Measured, Question, Scenario, Teachers
from planner.questions.fields import Flag, Flops, Numbers, option
from planner.questions.hardware import OnDevices

if TYPE_CHECKING:
    from planner.questions.family.answer import FamilyPlan
    from planner.questions.family.members import Member


@dataclass(frozen=True, kw_only=True)
class FamilyQuestion(Measured, Bounded, Teachers, Charges, Scenario, OnDevices, Question):
    """Split one budget over a teacher and all its students, with a proven bound.

    Minimises the weighted mean of the students' losses, or with targets the budget that brings
    every student to its own. Says from how many students on a teacher pays.
    """

    NAME: ClassVar[str] = "family"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"budget": "1e22", "students": ["300M", "1B", "3B"]}

    students: str | tuple[str | Mapping[str, Any], ...] = option(
        "The students' sizes like 300M,1B,3B; 1Bx8 stands for eight equal students; or objects of "
        "size, weight, target and copies.",
        metavar="SIZE[xCOPIES][,...]",
        flag="--student",
        required=True,
    )
    budget: Flops | None = option(
        "Total FLOPs for teacher and students; not with targets.", default=None, metavar="FLOPS"
    )
    weights: Numbers = option(
        "How much each student's loss counts; all alike unless given.",
        default=(),
        metavar="W[,...]",
        flag="--weight",
    )
    targets: Numbers = option(
        "Each student's target loss, nats per token: find the smallest budget instead.",
        default=(),
        metavar="LOSS[,...]",
        flag="--target",
    )
    cached: Flag = option("Compute logits once, over the longest run, and store.", default=False)
    growth: Flag = option(
        "Show how the plan changes with the number of students, and the break-even count; it "
        "takes a plan for each of twenty numbers.",
        default=False,
    )
    fixed_total: Flag = option(
        "For that table: all share one budget, rather than each bringing its share of it.",
        default=False,
    )

    def members(self) -> list[Member]:
        """The students with their weights and targets."""
        from planner.questions.family.members import Member

        given = self.students
        parts = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
        if "" in parts:
            raise ProblemError(f"students '{given}' have an empty entry; write 300M,1B,3B.")
        members = [Member.read(part) for part in parts]
        weights = _each("weights", self.weights, len(members))
        targets = _each("targets", self.targets, len(members))
        return [
            replace(
                member,
                weight=member.weight if weight is None else weight,
                target=member.target if target is None else target,
            )
            for member, weight, target in zip(members, weights, targets, strict=True)
        ]

    def answer(self) -> FamilyPlan:
        """The split; InfeasibleError or UnreachableError where there is none."""
        from planner.questions.family.answer import plan_family
        from planner.questions.family.growth import family_growth

        members = self.members()
        by_targets = any(member.target is not None for member in members)
        if (self.budget is None) == (not by_targets):
            raise ProblemError("give either --budget to split, or --target for every student.")
        problem = self.problem(budget=self.budget or 1e21)
        chosen = self.coefficient_set()
        plan: FamilyPlan = self.costed(plan_family(problem, members, self.cached, chosen))
        if not (self.growth or self.fixed_total) or by_targets or len(problem.teachers) > 1:
            return plan
        table = family_growth(problem, members, self.cached, chosen, fixed_total=self.fixed_total)
        return replace(plan, growth=table)


def _each(name: str, given: tuple[float, ...], count: int) -> tuple[float | None, ...]:
    """One value for every student from one for all, one each, or none."""
    if not given:
        return (None,) * count
    if len(given) not in (1, count):
        raise ProblemError(
            f"{name} have {len(given)} entries for {count} students; give one, or one each."
        )
    return given * count if len(given) == 1 else given


QUESTION = FamilyQuestion
