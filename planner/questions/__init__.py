"""The questions the planner answers, one folder each. A new question is one folder and one line.

The commands, the routes of the service, the client and `planner schema` read `QUESTIONS`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planner.questions.base import Answer, Question


@dataclass(frozen=True)
class Entry:
    """A question's folder, and the line that help shows without importing it."""

    package: str
    summary: str
    command: bool = True
    """Whether it is a command as well as a route."""

    @property
    def question(self) -> type[Question]:
        """The question's class."""
        found: type[Question] = self._module("question").QUESTION
        return found

    @property
    def answer(self) -> type[Answer]:
        """The class of its answers."""
        found: type[Answer] = self._module("answer").ANSWER
        return found

    @property
    def has_picture(self) -> bool:
        """Whether the answer can be drawn."""
        return find_spec(f"planner.questions.{self.package}.picture") is not None

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"planner.questions.{self.package}.{name}")


QUESTIONS: dict[str, Entry] = {
    "plan": Entry("plan", "Find the best recipe for a compute budget and prove it."),
    "compare-supervised": Entry(
        "compare", "Compare distillation with supervised training, over budgets and students."
    ),
    "target": Entry("target", "Find the smallest budget that reaches a loss."),
    "evaluate": Entry("evaluate", "Judge a recipe you already have, and say what to change first."),
    "explain": Entry(
        "explain", "Show what the law says around a plan: capacity gap, limits, marginal values."
    ),
    "near-optimal": Entry(
        "near_optimal", "Show the ranges of all recipes almost as good as the best."
    ),
    "teachers": Entry("teachers", "Rank existing teachers by the student they make."),
    "family": Entry("family", "Split one budget over a teacher and several students."),
    "sweep": Entry("sweep", "Solve a whole grid of plans into CSV, JSON lines or Parquet."),
    "explore": Entry("explore", "A plan and every chart around it.", command=False),
}
"""Command name -> entry, in the order in which help lists them."""


def ask(name: str, **given: Any) -> Any:
    """The answer to a question by its name, with its fields in people's words or as numbers.

    >>> ask("target", loss=2.3, student="1B").best.method
    'best-case'
    """
    return QUESTIONS[name].question.of(given).answer()
