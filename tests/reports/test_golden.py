"""Every report of every kind of plan, as whole text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from planner.reports import FORMATS, Screen
from tests.plans import PLANS

Golden = Callable[[str, str], None]


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("plan", PLANS)
def test_every_format_of_every_plan(
    plan: str, format_name: str, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report changes only when somebody means it to, and not with the day or the version."""
    monkeypatch.setattr("planner.reports.brief.made", lambda: "2026-01-01, distillation-planner 0")
    golden(f"{plan}{FORMATS[format_name].suffix}", PLANS[plan]().render(format_name))


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("plan", PLANS)
def test_tables_at_other_widths(plan: str, width: int, golden: Golden) -> None:
    """Narrow and wide terminals have layouts of their own."""
    golden(f"{plan}.{width}.txt", PLANS[plan]().render("table", Screen(width)))


@pytest.mark.parametrize("plan", PLANS)
def test_all_details(plan: str, golden: Golden) -> None:
    """What --details adds."""
    golden(f"{plan}.details.txt", PLANS[plan]().render("table", Screen(details=True)))


def test_table_in_colour(golden: Golden) -> None:
    """Colours are where they are meant to be."""
    text = PLANS["extrapolated"]().render("table", Screen(100, colour=True))
    golden("extrapolated.colour.txt", text)


@pytest.mark.parametrize("plan", PLANS)
def test_a_prompt_and_a_notebook_show_text_and_html(plan: str) -> None:
    """What Python and Jupyter ask a value for."""
    found = PLANS[plan]()

    assert repr(found) + "\n" == found.render("text")
    assert found._repr_html_() == found.render("html")
