"""A sweep's results on disk: parts written whole, joined at the end, continued after a kill.

For ``out.csv`` the parts stand in the folder ``out.csv.parts``, named by number, beside the
fingerprint of the sweep they belong to. The finished file appears in one step; then the parts go.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coefficients import CoefficientSet
from planner.errors import PlannerError, require
from planner.files import FileError as FileError
from planner.files import check_folder as check_folder
from planner.files import check_suffix, whole, write_whole
from planner.questions.sweep.grid import CHUNK, COLUMNS, Grid, Row, chunks, solve_chunk

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
FINGERPRINT = "sweep.sha256"
_WORDS = ("scenario", "teacher")
_FLAGS = ("feasible", "in_domain")


class PartsError(PlannerError):
    """Parts of another sweep stand where this one's should go."""


@dataclass(frozen=True)
class Outcome:
    """What a sweep came to. `continued` counts points found from an interrupted run."""

    points: int
    infeasible: int
    largest_gap: float
    continued: int


def form_of(path: str | Path, named: str | None = None) -> str:
    """csv, jsonl or parquet by the suffix; FileError for another, MissingExtraError for pyarrow."""
    form = named or SUFFIXES[check_suffix(path, tuple(SUFFIXES), "the sweep's file")]
    if form == "parquet":
        require("pyarrow", extra="data")
    return form


def run(
    grid: Grid,
    path: str | Path,
    coefficients: CoefficientSet,
    form: str | None = None,
    chunk: int = CHUNK,
    restart: bool = False,
    progress: Callable[[int], None] = lambda points: None,
) -> Outcome:
    """Solve the grid into a file; `progress` hears of every chunk's points.

    Raises PartsError where an interrupted sweep of another grid left its parts; `restart` drops
    them.
    """
    form = form_of(path, form)
    target = check_folder(path)
    parts = target.with_name(target.name + ".parts")
    mark = grid.fingerprint(chunk, form, coefficients)
    _prepare(parts, mark, restart)
    continued, infeasible, gap = 0, 0, 0.0
    files = []
    for number, positions in enumerate(chunks(grid, chunk)):
        part = parts / f"{number:08d}.{form}"
        notes = parts / f"{number:08d}.json"
        files.append(part)
        if not (part.exists() and notes.exists()):
            rows = solve_chunk(grid, positions, coefficients)
            write_whole(part, encode(rows, form, head=False))
            write_whole(notes, json.dumps(_summary(rows)))
        else:
            continued += len(positions)
        found = json.loads(notes.read_text(encoding="utf-8"))
        infeasible += found["infeasible"]
        gap = max(gap, found["largest_gap"])
        progress(len(positions))
    _join(files, target, form)
    shutil.rmtree(parts)
    return Outcome(len(grid), infeasible, gap, continued)


def encode(rows: Sequence[Row], form: str, head: bool = True) -> bytes:
    """Rows as csv, jsonl or parquet; `head` is CSV's first line."""
    if form == "parquet":
        buffer = io.BytesIO()
        with _parquet(buffer) as writer:
            writer.write_table(_table(rows))
        return buffer.getvalue()
    if form == "jsonl":
        lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
        return ("\n".join(lines) + "\n").encode()
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if head:
        writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue().encode()


def _prepare(parts: Path, mark: str, restart: bool) -> None:
    if parts.exists() and restart:
        shutil.rmtree(parts)
    if parts.exists():
        known = parts / FINGERPRINT
        if not known.is_file() or known.read_text(encoding="utf-8") != mark:
            raise PartsError(
                f"'{parts}' holds parts of another sweep; continue that one with its own options, "
                "or drop its parts with --restart."
            )
        return
    try:
        parts.mkdir()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FileError(f"cannot write '{parts}': {reason}; choose another path.") from error
    write_whole(parts / FINGERPRINT, mark)


def _join(files: Sequence[Path], target: Path, form: str) -> None:
    with whole(target) as file:
        if form == "parquet":
            read = require("pyarrow.parquet", extra="data").read_table
            with _parquet(file) as writer:
                for part in files:
                    writer.write_table(read(part))
            return
        if form == "csv":
            file.write((",".join(COLUMNS) + "\n").encode())
        for part in files:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    gaps = [row["gap"] for row in rows if row["gap"] is not None]
    return {
        "infeasible": sum(not row["feasible"] for row in rows),
        "largest_gap": max(gaps, default=0.0),
    }


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _schema() -> Any:
    arrow = require("pyarrow", extra="data")
    kinds = {name: arrow.string() for name in _WORDS} | {name: arrow.bool_() for name in _FLAGS}
    return arrow.schema([(name, kinds.get(name, arrow.float64())) for name in COLUMNS])


def _table(rows: Sequence[Row]) -> Any:
    arrow = require("pyarrow", extra="data")
    return arrow.Table.from_pylist(list(rows), schema=_schema())


def _parquet(file: Any) -> Any:
    return require("pyarrow.parquet", extra="data").ParquetWriter(
        file, _schema(), compression="zstd"
    )
