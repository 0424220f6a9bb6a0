"""Where a command's result goes: its format, a file or stdout, and the remarks beside it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from planner.cli import console
from planner.errors import ProblemError
from planner.reports import FORMATS, PLAIN_SCREEN, Screen
from planner.reports.sheet import texts

if TYPE_CHECKING:
    from planner.reports.report import Report
    from planner.reports.sheet import Sheet


@dataclass(frozen=True)
class Output:
    """What --format, --output, --details and --quiet say."""

    format: str
    path: str | None = None
    details: bool = False
    quiet: bool = False

    @classmethod
    def choose(
        cls,
        formats: Collection[str],
        default: str,
        format_name: str | None,
        quiet: bool,
        path: str | None = None,
        details: bool = False,
    ) -> Output:
        """The format asked for, else the one of FILE's suffix, else the default; "-" is stdout.

        Raises ProblemError for a suffix of no format, or of another than the one asked for.
        """
        path = None if path == "-" else path
        suffix = Path(path).suffix.lower() if path is not None else ""
        by_suffix = {FORMATS[name].suffix: name for name in formats}
        shown = by_suffix.get(suffix)
        if suffix and shown is None and format_name is None:
            raise ProblemError(
                f"no format has the suffix of '{path}'; name one with --format, or end the file in "
                f"{', '.join(by_suffix)}."
            )
        if shown and format_name and FORMATS[shown].media_type != FORMATS[format_name].media_type:
            raise ProblemError(
                f"'{path}' is named like {shown}, but --format is {format_name}; change one of "
                "them."
            )
        return cls(format_name or shown or default, path, details, quiet)

    @property
    def screen(self) -> Screen:
        """Room for a table: the terminal's, or plain text of 100 columns in a file."""
        screen = console.screen() if self.path is None else PLAIN_SCREEN
        context = click.get_current_context(silent=True)
        typed = context.find_object(str) if context is not None else None
        return replace(screen, details=self.details, command=typed or "")

    def answer(self, answer: Report) -> None:
        """Write a result in the chosen format, its warnings on stderr if the format hides them."""
        self.write(answer.render(self.format, self.screen))
        if self.hides_warnings:
            self.warn(answer.sheet())

    @property
    def hides_warnings(self) -> bool:
        """Whether nobody sees the warnings of what was written."""
        return not FORMATS[self.format].shows_warnings or self.path is not None

    def warn(self, sheet: Sheet) -> None:
        """Say a result's warnings on stderr."""
        for text in texts(sheet.warnings):
            self.remark(f"Warning: {text}", "yellow")

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
