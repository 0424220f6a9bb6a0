"""Plans model distillation under a compute budget, with a proven optimum.

>>> from planner import Problem, solve
>>> plan = solve(Problem(budget=1e21, student=1e9))
>>> plan.verdict.method
'supervised'
>>> plan.certificate.proven
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coefficients import CoefficientSet as CoefficientSet
    from coefficients import load as load_coefficients
    from planner.errors import INPUT_ERRORS as INPUT_ERRORS
    from planner.errors import InfeasibleError as InfeasibleError
    from planner.errors import PlannerError as PlannerError
    from planner.optima import Many as Many
    from planner.optima import optimum as optimum
    from planner.optima import solve_many as solve_many
    from planner.optima import supervised as supervised
    from planner.problem import BOUNDS as BOUNDS
    from planner.problem import Bounds as Bounds
    from planner.problem import Problem as Problem
    from planner.problem import Teacher as Teacher
    from planner.questions.plan.answer import Plan as Plan
    from planner.questions.plan.answer import solve as solve
    from planner.results import Recipe as Recipe
    from planner.scenarios import SCENARIOS as SCENARIOS

__all__ = [
    "BOUNDS", "INPUT_ERRORS", "SCENARIOS", "Bounds", "CoefficientSet", "InfeasibleError", "Many",
    "Plan", "PlannerError", "Problem", "Recipe", "Teacher", "load_coefficients", "optimum", "solve",
    "solve_many", "supervised",
]  # fmt: skip

_MODULES = {
    "planner.errors": ("INPUT_ERRORS", "InfeasibleError", "PlannerError"),
    "planner.optima": ("Many", "optimum", "solve_many", "supervised"),
    "planner.problem": ("BOUNDS", "Bounds", "Problem", "Teacher"),
    "planner.questions.plan.answer": ("Plan", "solve"),
    "planner.results": ("Recipe",),
    "planner.scenarios": ("SCENARIOS",),
    "coefficients": ("CoefficientSet",),
}


def __getattr__(name: str) -> Any:
    """What the library offers, imported when it is first used: a command's help needs no numpy."""
    if name == "load_coefficients":
        return importlib.import_module("coefficients").load
    for module, names in _MODULES.items():
        if name in names:
            found = getattr(importlib.import_module(module), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
