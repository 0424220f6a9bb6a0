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


@pytest.mark.parametrize(("width", "lines"), [(80, 56), (100, 52), (140, 44)])
@pytest.mark.parametrize("name", PLANS)
def test_fits_one_screen(name: str, width: int, lines: int) -> None:
    """A plan is read without scrolling, and its brief on a small terminal."""
    assert len(table(name, width)) <= 24
    assert len(table(name, width, details=True)) <= lines


@pytest.mark.parametrize("width", [60, 70, 80, 100, 140])
@pytest.mark.parametrize("name", PLANS)
def test_no_number_is_cut(name: str, width: int) -> None:
    """An ellipsis would hide digits."""
    assert "…" not in "\n".join(table(name, width))
    assert "…" not in "\n".join(table(name, width, details=True))


@pytest.mark.parametrize("width", [60, 80, 100])
def test_warnings_stand_directly_under_the_verdict(width: int) -> None:
    """One line in the brief for all quantities out of range, a frame among the details."""
    for details, begins in (
        (False, " ! Optimum outside the measured range: student tokens per"),
        (True, "┏━ ! Outside the measured range"),
    ):
        lines = table("extrapolated", width, details=details)
        verdict_ends = next(i for i, line in enumerate(lines) if line.startswith("╰"))
        assert lines[verdict_ends + 1].startswith(begins)


@pytest.mark.parametrize("details", [False, True])
def test_the_headline_says_that_the_optimum_was_not_measured(details: bool) -> None:
    """The frame's own title holds the qualification, before any number."""
    assert "Inside the measured range" in table("extrapolated", details=details)[1 + details]
    assert "Not measured here" in table("nowhere", details=details)[1 + details]


@pytest.mark.parametrize(("details", "begins"), [(False, " \x1b[31m! "), (True, "\x1b[31m┏")])
def test_warnings_about_the_domain_are_red(details: bool, begins: str) -> None:
    """On a terminal, from corner to corner."""
    lines = table("extrapolated", 100, colour=True, details=details)

    assert any(line.startswith(begins) for line in lines)


@pytest.mark.parametrize(("details", "begins"), [(False, " \x1b[33m! "), (True, "\x1b[33m┏")])
def test_lesser_warnings_are_yellow(details: bool, begins: str) -> None:
    """Red is kept for what takes the ground from under the numbers."""
    note = PlanWarning("coefficients-disagree", "Another set predicts 0.004 nats more.")
    plan = replace(PLANS["happy"](), warnings=(note,))
    lines = plan.render("table", Screen(100, colour=True, details=details)).splitlines()

    assert any(line.startswith(begins) for line in lines)
    assert not any("\x1b[31m!" in line or "\x1b[31m┏" in line for line in lines)


def test_what_left_the_domain_and_what_to_do_instead_is_said() -> None:
    """Quantity, value, range, and the best recipe inside or that there is none."""
    brief = " ".join(table("extrapolated", 140))
    text = " ".join(table("extrapolated", 140, details=True))

    assert "student tokens per parameter 1.71 (9.95×)" in brief
    assert "student tokens per parameter" in text
    assert "measured 17 to 202" in text
    assert "Nothing inside the measured range" in " ".join(table("nowhere", 140))


def test_an_open_gap_is_a_warning() -> None:
    """A recipe that is not proven does not look like one that is."""
    frame = [line for line in table("gap-open", details=True) if line.startswith("┃")]

    assert any("NOT PROVEN" in line for line in frame)
    for details in (False, True):
        lines = table("gap-open", details=details)
        assert any(("!" in line or "┃" in line) and "PROVEN" in line for line in lines)
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
