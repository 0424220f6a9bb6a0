"""From a request to a Problem and its coefficients, without ever touching a path."""

from __future__ import annotations

import difflib
import json
from functools import lru_cache

from coefficients import CoefficientError, CoefficientSet, available, load, parse
from planner.errors import ProblemError
from planner.problem import Problem
from planner.service.body import Given
from planner.service.limits import Limits


def read_problem(given: Given, limits: Limits) -> tuple[Problem, CoefficientSet]:
    """The Problem of a request and its coefficients: a shipped set by name, or one sent inline.

    No text of a client is ever taken for a path.
    """
    given = dict(given)
    inline = given.pop("coefficients", None)
    teachers = given.get("teachers", given.get("teacher"))
    if isinstance(teachers, list) and len(teachers) > limits.teachers:
        raise ProblemError(
            f"{len(teachers)} teachers are given; one request takes at most {limits.teachers}."
        )
    if isinstance(inline, dict):
        coefficients = _inline(json.dumps(inline, sort_keys=True))
        return Problem.from_mapping({**given, "coefficients": coefficients.name}), coefficients
    problem = Problem.from_mapping({**given, "coefficients": inline})
    return problem, shipped(problem.coefficients)


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


@lru_cache(maxsize=32)
def _inline(text: str) -> CoefficientSet:
    return parse(json.loads(text), name="inline")
