"""The answer to `sweep`: the grid's rows as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from coefficients import CoefficientSet
from planner.questions.base import Answer
from planner.questions.sweep.grid import COLUMNS, Grid, solve_chunk
from planner.results import Coefficients


@dataclass(frozen=True, repr=False)
class Sweep(Answer):
    """One entry per problem of the grid in every column, None where there is nothing."""

    KIND: ClassVar[str] = "sweep"

    columns: Mapping[str, tuple[Any, ...]]
    tolerance: float
    coefficients: Coefficients


ANSWER = Sweep


def sweep(grid: Grid, coefficients: CoefficientSet) -> Sweep:
    """Every point of the grid, certified."""
    rows = solve_chunk(grid, range(len(grid)), coefficients)
    columns = {name: tuple(row[name] for row in rows) for name in COLUMNS}
    return Sweep(columns, grid.base.tolerance, Coefficients.of(coefficients))
