"""The question `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from planner.errors import ProblemError
from planner.problem import Teacher
from planner.questions.base import Bounded, Charges, Question, Scenario, Served, Sized
from planner.questions.fields import Count, option
from planner.questions.hardware import OnDevices

if TYPE_CHECKING:
    from planner.questions.evaluate.answer import Evaluation


@dataclass(frozen=True, kw_only=True)
class EvaluateQuestion(OnDevices, Served, Bounded, Charges, Scenario, Sized, Question):
    """What the law predicts for a recipe, how far it is from the best plan of the same cost, what
    to change first, and how rules of thumb would do.

    The recipe is a plan that was written as TOML or JSON, or it is given by its parts.
    """

    NAME: ClassVar[str] = "evaluate"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {
        "student": "1B", "student_tokens": "40B", "teacher": "size=7B,tokens=140B",
    }  # fmt: skip

    recipe: str | Mapping[str, Any] | None = option(
        "The document of a plan; on the command line a FILE that plan --format toml or json wrote, "
        "or - for standard input.",
        default=None,
        metavar="[FILE]",
        argument=True,
        file=True,
    )
    student_tokens: Count | None = option(
        "Tokens the student is distilled on.", default=None, metavar="N"
    )
    teacher: str | Mapping[str, Any] | None = option(
        "The recipe's teacher: size=7B,tokens=140B (part of the cost), or size=7B,loss=2.05 "
        "(it exists already).",
        default=None,
        metavar="TEACHER",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.recipe is None:
            if None in (self.student, self.student_tokens, self.teacher):
                raise ProblemError(
                    "a recipe needs --student, --student-tokens and --teacher; or name a FILE that "
                    "plan --format toml wrote."
                )
            return
        devices = {each.name for each in fields(OnDevices)}
        others = [each for each in fields(self) if each.name not in devices | {"recipe"}]
        if any(getattr(self, each.name) != each.default for each in others):
            raise ProblemError(
                "both a plan's document and parts of a recipe are given; give one of them."
            )

    def answer(self) -> Evaluation:
        """The judgement; raises DocumentError for a document that is no plan."""
        found: Evaluation = self.costed(self._judgement())
        return found

    def _judgement(self) -> Evaluation:
        from planner.questions.evaluate.answer import evaluate, evaluate_plan
        from planner.questions.plan.answer import Plan

        if self.recipe is not None:
            if isinstance(self.recipe, str):
                return evaluate_plan(Plan.read(self.recipe))
            return evaluate_plan(Plan.from_document(self.recipe))
        assert self.student_tokens is not None and self.teacher is not None
        given = self.teacher
        teacher = Teacher.parse(given) if isinstance(given, str) else Teacher.from_mapping(given)
        if self.context is not None:
            teacher = teacher.at_context(self.context)
        problem = self.problem(budget=1.0)
        return evaluate(problem, self.student_tokens, teacher, self.coefficient_set())


QUESTION = EvaluateQuestion
