"""The table: compact, nothing cut off, and a warning that cannot be missed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.reports import Screen
from planner.reports.table import diverging, share_bar
from planner.results import Warning as PlanWarning
from tests.plans import PLANS

ANSI = "\x1b["


def table(name: str, width: int = 100, **screen: bool) -> list[str]:
    return PLANS[name]().render("table", Screen(width, **screen)).splitlines()


@pytest.mark.parametrize(("width", "lines"), [(80, 54), (100, 50), (140, 44)])
@pytest.mark.parametrize("name", PLANS)
def test_fits_one_screen(name: str, width: int, lines: int) -> None:
    """A plan is read without scrolling."""
    assert len(table(name, width)) <= lines


@pytest.mark.parametrize("width", [60, 70, 80, 100, 140])
@pytest.mark.parametrize("name", PLANS)
def test_no_number_is_cut(name: str, width: int) -> None:
    """An ellipsis would hide digits."""
    assert "…" not in "\n".join(table(name, width))


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_warning_follows_the_verdict(width: int) -> None:
    """The frame about the domain stands directly under the verdict's."""
    lines = table("extrapolated", width)
    verdict_ends = next(i for i, line in enumerate(lines) if line.startswith("╰"))

    assert lines[verdict_ends + 1].startswith("┏━ ! Outside the measured range")


def test_the_warning_stands_beside_the_verdict_where_there_is_room() -> None:
    """On a wide terminal the two frames share their first line."""
    line = next(line for line in table("extrapolated", 140) if "Verdict" in line)

    assert "Outside the measured range" in line


def test_the_warning_is_red() -> None:
    """On a terminal the frame is red from corner to corner."""
    lines = table("extrapolated", 100, colour=True)
    frame = next(line for line in lines if "┏" in line)

    assert frame.startswith("\x1b[31m┏")


def test_lesser_warnings_are_yellow() -> None:
    """Red is kept for what takes the ground from under the numbers."""
    note = PlanWarning("coefficients-disagree", "Another set predicts 0.004 nats more.")
    plan = replace(PLANS["happy"](), warnings=(note,))
    lines = plan.render("table", Screen(100, colour=True)).splitlines()

    assert next(line for line in lines if "┏" in line).startswith("\x1b[33m┏")


def test_what_left_the_domain_and_what_to_do_instead_is_said() -> None:
    """Quantity, value, range, and the best recipe inside or that there is none."""
    text = " ".join(table("extrapolated", 140))

    assert "student tokens per parameter" in text
    assert "measured 17 to 202" in text
    assert "Best recipe inside the domain: student 3B on" in text
    assert "No recipe exists inside the domain" in " ".join(table("nowhere", 140))


def test_an_open_gap_is_in_the_red_frame() -> None:
    """A recipe that is not proven does not look like one that is."""
    lines = table("gap-open")
    frame = [line for line in lines if line.startswith("┃")]

    assert any("NOT PROVEN" in line for line in frame)
    assert not any("Proven optimum" in line for line in lines)


@pytest.mark.parametrize("name", PLANS)
def test_plain_text_has_no_escape_codes_and_ascii_no_signs(name: str) -> None:
    """Pipes get text; a terminal that knows ASCII only gets ASCII."""
    assert ANSI not in "\n".join(table(name))
    assert "\n".join(table(name, unicode=False)).isascii()
    assert ANSI in "\n".join(table(name, colour=True))


def test_bars() -> None:
    """Bars are proportional to halves of a column, and never vanish above zero."""
    assert share_bar(0.5, 10) == "█" * 5
    assert share_bar(1.0, 10) == "█" * 10
    assert share_bar(1e-9, 10) == "▌"
    assert share_bar(0.0, 10) == ""
    assert diverging(-1.0, 1.0, 4) == ("━━━━", "")
    assert diverging(-0.25, 1.0, 4) == ("   ━", "")
    assert diverging(0.125, 1.0, 4) == ("    ", "╸")
    assert diverging(0.0, 0.0, 4) == ("    ", "")
