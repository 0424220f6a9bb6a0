"""How a Plan looks: one file per format. A new format is one module and one line in FORMATS."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.plan import Plan


@dataclass(frozen=True)
class Screen:
    """Room for text: columns, whether colour shows, whether signs beyond ASCII do."""

    width: int = 100
    colour: bool = False
    unicode: bool = True


PLAIN_SCREEN = Screen()


@dataclass(frozen=True)
class Format:
    """A way to write a Plan.

    `module` has the function ``render(plan) -> str``, or ``render(plan, screen) -> str`` where
    `fits_screen` says that the room matters; it is imported when first used.
    """

    module: str
    media_type: str
    suffix: str
    fits_screen: bool = False

    def render(self, plan: Plan, screen: Screen = PLAIN_SCREEN) -> str:
        """The whole text, ending in a newline."""
        render = importlib.import_module(self.module).render
        text: str = render(plan, screen) if self.fits_screen else render(plan)
        return text


FORMATS: dict[str, Format] = {
    "table": Format("planner.reports.table", "text/plain", ".txt", fits_screen=True),
    "json": Format("planner.reports.json", "application/json", ".json"),
    "toml": Format("planner.reports.toml", "application/toml", ".toml"),
    "markdown": Format("planner.reports.markdown", "text/markdown", ".md"),
    "csv": Format("planner.reports.csv", "text/csv", ".csv"),
}
