"""The question `teachers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from planner.errors import ProblemError
from planner.questions.base import Bounded, Budgeted, Measured, Question, Served, Sized, Teachers
from planner.questions.fields import option
from planner.questions.hardware import OnDevices

if TYPE_CHECKING:
    from planner.questions.teachers.answer import Ranking


@dataclass(frozen=True, kw_only=True)
class TeachersQuestion(OnDevices, Measured, Served, Bounded, Teachers, Sized, Budgeted, Question):
    """Rank teachers that exist by the loss of the student they make under the budget.

    A stronger teacher is not always better: its logits cost more, and it may be too far ahead of
    the student. Both are pointed out.
    """

    NAME: ClassVar[str] = "teachers"
    EXAMPLE: ClassVar[Mapping[str, Any]] = {"budget": "1e21", "student": "1B", "logits": "stored"}

    source: str | None = option(
        "A TOML file with [[teacher]] tables, or the shipped open models; these unless teachers "
        "are given.",
        default=None,
        metavar="FILE|catalogue",
        flag="--teachers",
        file=True,
        choices=lambda: ("catalogue",),
    )
    logits: Literal["paid", "stored"] = option(
        "Whether the budget pays for the teacher's logits or they are stored already.",
        default="paid",
        show_default=True,
    )

    def answer(self) -> Ranking:
        """The ranking, best first; InfeasibleError where no teacher fits the budget."""
        from planner.catalogue import SHIPPED, Entry, load
        from planner.questions.teachers.answer import rank_teachers

        charge = 0.0 if self.logits == "stored" else 1.0
        free = self.problem(charge_inference=0.0, charge_pretraining=0.0)
        asked = self.problem(teachers=(), charge_inference=charge, charge_pretraining=0.0)
        entries = [Entry(each) for each in free.teachers]
        if self.source is not None or not entries:
            entries += load(self.source or SHIPPED, self.context)
        for entry in entries:
            if charge and entry.teacher.size is None:
                raise ProblemError(
                    f"the teacher '{entry.name}' has no size, so its logits have no price; add its "
                    "size, or choose stored logits."
                )
        found: Ranking = self.costed(rank_teachers(asked, entries, self.coefficient_set()))
        return found


QUESTION = TeachersQuestion
