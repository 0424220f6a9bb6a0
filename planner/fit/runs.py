"""Reads measured runs from CSV, JSON lines or Parquet, and lists everything wrong with them.

Columns (aliases in `ALIASES`): parameters, tokens, cross_entropy; for distillations also
teacher_cross_entropy; optional `group` for runs that share their noise, and training_flops, from
which missing tokens follow as FLOPs / (6 N). Counts may be written with units (1.3B, 26 billion).
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from laws._types import Array
from planner import units
from planner.errors import DocumentError, QuantityError, require
from planner.fit.rows import Rows

ALIASES: dict[str, tuple[str, ...]] = {
    "parameters": (
        "student_parameters", "parameters", "params", "n", "n_s", "n_params",
        "non_embedding_parameters", "student_params", "student_size", "model_size", "size",
        "num_params", "num_parameters", "non_embedding_params", "n_nonemb", "n_non_embedding",
        "params_non_embedding", "parameters_non_embedding",
    ),
    "tokens": (
        "student_tokens", "tokens", "d", "d_s", "n_tokens", "training_tokens",
        "distillation_tokens", "train_tokens", "num_tokens",
    ),
    "loss": (
        "student_cross_entropy", "cross_entropy", "loss", "l", "l_s", "student_loss", "eval_loss",
        "val_loss", "validation_loss", "final_loss", "test_loss", "train_loss", "ce", "ce_loss",
        "nll",
    ),
    "teacher_loss": (
        "teacher_cross_entropy", "teacher_loss", "l_t", "teacher_eval_loss", "teacher_val_loss",
    ),
    "group": ("group", "sweep", "seed_group"),
    "training_flops": ("training_flops", "flops", "compute", "c"),
    "cost": ("cost", "cost_flops"),
    "unique_tokens": ("unique_tokens", "d_u", "u_d", "unique_training_tokens", "distinct_tokens"),
}  # fmt: skip
"""Accepted column names, letter case and blanks aside; the first is the one to prefer."""

_PLAUSIBLE = {
    "parameters": (1e3, 1e14, "parameters", "millions or billions"),
    "tokens": (1e3, 1e17, "tokens", "millions or billions"),
    "loss": (1e-3, 20.0, "nats per token", "perplexities or bits"),
    "teacher_loss": (1e-3, 20.0, "nats per token", "perplexities or bits"),
}
_OTHER_UNITS = {
    "bpb": "bits per byte: multiply by ln 2 times the bytes per token",
    "bits_per_byte": "bits per byte: multiply by ln 2 times the bytes per token",
    "bits_per_token": "bits per token: multiply by ln 2 = 0.6931",
    "bits": "bits: multiply by ln 2 = 0.6931",
    "perplexity": "perplexities: take the natural logarithm",
    "ppl": "perplexities: take the natural logarithm",
}
"""Names of columns that hold a loss in another unit, and the way to nats per token."""
_WORDS = {
    "parameters": ("param", "size", "model"),
    "tokens": ("token", "data"),
    "loss": ("loss", "entropy", "ce"),
    "teacher_loss": ("teacher",),
}
"""Parts of names that suggest a quantity."""
_UPSIDE_DOWN = 0.95  # students at this share of their teacher's loss: none was ever measured
_FLOPS = (0.6, 2.0)
"""Training FLOPs over 6 N D that some way of counting gives: attention and embeddings add."""
_BESIDE = {"cost", "group", "training_flops", "unique_tokens"}
_RATIO = (1e-3, 1e7)  # tokens per parameter beyond which a unit was mixed up
_GUESSING, _TRAINED = 9.0, 1e8  # nats that no model has after so many tokens
_SPREAD = 1e6  # a size this far from the column's median has another unit


@dataclass(frozen=True)
class Runs:
    """Runs read from a file: the rows, the file's hash, and the line of each row."""

    rows: Rows
    path: str
    sha256: str
    lines: tuple[int, ...]
    group_names: tuple[str, ...] = ()
    costs: Array | None = None
    remarks: tuple[str, ...] = ()
    """What the reader left out or found odd, one sentence each."""


def read_runs(
    path: str | Path, distillation: bool, allow_duplicates: bool = False, measured: bool = True
) -> Runs:
    """Runs from a file; DocumentError lists every problem with row and column.

    Rows are named by their line in CSV and JSON lines files, by their number in Parquet. Candidates
    that were not run yet (`measured` false) need no loss and get a placeholder of 1 nat.
    """
    return parse_runs(_content(Path(path)), str(path), distillation, allow_duplicates, measured)


def read_columns(path: str | Path) -> tuple[bool, list[dict[str, Any]]]:
    """Whether a file of runs has a column of teachers' losses, and its rows as they are written."""
    path = Path(path)
    header, records, _ = _records(path, _content(path))
    taught = any(_plain(name) in ALIASES["teacher_loss"] for name in header)
    return taught, [dict(record) for _, record in records]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DocumentError(f"Runs file '{path}' cannot be read: {error.strerror}.") from error


def parse_runs(
    content: bytes,
    name: str,
    distillation: bool,
    allow_duplicates: bool = False,
    measured: bool = True,
) -> Runs:
    """The same for a file's content; `name` only tells its kind by the suffix, and is reported."""
    path = Path(name)
    header, records, said = _records(path, content)
    checker = _Checker(path, header, distillation, measured)
    rows, lines, names = checker.read(records, allow_duplicates)
    digest = hashlib.sha256(content).hexdigest()
    remarks = (*said, *checker.remarks(rows, records))
    return Runs(rows, name, digest, lines, names, checker.costs, remarks)


Record = tuple[int, Mapping[str, Any]]
Table = tuple[list[str], list[Record], tuple[str, ...]]
"""Names of columns, rows with their numbers, and remarks."""


def _records(path: Path, content: bytes) -> Table:
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _parquet(path, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"Runs file '{path}' is not UTF-8 text (byte {error.start}); save it as UTF-8, or use "
            "the suffix .parquet for a Parquet file."
        ) from error
    if kind in (".jsonl", ".ndjson", ".json"):
        return _json_lines(path, text)
    return _csv(path, text)


def _csv(path: Path, text: str) -> Table:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] = []
    records: list[Record] = []
    problems, blank, comments = [], 0, []
    for cells in _cells(path, reader):
        if not any(cell.strip() for cell in cells):
            blank += bool(header)
            continue
        if cells[0].startswith("#"):
            comments += [reader.line_num] if header else []
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            continue
        if len(cells) != len(header):
            problems.append(
                f"row {reader.line_num}: {len(cells)} cells, but the header names {len(header)}"
            )
            continue
        records.append((reader.line_num, dict(zip(header, cells, strict=True))))
    if problems:
        raise DocumentError(f"Runs file '{path}' has {len(problems)} problem(s):", problems)
    said = []
    if comments:
        which = ", ".join(map(str, comments[:5])) + (", ..." if len(comments) > 5 else "")
        said.append(f"{len(comments)} row(s) left out as comments (they begin with #): {which}.")
    if blank:
        said.append(f"{blank} blank row(s) left out.")
    if delimiter != "," and _decimal_commas(records):
        records = [(n, {k: _point(v) for k, v in row.items()}) for n, row in records]
        said.append("Numbers were read with decimal commas (2,07 is 2.07 and 1.300 is 1300).")
    return header, records, tuple(said)


_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d+)?")
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


def _decimal_commas(records: Sequence[Record]) -> bool:
    """Whether some number has a comma that cannot separate thousands."""
    cells = (str(cell).strip() for _, row in records for cell in row.values())
    return any(_COMMA.fullmatch(cell) and not _THOUSANDS.fullmatch(cell) for cell in cells)


def _point(cell: str) -> str:
    """A number with a decimal comma as one with a point; other cells as they are."""
    text = cell.strip()
    if _GROUPED.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    return text.replace(",", ".") if _COMMA.fullmatch(text) else cell


def _cells(path: Path, reader: Any) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DocumentError(
            f"Runs file '{path}', row {reader.line_num}: not CSV ({error})."
        ) from error


def _json_lines(path: Path, text: str) -> Table:
    records: list[Record] = []
    problems = []
    header: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"row {number}: not JSON ({error.msg} at column {error.colno})")
            continue
        except RecursionError:
            problems.append(f"row {number}: nested too deeply to be a run")
            continue
        if not isinstance(entry, dict):
            problems.append(f"row {number}: must be an object with one key per column")
            continue
        header |= dict.fromkeys(entry)
        records.append((number, entry))
    if problems:
        raise DocumentError(f"Runs file '{path}' has {len(problems)} problem(s):", problems)
    return list(header), records, ()


def _parquet(path: Path, content: bytes) -> Table:
    parquet = require("pyarrow.parquet", extra="data")
    pyarrow = require("pyarrow", extra="data")
    try:
        table = parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DocumentError(f"Runs file '{path}' is not a Parquet file: {error}.") from error
    return list(table.column_names), list(enumerate(table.to_pylist(), start=1)), ()


class _Checker:
    """Turns records into rows and remembers every problem instead of stopping at the first."""

    def __init__(
        self, path: Path, header: Sequence[str], distillation: bool, measured: bool
    ) -> None:
        self.path, self.header, self.distillation = path, list(header), distillation
        self.quantities = ["parameters", "tokens"]
        self.quantities += ["loss"] if measured else []
        self.quantities += ["teacher_loss"] if distillation else []
        self.costs: Array | None = None
        self.problems: list[str] = []
        self.columns = self._find_columns()

    def _find_columns(self) -> dict[str, str]:
        found: dict[str, str] = {}
        plain = {name: _plain(name) for name in self.header}
        for quantity, aliases in ALIASES.items():
            matches = [name for name in self.header if plain[name] in aliases]
            if len(matches) > 1:
                matches.sort(key=lambda name: aliases.index(plain[name]))
                if quantity in ("parameters", "tokens", "loss", "teacher_loss"):
                    self.problems.append(
                        f"columns {', '.join(matches)}: all name the same quantity; keep one"
                    )
            if matches:
                found[quantity] = matches[0]
        for quantity in self.quantities:
            if quantity in found or (quantity == "tokens" and "training_flops" in found):
                continue
            wanted = _preferred(quantity, self.distillation)
            self.problems.append(
                f"column {wanted}: missing{self._hint(quantity, wanted, found)}; also read as "
                f"{', '.join(name for name in ALIASES[quantity] if name != wanted)}"
            )
        return found

    def _hint(self, quantity: str, wanted: str, found: Mapping[str, str]) -> str:
        """Which of the columns that nothing else claims may be the one that is missing."""
        claimed = {*found.values()}
        claimed |= {n for n in self.header if any(_plain(n) in a for a in ALIASES.values())}
        left = [name for name in self.header if name not in claimed]
        if quantity == "loss":
            for name in left:
                if (unit := _OTHER_UNITS.get(_plain(name))) is not None:
                    return f" ('{name}' holds {unit} and call the column {wanted})"
        near = difflib.get_close_matches(wanted, left, n=1, cutoff=0.6)
        near += [n for n in left if any(word in _plain(n) for word in _WORDS[quantity])]
        return f" (is it '{near[0]}'?)" if near else ""

    def remarks(self, rows: Rows, records: Sequence[Record]) -> tuple[str, ...]:
        """Columns that nothing reads, and FLOPs that contradict sizes and tokens."""
        used = {*self.columns.values()}
        unread = [name for name in self.header if name and name not in used]
        found = [f"Columns not read: {', '.join(unread)}."] if unread else []
        if "training_flops" in self.columns and "tokens" in self.columns:
            name = self.columns["training_flops"]
            counted = [_float(record.get(name)) for _, record in records]
            ratio = float(np.nanmedian(counted / (6.0 * rows.parameters * rows.tokens)))
            if not np.isnan(ratio) and not _FLOPS[0] <= ratio <= _FLOPS[1]:
                found.append(
                    f"CHECK THE COLUMNS: {name} is in the middle {ratio:.3g} times 6 N D of the "
                    "same rows; one of the three columns has another unit (the fit reads sizes "
                    "and tokens only)."
                )
        return tuple(found)

    def read(
        self, records: Sequence[Record], allow_duplicates: bool
    ) -> tuple[Rows, tuple[int, ...], tuple[str, ...]]:
        if self.problems:
            self._fail()
        if not records:
            raise DocumentError(f"Runs file '{self.path}' holds no runs.")
        values = {name: np.full(len(records), np.nan) for name in self.quantities}
        if "cost" in self.columns:
            self.costs = np.full(len(records), np.nan)
        labels: list[str] = []
        repeats = "unique_tokens" in self.columns
        unique = np.full(len(records), np.nan) if repeats else None
        for index, (row, record) in enumerate(records):
            if unique is not None:
                seen = self._number(row, record, "unique_tokens")
                unique[index] = math.nan if seen is None else seen
            for quantity in values:
                number = self._value(row, record, quantity)
                if number is not None:
                    values[quantity][index] = number
            if self.costs is not None:
                cost = self._number(row, record, "cost")
                self.costs[index] = math.nan if cost is None else cost
            if "group" in self.columns:
                labels.append(str(record.get(self.columns["group"], "")))
        lines = tuple(row for row, _ in records)
        self._compare(values, lines)
        self._guesses(values, lines)
        self._upside_down(values)
        if not allow_duplicates:
            self._duplicates({**values, **({} if unique is None else {"unique": unique})}, lines)
        if self.problems:
            self._fail()
        names, group = sorted(set(labels)), None
        if labels:
            group = np.array([names.index(label) for label in labels])
        rows = Rows(
            values["parameters"], values["tokens"],
            values.get("loss", np.ones(len(records))), values.get("teacher_loss"), group,
            None if unique is None else np.minimum(unique, values["tokens"]),
        )  # fmt: skip
        return rows, lines, tuple(names)

    def _value(self, row: int, record: Mapping[str, Any], quantity: str) -> float | None:
        if quantity == "tokens" and "tokens" not in self.columns:
            flops = self._number(row, record, "training_flops")
            size = self._number(row, record, "parameters")
            return None if flops is None or size is None else flops / (6.0 * size)
        value = self._number(row, record, quantity)
        if value is None:
            return None
        low, high, unit, mistake = _PLAUSIBLE[quantity]
        if not low <= value <= high:
            self._note(row, quantity, f"{value:g} {unit} cannot be; were {mistake} written?")
            return None
        return value

    def _number(self, row: int, record: Mapping[str, Any], quantity: str) -> float | None:
        cell = record.get(self.columns[quantity])
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            self._note(row, quantity, "empty")
            return None
        if isinstance(cell, bool):  # JSON's true is no 1
            self._note(row, quantity, f"{str(cell).lower()} is not a number")
            return None
        if isinstance(cell, float) and math.isnan(cell):
            self._note(row, quantity, "NaN is not a measurement")
            return None
        try:
            if quantity in ("parameters", "tokens", "unique_tokens"):
                return units.parse_count(cell, "value")
            if quantity in ("training_flops", "cost"):
                return units.parse_flops(cell, "value")
            return units.check_positive(units.parse_plain(cell, "value"), "value", cell)
        except QuantityError as error:
            self._note(row, quantity, str(error).rstrip("."))
            return None

    def _compare(self, values: Mapping[str, Any], lines: Sequence[int]) -> None:
        """Units that differ from row to row."""
        suspects: set[int] = set()
        for quantity in ("parameters", "tokens"):
            column = values[quantity]
            centre = np.nanmedian(column) if np.isfinite(column).any() else math.nan
            for index in map(
                int, np.flatnonzero(np.abs(np.log(column / centre)) > math.log(_SPREAD))
            ):
                suspects.add(index)
                self._note(
                    lines[index],
                    quantity,
                    f"{column[index]:g} is {column[index] / centre:.1g} times the column's "
                    f"median {centre:.3g}; is the unit the same?",
                )
        ratio = values["tokens"] / values["parameters"]
        for index in map(int, np.flatnonzero((ratio < _RATIO[0]) | (ratio > _RATIO[1]))):
            if index not in suspects:
                self._note(
                    lines[index], "tokens",
                    f"{ratio[index]:.3g} tokens per parameter cannot be; are tokens and parameters "
                    "in the same unit?",
                )  # fmt: skip

    def _guesses(self, values: Mapping[str, Any], lines: Sequence[int]) -> None:
        """Losses that a trained model cannot have: no better than drawing tokens blindly."""
        for quantity in ("loss", "teacher_loss"):
            if quantity not in values:
                continue
            blind = (values[quantity] >= _GUESSING) & (values["tokens"] >= _TRAINED)
            for index in map(int, np.flatnonzero(blind)):
                self._note(
                    lines[index], quantity,
                    f"{values[quantity][index]:g} nats per token after "
                    f"{units.format_count(values['tokens'][index])} tokens is no better than "
                    "guessing (a uniform guess among 32,000 tokens has 10.4); were perplexities "
                    "written?",
                )  # fmt: skip

    def _upside_down(self, values: Mapping[str, Any]) -> None:
        """Students far better than their teachers, in most rows: the columns are no such thing."""
        if "loss" not in values or "teacher_loss" not in values:
            return
        with np.errstate(invalid="ignore"):
            below = values["loss"] < _UPSIDE_DOWN * values["teacher_loss"]
        if 2 * int(below.sum()) > below.size:
            student, teacher = self.columns["loss"], self.columns["teacher_loss"]
            self.problems.append(
                f"columns {student} and {teacher}: {int(below.sum())} of {below.size} students "
                f"beat their teacher by over {1 - _UPSIDE_DOWN:.0%}, which has never been "
                "measured; are the two columns swapped, or the teachers' losses in bits (multiply "
                "by 0.6931) or of another tokenizer?"
            )

    def _duplicates(self, values: Mapping[str, Any], lines: Sequence[int]) -> None:
        seen: dict[tuple[float, ...], int] = {}
        for index, line in enumerate(lines):
            key = tuple(float(column[index]) for column in values.values())
            if any(math.isnan(value) for value in key):
                continue
            if key in seen:
                self.problems.append(
                    f"row {line}, all columns: the same run as row {seen[key]}; remove it, or use "
                    "--allow-duplicates if it was measured twice"
                )
            seen.setdefault(key, line)

    def _note(self, row: int, quantity: str, text: str) -> None:
        self.problems.append(f"row {row}, column {self.columns.get(quantity, quantity)}: {text}")

    def _fail(self) -> None:
        raise DocumentError(
            f"Runs file '{self.path}' has {len(self.problems)} problem(s):", self.problems
        )


def _plain(name: str) -> str:
    """Lower case, words joined by one underscore; "N (non-embedding)" is n_non_embedding."""
    return "_".join(re.findall(r"[a-z0-9.]+", name.lower()))


def _float(cell: Any) -> float:
    try:
        return float(units.parse_flops(cell, "value"))
    except (QuantityError, TypeError):
        return math.nan


def _preferred(quantity: str, distillation: bool) -> str:
    own = ALIASES[quantity]
    return own[0] if distillation or quantity == "teacher_loss" else own[1]
