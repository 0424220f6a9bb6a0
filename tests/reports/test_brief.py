"""The brief: twenty lines at a hundred columns, the rest behind --details, a page for a meeting."""

from __future__ import annotations

from datetime import date

import pytest

from planner import Problem, solve
from planner.reports import Screen


@pytest.mark.parametrize("student", [1e9, None])
@pytest.mark.parametrize("charges", [(1, 1), (1, 0), (0, 0)])
def test_a_plan_fits_twenty_lines(student: float | None, charges: tuple[float, float]) -> None:
    """Decision, recipe, scenarios and how sure; details are more and hold the proof."""
    plan = solve(Problem(1e21, student, *charges))
    brief = plan.render("table", Screen(100))
    full = plan.render("table", Screen(100, details=True))
    assert len(brief.splitlines()) <= 20
    assert plan.verdict.headline in brief
    assert "How sure: distilling" in brief
    assert "Proven optimum" in full and "Proven optimum" not in brief


def test_the_page_for_a_meeting_says_when_and_how() -> None:
    """Markdown with the decision, the date, the version and the command."""
    plan = solve(Problem(1e21, 1e9))
    page = plan.render("brief", Screen(command="plan --budget 1e21 --student 1B"))
    assert page.startswith("## Plan for 1e21 FLOPs")
    assert f"**{plan.verdict.headline}**" in page
    assert f"Made on {date.today().isoformat()}, distillation-planner " in page
    assert "```sh\nplan --budget 1e21 --student 1B\n```" in page
