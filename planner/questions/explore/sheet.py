"""An exploration as a sheet: that of its plan."""

from __future__ import annotations

from planner.questions.explore.answer import Exploration
from planner.reports.sheet import Sheet


def sheet(found: Exploration) -> Sheet:
    """The plan's sheet; the charts are in JSON."""
    if found.plan is not None:
        return found.plan.sheet()
    return Sheet(kind="explore", title="Charts around a plan", verdict="The arrays are in JSON.")
