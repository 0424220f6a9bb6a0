"""From a request's body to a question, without ever touching a path of this machine."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any

from coefficients import CoefficientError, CoefficientSet, available, load
from planner.errors import ProblemError
from planner.questions import QUESTIONS
from planner.questions.base import Question
from planner.service.limits import Limits
from planner.service.problems import refuse


def read_question(name: str, body: bytes, limits: Limits) -> Question:
    """The question in a JSON body, within the limits of one request."""
    given: Any = json.loads(body)
    if not isinstance(given, Mapping):
        raise ProblemError("the body is no JSON object.")
    kind = QUESTIONS[name].question
    known = [each.name for each in fields(kind)]
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}."
            raise ProblemError(f"unknown key '{key}'{hint}")
    _check_files(kind, given)
    question = kind.of({key: value for key, value in given.items() if value is not None})
    teachers = getattr(question, "teachers", ())
    if isinstance(teachers, list | tuple) and len(teachers) > limits.teachers:
        raise ProblemError(
            f"{len(teachers)} teachers are given; one request takes at most {limits.teachers}."
        )
    if question.points > limits.grid_points:
        raise refuse(
            422,
            "quantity",
            f"the grid has {question.points:,} points; ask for at most {limits.grid_points:,}.",
        )
    return question


def _check_files(kind: type[Question], given: Mapping[str, Any]) -> None:
    """No text of a client is ever taken for a path."""
    for each in fields(kind):
        value = given.get(each.name)
        if not each.metadata.get("file") or not isinstance(value, str):
            continue
        choices = each.metadata["choices"]
        known = [] if choices is None else list(choices())
        if value in known:
            continue
        near = difflib.get_close_matches(value, known, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        names = f" Known: {', '.join(known)}; or send" if known else " Send"
        error = CoefficientError if each.name == "coefficients" else ProblemError
        raise error(f"unknown {each.name} '{value}'.{hint}{names} it as an object.")


@lru_cache(maxsize=32)
def shipped(name: str) -> CoefficientSet:
    """A coefficient set that ships with the planner; CoefficientError for any other text."""
    if name in available():
        return load(name)
    near = difflib.get_close_matches(name, available(), n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise CoefficientError(
        f"Unknown coefficient set '{name}'.{hint} Shipped sets: {', '.join(available())}; "
        "or send the set itself as an object."
    )
