"""Which charges a problem is worth comparing under."""

from __future__ import annotations

from planner.problem import Problem
from planner.scenarios import SCENARIOS


def charges_to_compare(problem: Problem) -> list[tuple[float, float]]:
    """The scenarios that mean something for the problem, and its own charges if they are custom."""
    charges = [each.charges for each in SCENARIOS.values()]
    if problem.teachers:  # they exist: pretraining is sunk, and inference needs a size
        sized = all(each.size is not None for each in problem.teachers)
        charges = [(i, p) for i, p in charges if p == 0 and (sized or i == 0)]
    own = (problem.charge_inference, 0.0 if problem.teachers else problem.charge_pretraining)
    return charges if own in charges else [*charges, own]
