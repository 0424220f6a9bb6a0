"""The one place that prints: results to stdout, remarks to stderr, files whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from planner.files import FileError, write_whole
from planner.reports import Screen

FALLBACK_WIDTH = 100
NARROWEST, WIDEST = 60, 140


def result(text: str) -> None:
    """A command's answer, to stdout."""
    click.echo(text, nl=not text.endswith("\n"), color=True)


def remark(text: str, colour: str | None = None) -> None:
    """Something about the answer, to stderr; `colour` shows on a terminal only."""
    styled = click.style(text, fg=colour) if colour and _coloured(sys.stderr) else text
    click.echo(styled, err=True, color=True)


def screen() -> Screen:
    """What stdout can show: its width, colour on a terminal unless NO_COLOR is set, its signs."""
    columns = shutil.get_terminal_size((FALLBACK_WIDTH, 50)).columns
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return Screen(
        width=min(max(columns, NARROWEST), WIDEST),
        colour=_coloured(sys.stdout),
        unicode=encoding.startswith("utf"),
    )


def write_file(path: str, text: str) -> None:
    """Put `text` at `path`: an existing file is replaced only by a complete one.

    Pipes and devices are written directly. Raises FileError with one sentence otherwise.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir() or target.is_file() or not target.exists():
        write_whole(path, text)
        return
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"cannot write '{path}': {reason}; choose another path.") from error


def _coloured(stream: object) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty())
