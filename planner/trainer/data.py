"""Tokens: a byte-level BPE tokenizer, disjoint splits in memory-mapped shards, a stateless sampler.

A corpus is tokenised once. The split of a document follows from a hash of its text, so the
teacher's, the student's and the validation tokens are disjoint by construction, repeated documents
included, whatever the order in which they arrive.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.errors import PlannerError, require
from planner.trainer import corpora
from planner.trainer.files import (
    StorageError,
    checksum,
    exclusive,
    read_json,
    storage,
    undamaged,
    verify,
    write_directory,
    write_file,
    write_json,
)

SPLITS = ("teacher", "student", "validation")
END = "<|endoftext|>"  # closes every document
PART_CHARACTERS = 1 << 28  # text that is tokenised at once: what a kill can cost
GROUP = 512  # documents that the tokenizer's threads share
NGRAM = 13  # words; documents that share more than NEAR of theirs are near-duplicates
NEAR = 0.1
FORMAT = 3  # of the shards and of how corpora are cut into documents: part of the cache's key
TRAINING_CHARACTERS = 1 << 26  # text that a tokenizer is trained on, at most
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class DataSpec:
    """Which text, cut how. `tokenizer` is None (train one of `vocabulary` entries on the corpus),
    the path of a tokenizer.json or of a directory holding one, or ``hub:NAME`` of a model there.

    `max_documents` bounds what is read (needed for endless hub data sets); `validation_share` of
    the documents is held out and the rest halved between teacher and student. `end_token` closes
    every document (None: the tokenizer's own token for that).
    """

    corpus: str = corpora.DEFAULT
    vocabulary: int = 1_024
    tokenizer: str | None = None
    field: str = "text"
    max_documents: int | None = None
    validation_share: float = 0.04
    end_token: str | None = None

    def __post_init__(self) -> None:
        if self.max_documents is not None and self.max_documents < 1:
            raise PlannerError(f"max_documents must be at least 1, not {self.max_documents}")

    def split_of(self, document: str) -> str:
        """The split of a document, from a hash of its text alone."""
        digest = hashlib.blake2b(document.encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64
        if place < self.validation_share:
            return "validation"
        return "teacher" if place < (1 + self.validation_share) / 2 else "student"

    def documents(self) -> Iterator[str]:
        """The documents of the corpus, at most `max_documents`."""
        return islice(corpora.documents(self.corpus, self.field), self.max_documents)


def cache_directory() -> Path:
    """Where tokenised corpora are kept: $DISTILLATION_PLANNER_CACHE, or under the user's cache."""
    chosen = os.environ.get("DISTILLATION_PLANNER_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "distillation-planner"


def prepare(spec: DataSpec, cache: Path | None = None) -> Dataset:
    """The tokenised corpus, made on the first call and read from the cache afterwards.

    Processes that ask at the same time wait for the first of them.
    """
    cache = cache or cache_directory()
    key = digest([FORMAT, _identity(spec), corpora.fingerprint(spec.corpus)])[:16]
    root = cache / f"{Path(spec.corpus).name.replace(':', '-')}-{key}"
    with storage("tokens", root), exclusive(root.with_name(f".{root.name}.lock")):
        if not root.exists():
            # kept when the process dies, and gone on with: parts in it are whole or absent
            unfinished = root.with_name(f".{root.name}.unfinished")
            unfinished.mkdir(parents=True, exist_ok=True)
            try:
                _tokenise(spec, unfinished)
            except PlannerError:  # what a second try would meet again
                shutil.rmtree(unfinished)
                raise
            os.replace(unfinished, root)
    return Dataset(root)


def _identity(spec: DataSpec) -> dict[str, Any]:
    """What the tokens depend on: a tokenizer on disk counts by what its file holds."""
    if spec.tokenizer is None:
        return asdict(spec)
    file = _tokenizer_file(spec.tokenizer)
    identity = checksum(file) if file else spec.tokenizer
    return asdict(spec) | {"tokenizer": identity, "vocabulary": None}


class Dataset:
    """A tokenised corpus on disk: ``meta.json``, ``tokenizer.json`` and shards of every split."""

    def __init__(self, root: Path) -> None:
        self.root = root
        meta = read_json(root / "meta.json", "tokenised corpus")
        with undamaged("tokenised corpus", root, _again(root)):
            self.meta: dict[str, Any] = dict(meta)
            self.vocabulary = int(meta["vocabulary"])
            self.tokenizer_hash = str(meta["tokenizer"])
            dtype = np.dtype(meta["dtype"])
            self._splits = {name: Split(root, name, meta["splits"][name], dtype) for name in SPLITS}
            self.near_duplicates: dict[str, float] = dict(meta["near_duplicates"])

    @cached_property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` the shards were written with."""
        return load_tokenizer(str(self.root / "tokenizer.json"))

    def split(self, name: str) -> Split:
        """The tokens of one of `SPLITS`."""
        return self._splits[name]


def _again(root: Path) -> str:
    return f"delete {root} and run again to tokenise the corpus anew"


class Split:
    """The tokens of one split as one stream over shards, checked when first touched."""

    def __init__(self, root: Path, name: str, meta: dict[str, Any], dtype: np.dtype[Any]) -> None:
        self.root, self.name, self.dtype = root, name, dtype
        self.shards: list[dict[str, Any]] = [
            {name: shard[name] for name in ("file", "tokens", "checksum")}
            for shard in meta["shards"]
        ]
        self.tokens, self.bytes = int(meta["tokens"]), int(meta["bytes"])
        self.starts = np.cumsum([0, *(int(shard["tokens"]) for shard in self.shards)])
        if self.starts[-1] != self.tokens:
            raise ValueError(f"the shards of {name} hold {self.starts[-1]:,} tokens in all")
        sizes = meta["documents"]
        self.documents: NDArray[np.int64] = np.cumsum([0, *sizes], dtype=np.int64)
        """Where each document starts, and where the last one ends."""
        self._maps: dict[int, NDArray[Any]] = {}

    @property
    def hash(self) -> str:
        """Identifies the tokens, by the checksums of the shards."""
        return digest([self.name, self.shards])

    def windows(self, context: int) -> int:
        """How many non-overlapping sequences of `context` inputs, each with its next token, fit."""
        return max(0, (self.tokens - 1) // context)

    def window(self, index: int, context: int) -> NDArray[Any]:
        """Sequence `index`, as stored: context + 1 tokens, inputs and the labels shifted by one."""
        start, stop = index * context, (index + 1) * context + 1
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        parts = []
        while start < stop:
            begin, end = int(self.starts[first]), int(self.starts[first + 1])
            parts.append(self._map(first)[start - begin : min(stop, end) - begin])
            start, first = min(stop, end), first + 1
        return np.concatenate(parts)

    def batch(self, indices: NDArray[np.int64], context: int) -> NDArray[Any]:
        """Sequences, as stored, stacked to (len(indices), context + 1)."""
        return np.stack([self.window(int(index), context) for index in indices])

    def document_of(self, indices: NDArray[np.int64], context: int) -> Tokens:
        """The number of the document that each input (len(indices), context) belongs to."""
        places = indices[:, None] * context + np.arange(context)
        return np.searchsorted(self.documents, places, side="right") - 1

    def sample(self, context: int, tokens: int | None) -> NDArray[np.int64]:
        """Sequences of about `tokens` tokens (None: all), drawn from the whole split, sorted."""
        windows = require_windows(self, context)
        if tokens is None or tokens // context >= windows:
            return np.arange(windows)
        count = max(1, tokens // context)
        return np.sort(np.random.default_rng(0).choice(windows, count, replace=False))

    def _map(self, number: int) -> NDArray[Any]:
        if number not in self._maps:
            path = self.root / self.shards[number]["file"]
            verify(path, self.shards[number]["checksum"], "token shard", _again(self.root))
            self._maps[number] = np.memmap(path, dtype=self.dtype, mode="r")
        return self._maps[number]


@dataclass(frozen=True)
class Sampler:
    """Which sequences make up step t: a pure function of (seed, t), so a run's data state is its
    step.

    Every epoch is a fresh permutation of all sequences; nothing depends on the number of devices.
    """

    windows: int
    batch: int
    seed: int

    def indices(self, step: int) -> NDArray[np.int64]:
        """Sequence numbers (batch,) of a step."""
        places = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs = places // self.windows
        found = [
            _permutation(self.windows, self.seed, int(epoch))[
                places[epochs == epoch] % self.windows
            ]
            for epoch in np.unique(epochs)
        ]
        return np.concatenate(found).astype(np.int64)

    def needed(self, steps: int) -> NDArray[np.int64]:
        """The sequences of the first `steps` updates, sorted, each once."""
        places = steps * self.batch
        if places >= self.windows:
            return np.arange(self.windows)
        return np.sort(_permutation(self.windows, self.seed, 0)[:places])


@lru_cache(maxsize=2)
def _permutation(windows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(windows)


def digest(value: object) -> str:
    """Hash of a JSON value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_tokenizer(source: str) -> Any:
    """A tokenizer from a tokenizer.json, a directory holding one, or ``hub:NAME``.

    Truncation and padding that were saved with it are switched off: documents stay whole.
    """
    tokenizers = require("tokenizers", extra="trainer")
    file = _tokenizer_file(source)
    try:
        found = (
            tokenizers.Tokenizer.from_file(str(file))
            if file
            else tokenizers.Tokenizer.from_pretrained(source.removeprefix(corpora.HUB))
        )
    except Exception as error:  # the library raises bare exceptions
        raise PlannerError(f"no tokenizer can be read from {source!r}: {error}") from error
    found.no_truncation()
    found.no_padding()
    return found


def _tokenizer_file(source: str) -> Path | None:
    """The tokenizer.json that `source` names; None for ``hub:NAME``.

    Only `hub:` leads to the network, so that a mistyped path does not.
    """
    if source.startswith(corpora.HUB):
        return None
    path = Path(source).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise PlannerError(
            f"no tokenizer.json at {source}; one on the hub is named {corpora.HUB}{source}"
        )
    return file


PROBE = "The 3 quick brown foxes: naïve café, 东京!\n\tdef f(x): return x**2  # ok"


def tokenizer_hash(tokenizer: Any) -> str:
    """Identifies what a tokenizer does: its entries, and how it cuts a probe of mixed text."""
    probe = tokenizer.encode(PROBE, add_special_tokens=False).ids
    return digest([sorted(tokenizer.get_vocab().items()), probe])


def train_tokenizer(spec: DataSpec) -> Any:
    """A byte-level BPE of `spec.vocabulary` entries trained on documents that are not held out."""
    tokenizers = require("tokenizers", extra="trainer")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=spec.vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    if spec.vocabulary <= len(alphabet):
        raise PlannerError(
            f"a byte-level vocabulary needs more than {len(alphabet)} entries, "
            f"not {spec.vocabulary}"
        )

    def text() -> Iterator[str]:
        left = TRAINING_CHARACTERS
        for document in spec.documents():
            if spec.split_of(document) != "validation":
                yield document
                left -= len(document)
            if left <= 0:
                return

    tokenizer.train_from_iterator(text(), trainer)
    return tokenizer


def _tokenise(spec: DataSpec, directory: Path) -> None:
    """Write a corpus as parts, each of which stands for a stretch of it, then ``meta.json``."""
    file = directory / "tokenizer.json"
    if not file.exists():
        trained = load_tokenizer(spec.tokenizer) if spec.tokenizer else train_tokenizer(spec)
        write_file(file, trained.to_str(pretty=True).encode())
    tokenizer = load_tokenizer(str(file))
    vocabulary, end = _entries(tokenizer), end_tokens(spec, tokenizer)
    dtype = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
    parts = []
    for number, stretch in enumerate(_stretches(spec.documents())):
        target = directory / f"part-{number:05d}"
        if not target.exists():
            found = _encode(spec, tokenizer, stretch, end, dtype)
            write_directory(target, lambda path, found=found: _write_part(path, found))  # type: ignore[misc]
        parts.append(target.name)
    about = [read_json(directory / part / "part.json", "part of a corpus") for part in parts]
    documents = sum(len(part[name]["documents"]) for part in about for name in SPLITS)
    if documents == 0:
        raise PlannerError(f"the corpus {spec.corpus!r} holds no text")
    splits = {name: _gathered(directory, parts, about, name) for name in SPLITS}
    for name, split in splits.items():
        if split["tokens"] == 0:
            raise PlannerError(
                f"the corpus {spec.corpus!r} is too small: of its documents ({documents:,} read) "
                f"none fell into the {name} split; give more documents (one file of text counts "
                f"as several only beyond {corpora.LONG_FILE:,} characters)"
            )
    meta = {
        "spec": asdict(spec),
        "vocabulary": vocabulary,
        "tokenizer": tokenizer_hash(tokenizer),
        "dtype": dtype.name,
        "splits": splits,
    }
    meta["near_duplicates"] = _remove_near_duplicates(directory, splits, dtype)
    write_json(directory / "meta.json", meta)


def _stretches(documents: Iterator[str]) -> Iterator[list[str]]:
    """Documents in lists of about `PART_CHARACTERS`."""
    stretch: list[str] = []
    size = 0
    for document in documents:
        stretch.append(document)
        size += len(document)
        if size >= PART_CHARACTERS:
            yield stretch
            stretch, size = [], 0
    if stretch:
        yield stretch


def _encode(
    spec: DataSpec, tokenizer: Any, documents: list[str], end: list[int], dtype: np.dtype[Any]
) -> dict[str, tuple[list[NDArray[Any]], int, int]]:
    """Of every split: its documents' tokens, their bytes and their words."""
    found: dict[str, tuple[list[NDArray[Any]], int, int]] = {name: ([], 0, 0) for name in SPLITS}
    for start in range(0, len(documents), GROUP):
        group = documents[start : start + GROUP]
        try:
            encoded = tokenizer.encode_batch(group, add_special_tokens=False)  # by all cores
        except Exception as error:  # the library raises bare exceptions
            raise PlannerError(
                f"the tokenizer {spec.tokenizer or 'of the corpus'} cannot read the corpus: "
                f"{error}; give one that covers any text, such as a byte-level one"
            ) from error
        for document, encoding in zip(group, encoded, strict=True):
            name = spec.split_of(document)
            ids, size, words = found[name]
            ids.append(np.asarray([*encoding.ids, *end], dtype=dtype))
            found[name] = ids, size + len(document.encode()), words + len(document.split())
    return found


def _write_part(path: Path, splits: dict[str, tuple[list[NDArray[Any]], int, int]]) -> None:
    about = {}
    for name, (ids, size, words) in splits.items():
        with (path / f"{name}.bin").open("wb") as file:  # numpy's writing hides why a disk refuses
            for document in ids:
                file.write(document.data)
        about[name] = {
            "documents": [len(document) for document in ids],
            "bytes": size,
            "words": words,
            "checksum": checksum(path / f"{name}.bin"),
        }
    write_json(path / "part.json", about)


def _gathered(
    directory: Path, parts: list[str], about: list[dict[str, Any]], name: str
) -> dict[str, Any]:
    """A split's entry in ``meta.json``; checked here, since parts may be of an earlier process."""
    found: dict[str, Any] = {"bytes": 0, "words": 0, "documents": [], "shards": []}
    for part, each in zip(parts, about, strict=True):
        one = each[name]
        file = f"{part}/{name}.bin"
        verify(directory / file, one["checksum"], "part of a corpus", _again(directory))
        tokens = sum(one["documents"])
        if tokens:
            found["shards"].append({"file": file, "tokens": tokens, "checksum": one["checksum"]})
        for key in ("bytes", "words", "documents"):
            found[key] += one[key]
    return found | {"tokens": sum(found["documents"])}


def _remove_near_duplicates(
    directory: Path, splits: dict[str, Any], dtype: np.dtype[Any]
) -> dict[str, float]:
    """Take held-out documents out that share much with text for training, and say how many.

    A document does if more than `NEAR` of its `NGRAM`-word grams stand in a training split. Grams
    are of as many tokens as that many words have on average, since equal text has equal tokens.
    Where nothing else would be left all of it stays. Changes the entry of the held-out split.
    """
    held = splits["validation"]
    words = max(1, sum(split["words"] for split in splits.values()))
    length = max(2, round(NGRAM * sum(split["tokens"] for split in splits.values()) / words))

    def tokens(split: dict[str, Any]) -> Iterator[NDArray[Any]]:
        for shard in split["shards"]:
            yield np.memmap(directory / shard["file"], dtype=dtype, mode="r")

    stream = np.concatenate(list(tokens(held)))
    starts = np.cumsum([0, *held["documents"]])
    grams = [_grams(stream[a:b], length) for a, b in pairwise(starts)]
    known = np.unique(np.concatenate(grams))
    seen = np.zeros(len(known), bool)
    for name in ("teacher", "student"):
        for shard in tokens(splits[name]):
            for start in range(0, len(shard), SCANNED):
                part = _grams(shard[start : start + SCANNED + length], length)
                place = np.searchsorted(known, part).clip(max=max(0, len(known) - 1))
                if len(known):
                    seen[place[known[place] == part]] = True
    shares = np.array(
        [seen[np.searchsorted(known, part)].mean() if len(part) else 0.0 for part in grams]
    )
    near = shares > NEAR
    report = {
        "documents": len(near), "near_duplicates": int(near.sum()),
        "share_of_tokens": float(np.diff(starts)[near].sum() / max(1, starts[-1])),
        "removed": bool(near.any() and not near.all()),
    }  # fmt: skip
    if report["removed"]:
        kept = [stream[a:b] for (a, b), out in zip(pairwise(starts), near, strict=True) if not out]
        file = directory / "validation.bin"
        write_file(file, np.concatenate(kept).tobytes())
        count = int(sum(map(len, kept)))
        held |= {
            "bytes": round(held["bytes"] * count / held["tokens"]),
            "tokens": count,
            "documents": [len(document) for document in kept],
            "shards": [{"file": file.name, "tokens": count, "checksum": checksum(file)}],
        }
    return report


SCANNED = 1 << 22  # tokens whose grams exist at once


def _grams(tokens: NDArray[Any], length: int) -> NDArray[np.uint64]:
    """A hash of every run of `length` tokens."""
    count = len(tokens) - length + 1
    if count < 1:
        return np.empty(0, np.uint64)
    wide = tokens.astype(np.uint64)
    found = np.zeros(count, np.uint64)
    for place in range(length):  # arithmetic modulo 2**64
        found = found * np.uint64(0x9E3779B97F4A7C15) + wide[place : place + count]
        found ^= found >> np.uint64(29)
    return found


def _entries(tokenizer: Any) -> int:
    """How many rows an embedding needs: ids may have gaps, so the largest decides."""
    ids = tokenizer.get_vocab().values()
    if not ids:
        raise PlannerError("the tokenizer has no entries; train it first or give another one")
    return int(max(ids)) + 1


ENDS = (END, "</s>", "<|end_of_text|>", "<eos>", "<|eos|>", "<|end▁of▁sentence|>", "[SEP]")
"""What tokenizers call the token that closes a document."""


def end_tokens(spec: DataSpec, tokenizer: Any) -> list[int]:
    """The token that closes a document, alone in a list: as given, as the tokenizer's folder says,
    or one of the usual names."""
    names = [spec.end_token] if spec.end_token else [*_declared(spec.tokenizer), *ENDS]
    found = [i for name in names if (i := tokenizer.token_to_id(name)) is not None]
    if not found:
        raise PlannerError(
            f"the tokenizer {spec.tokenizer or 'of the corpus'} has no token "
            f"{spec.end_token or 'that is known to close documents'}; name one with --end-token"
        )
    return found[:1]


def _declared(source: str | None) -> list[str]:
    """The end token that ``tokenizer_config.json`` beside a tokenizer names."""
    if source is None or source.startswith(corpora.HUB) or not Path(source).expanduser().exists():
        return []
    file = _tokenizer_file(source)
    path = file.with_name("tokenizer_config.json") if file else None
    if path is None or not path.is_file():
        return []
    found = read_json(path, "configuration of a tokenizer").get("eos_token")
    name = found.get("content") if isinstance(found, dict) else found
    return [name] if isinstance(name, str) else []


def require_windows(split: Split, context: int) -> int:
    """The number of sequences of a split; a split shorter than one sequence is refused."""
    windows = split.windows(context)
    if windows == 0:
        raise StorageError(
            f"the {split.name} split has {split.tokens:,} tokens, less than one sequence of "
            f"{context:,}; use a shorter context or a larger corpus"
        )
    return windows
