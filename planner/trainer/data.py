"""Tokens: a byte-level BPE tokenizer, disjoint splits in memory-mapped shards, a stateless sampler.

A corpus is tokenised once. The split of a document follows from a hash of its text, so the
teacher's, the student's and the validation tokens are disjoint by construction, repeated documents
included, whatever the order in which they arrive.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import islice
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
SHARD_TOKENS = 1 << 27
FORMAT = 2  # of the shards and of how corpora are cut into documents: part of the cache's key
TRAINING_CHARACTERS = 1 << 26  # text that a tokenizer is trained on, at most
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class DataSpec:
    """Which text, cut how. `tokenizer` is None (train one of `vocabulary` entries on the corpus),
    the path of a tokenizer.json or of a directory holding one, or ``hub:NAME`` of a model there.

    `max_documents` bounds what is read (needed for endless hub data sets); `validation_share` of
    the documents is held out and the rest halved between teacher and student.
    """

    corpus: str = corpora.DEFAULT
    vocabulary: int = 1_024
    tokenizer: str | None = None
    field: str = "text"
    max_documents: int | None = None
    validation_share: float = 0.04

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
            write_directory(root, lambda directory: _tokenise(spec, directory))
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
        self._maps: dict[int, NDArray[Any]] = {}

    @property
    def hash(self) -> str:
        """Identifies the tokens, by the checksums of the shards."""
        return digest([self.name, self.shards])

    def windows(self, context: int) -> int:
        """How many non-overlapping sequences of `context` inputs, each with its next token, fit."""
        return max(0, (self.tokens - 1) // context)

    def window(self, index: int, context: int) -> Tokens:
        """Sequence `index`: context + 1 tokens, inputs and the labels shifted by one."""
        start, stop = index * context, (index + 1) * context + 1
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        parts = []
        while start < stop:
            begin, end = int(self.starts[first]), int(self.starts[first + 1])
            parts.append(self._map(first)[start - begin : min(stop, end) - begin])
            start, first = min(stop, end), first + 1
        return np.concatenate(parts).astype(np.int64)

    def batch(self, indices: NDArray[np.int64], context: int) -> Tokens:
        """Sequences stacked to (len(indices), context + 1)."""
        return np.stack([self.window(int(index), context) for index in indices])

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
    tokenizer = load_tokenizer(spec.tokenizer) if spec.tokenizer else train_tokenizer(spec)
    write_file(directory / "tokenizer.json", tokenizer.to_str(pretty=True).encode())
    vocabulary = _entries(tokenizer)
    dtype = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
    writers = {name: _SplitWriter(directory, name, dtype) for name in SPLITS}
    end = _end_token(tokenizer)
    stream = spec.documents()
    while group := list(islice(stream, 64)):
        try:
            encoded = tokenizer.encode_batch(group, add_special_tokens=False)
        except Exception as error:  # the library raises bare exceptions
            raise PlannerError(
                f"the tokenizer {spec.tokenizer or 'of the corpus'} cannot read the corpus: "
                f"{error}; give one that covers any text, such as a byte-level one"
            ) from error
        for document, encoding in zip(group, encoded, strict=True):
            writers[spec.split_of(document)].add([*encoding.ids, *end], len(document.encode()))
    splits = {name: writer.close() for name, writer in writers.items()}
    documents = sum(writer.documents for writer in writers.values())
    if documents == 0:
        raise PlannerError(f"the corpus {spec.corpus!r} holds no text")
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
    write_json(directory / "meta.json", meta)


def _entries(tokenizer: Any) -> int:
    """How many rows an embedding needs: ids may have gaps, so the largest decides."""
    ids = tokenizer.get_vocab().values()
    if not ids:
        raise PlannerError("the tokenizer has no entries; train it first or give another one")
    return int(max(ids)) + 1


def _end_token(tokenizer: Any) -> list[int]:
    """The token that closes a document, empty for a tokenizer that has none of the usual names."""
    found = (tokenizer.token_to_id(name) for name in (END, "</s>", "<|end_of_text|>", "<eos>"))
    return [token for token in found if token is not None][:1]


class _SplitWriter:
    """Appends token ids to shards of `SHARD_TOKENS`."""

    def __init__(self, directory: Path, name: str, dtype: np.dtype[Any]) -> None:
        self.directory, self.name, self.dtype = directory, name, dtype
        self.shards: list[dict[str, Any]] = []
        self.bytes = self.documents = self.pending = 0
        self.ids: list[NDArray[Any]] = []

    def add(self, ids: list[int], size: int) -> None:
        self.ids.append(np.asarray(ids, dtype=self.dtype))
        self.bytes += size
        self.documents += 1
        self.pending += len(ids)
        if self.pending >= SHARD_TOKENS:
            self.flush()

    def flush(self) -> None:
        file = self.directory / f"{self.name}-{len(self.shards):05d}.bin"
        with file.open("wb") as shard:  # numpy's own writing hides why a disk refuses
            shard.write(np.concatenate(self.ids).data)
        self.shards.append({"file": file.name, "tokens": self.pending, "checksum": checksum(file)})
        self.ids, self.pending = [], 0

    def close(self) -> dict[str, Any]:
        if self.pending:
            self.flush()
        tokens = sum(shard["tokens"] for shard in self.shards)
        return {"tokens": tokens, "bytes": self.bytes, "shards": self.shards}


def require_windows(split: Split, context: int) -> int:
    """The number of sequences of a split; a split shorter than one sequence is refused."""
    windows = split.windows(context)
    if windows == 0:
        raise StorageError(
            f"the {split.name} split has {split.tokens:,} tokens, less than one sequence of "
            f"{context:,}; use a shorter context or a larger corpus"
        )
    return windows
