"""A sweep as a sheet: the grid in numbers, every point in CSV."""

from __future__ import annotations

from planner import units
from planner.questions.sweep.answer import Sweep
from planner.questions.sweep.grid import COLUMNS
from planner.reports.sheet import Grid, Sheet
from planner.reports.words import NOTHING, count, signed

SHOWN = 40
"""Rows of the table; every point is in CSV and JSON."""


def sheet(found: Sweep) -> Sheet:
    """How many plans there are, how many beat supervised training, and the first rows."""
    points = len(found.columns["budget"])
    rows = [{name: found.columns[name][i] for name in COLUMNS} for i in range(points)]
    solved = [row for row in rows if row["feasible"]]
    wins = sum(row["difference"] is not None and row["difference"] < 0 for row in solved)
    cells = tuple(
        (
            units.format_flops(row["budget"]),
            row["scenario"],
            count(row["student_parameters"]),
            count(row["student_tokens"]),
            NOTHING if row["cross_entropy"] is None else units.format_loss(row["cross_entropy"]),
            signed(row["difference"]),
        )
        for row in rows[:SHOWN]
    )
    outside = sum(not row["in_domain"] for row in solved)
    head = ("Budget", "Scenario", "Student", "Its tokens", "Loss", "vs supervised")
    return Sheet(
        kind="sweep",
        title=f"{points:,} plans",
        verdict=f"{len(solved):,} of {points:,} have a plan; {wins:,} of them beat supervised "
        "training of the same budget.",
        grids=(Grid("" if points <= SHOWN else f"The first {SHOWN}", head, cells, left=(1,)),),
        warnings=(f"{outside:,} plans lie outside the measured range.",) if outside else (),
        rows=tuple(rows),
    )
