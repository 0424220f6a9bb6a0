"""Existing teachers from a TOML file: the shipped catalogue of open models, or one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli

from planner.errors import DocumentError, PlannerError
from planner.models import models
from planner.problem import Teacher

SHIPPED = "catalogue"
KEYS = ("name", "size", "tokens", "loss", "counts", "source")
COUNTS = ("non-embedding", "total")


@dataclass(frozen=True)
class Entry:
    """A teacher and where its numbers come from. `counts` says what its size counts."""

    teacher: Teacher
    counts: str = "non-embedding"
    source: str = ""

    @property
    def name(self) -> str:
        """Its name, or what is known of it."""
        return self.teacher.name or str(self.teacher)

    @property
    def estimated(self) -> bool:
        """Whether its loss is the law's estimate rather than measured."""
        return self.teacher.loss is None


def catalogue(context: int = 4096) -> tuple[Entry, ...]:
    """The shipped open models whose loss the law can estimate: dense, with published tokens."""
    return tuple(
        Entry(Teacher(**each.as_teacher(context=context)), source=each.source)
        for each in models()
        if each.tokens is not None and not each.mixture
    )


def load(path: str, context: int | None = None) -> tuple[Entry, ...]:
    """Teachers of a TOML file with [[teacher]] tables, or the shipped ones for "catalogue".

    context: at which the shipped ones' FLOPs count attention; 4,096 unless given.

    Raises DocumentError listing every fault.
    """
    if path == SHIPPED:
        return catalogue() if context is None else catalogue(context)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DocumentError(
            f"cannot read the teachers' file '{path}': {reason}; give a TOML file with [[teacher]] "
            f"tables, or '{SHIPPED}'."
        ) from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"'{path}' is not a text file in UTF-8; give a TOML file.") from error
    return parse(text, f"'{path}'")


def parse(text: str, what: str) -> tuple[Entry, ...]:
    """Teachers of TOML text; DocumentError listing every fault."""
    try:
        document = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise DocumentError(f"{what} is not TOML: {error}.") from error
    tables = document.get("teacher")
    if not isinstance(tables, list) or not tables or set(document) != {"teacher"}:
        raise DocumentError(
            f"{what} must hold [[teacher]] tables and nothing else, each with name, size and "
            "tokens or loss."
        )
    entries, faults, names = [], [], set()
    for position, table in enumerate(tables, 1):
        try:
            entry = _entry(table)
        except PlannerError as error:
            faults.append(f"teacher {position}: {error}")
            continue
        if entry.teacher.name and entry.teacher.name in names:
            faults.append(f"teacher {position}: the name '{entry.teacher.name}' is taken.")
        names.add(entry.teacher.name)
        entries.append(entry)
    if faults:
        raise DocumentError(f"{what} has {len(faults)} wrong teacher(s):", faults)
    return tuple(entries)


def _entry(table: Any) -> Entry:
    if not isinstance(table, Mapping):
        raise DocumentError("it is not a table.")
    for key in table:
        if key not in KEYS:
            raise DocumentError(f"unknown key '{key}'; known: {', '.join(KEYS)}.")
    counts = str(table.get("counts", COUNTS[0]))
    if counts not in COUNTS:
        raise DocumentError(f"counts is '{counts}'; it must be {' or '.join(COUNTS)}.")
    known = {key: table[key] for key in ("name", "size", "tokens", "loss") if key in table}
    return Entry(Teacher.from_mapping(known), counts, str(table.get("source", "")))
