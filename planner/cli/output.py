"""Where a command's result goes: its format, a file or stdout, and the remarks beside it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli import console
from planner.reports import FORMATS, PLAIN_SCREEN, Screen

if TYPE_CHECKING:
    from planner.plan import Plan


@dataclass(frozen=True)
class Output:
    """What --format, --output and --quiet say."""

    format: str
    path: str | None = None
    quiet: bool = False

    @classmethod
    def choose(
        cls,
        formats: Collection[str],
        default: str,
        format_name: str | None,
        path: str | None,
        quiet: bool,
    ) -> Output:
        """The format asked for, else the one of FILE's suffix, else the default; "-" is stdout."""
        path = None if path == "-" else path
        if format_name is None and path is not None:
            suffix = Path(path).suffix.lower()
            by_suffix = {FORMATS[name].suffix: name for name in formats if name in FORMATS}
            format_name = by_suffix.get(suffix)
        return cls(format_name or default, path, quiet)

    @property
    def screen(self) -> Screen:
        """Room for a table: the terminal's, or plain text of 100 columns in a file."""
        return console.screen() if self.path is None else PLAIN_SCREEN

    def plan(self, plan: Plan, more: str = "") -> None:
        """Write a plan in the chosen format, with its warnings on stderr if no table shows them.

        `more` is text of the same format that follows the plan.
        """
        text = FORMATS[self.format].render(plan, self.screen)
        self.write(f"{text}\n{more}" if more else text)
        if self.format != "table" or self.path is not None:
            for warning in plan.warnings:
                self.remark(f"Warning: {warning.text}", "yellow")

    def write(self, text: str) -> None:
        """Write any result: to the file, whole or not at all, or to stdout."""
        if self.path is None:
            console.result(text)
        else:
            console.write_file(self.path, text if text.endswith("\n") else text + "\n")
            self.remark(f"Wrote {self.path}")

    def remark(self, text: str, colour: str | None = None) -> None:
        """Say something on stderr unless --quiet."""
        if not self.quiet:
            console.remark(text, colour)
