"""Plans model distillation under a compute budget, with a proven optimum.

>>> from planner import Problem, solve
>>> plan = solve(Problem(budget=1e21, student=1e9))
>>> plan.verdict.method
'supervised'
>>> plan.certificate.proven
True
"""

from __future__ import annotations

from coefficients import CoefficientSet as CoefficientSet
from coefficients import load as load_coefficients
from planner.errors import INPUT_ERRORS as INPUT_ERRORS
from planner.errors import InfeasibleError as InfeasibleError
from planner.errors import PlannerError as PlannerError
from planner.optimum import Many as Many
from planner.optimum import optimum as optimum
from planner.optimum import solve_many as solve_many
from planner.optimum import supervised as supervised
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
