"""How a sheet looks: one file per format. A new format is one module and one line in FORMATS."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.errors import ProblemError

if TYPE_CHECKING:
    from planner.reports.sheet import Sheet


@dataclass(frozen=True)
class Screen:
    """Room for text: columns, whether colour shows, whether signs beyond ASCII do.

    details: everything, not the brief alone. command: what was typed, for a page to hand on.
    """

    width: int = 100
    colour: bool = False
    unicode: bool = True
    details: bool = False
    command: str = ""


PLAIN_SCREEN = Screen()


@dataclass(frozen=True)
class Format:
    """A way to write a sheet: the function ``render(sheet, screen) -> str`` of a module."""

    module: str
    media_type: str
    suffix: str
    shows_warnings: bool = False
    """Whether a person who reads it cannot miss the warnings."""


FORMATS: Mapping[str, Format] = {
    "table": Format("planner.reports.table", "text/plain", ".txt", shows_warnings=True),
    "json": Format("planner.reports.json", "application/json", ".json"),
    "toml": Format("planner.reports.toml", "application/toml", ".toml"),
    "markdown": Format("planner.reports.markdown", "text/markdown", ".md"),
    "brief": Format("planner.reports.brief", "text/markdown", ".brief.md", shows_warnings=True),
    "csv": Format("planner.reports.csv", "text/csv", ".csv"),
    "html": Format("planner.reports.html", "text/html", ".html"),
    "text": Format("planner.reports.text", "text/plain", ".log"),
}


def render(sheet: Sheet, form: str, screen: Screen = PLAIN_SCREEN) -> str:
    """The whole text of a sheet in one of FORMATS, ending in a newline."""
    if form not in FORMATS:
        raise ProblemError(f"unknown format '{form}'; known: {', '.join(FORMATS)}.")
    from planner.reports.sheet import selected

    shown = selected(sheet, screen.details)
    text: str = importlib.import_module(FORMATS[form].module).render(shown, screen)
    return text
