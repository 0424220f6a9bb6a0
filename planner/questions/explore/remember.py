"""A small memory for answers about a problem and a coefficient set."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from coefficients import CoefficientSet
from planner.problem import Problem

P = ParamSpec("P")
Result = TypeVar("Result")
Function = Callable[Concatenate[Problem, CoefficientSet, P], Result]

MOST = 64


def remember(function: Function[P, Result]) -> Function[P, Result]:
    """Keeps the last answers; a coefficient set counts as the same only if it is the same object.

    Sets hold dicts and have no hash. Each entry keeps its set alive, so an id is never taken twice.
    """
    kept: OrderedDict[Any, tuple[CoefficientSet, Result]] = OrderedDict()

    @functools.wraps(function)
    def wrapper(
        problem: Problem, coefficients: CoefficientSet, /, *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        key = (problem, id(coefficients), args, tuple(sorted(kwargs.items())))
        if key in kept:
            kept.move_to_end(key)
            return kept[key][1]
        result = function(problem, coefficients, *args, **kwargs)
        kept[key] = (coefficients, result)
        if len(kept) > MOST:
            kept.popitem(last=False)
        return result

    return wrapper
