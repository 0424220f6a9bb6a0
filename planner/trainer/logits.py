"""Stored teacher distributions: the top k of every position, written once, read by many students.

Rows follow the order of the split, not of a run, so one store serves every student, seed and batch
size with the same context. Shards are complete or absent, checksummed and memory-mapped; a store
that was cut short goes on where it stopped. The key says whose distributions over which tokens
these are, and a store with another key is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from planner.errors import PlannerError
from planner.trainer.data import Dataset, DataSpec, Split, prepare, require_windows, undamaged
from planner.trainer.engine import Engine, Machine, open_engine
from planner.trainer.files import (
    StorageError,
    checksum,
    read_json,
    storage,
    verify,
    write_directory,
    write_json,
)
from planner.trainer.loss import Signal, Sparse, chunks, signal_rows
from planner.trainer.teachers import Teacher, load_teacher

SHARD_ENTRIES = 1 << 24  # 64 MB at six bytes at most per entry
MANIFEST = "manifest.json"
ARRAYS = ("ids.npy", "logprobs.npy")


@dataclass(frozen=True)
class Key:
    """What a store holds; students compare it with what they are about to train on."""

    teacher: str
    tokens: str
    tokenizer: str
    split: str
    context: int
    windows: int

    def difference(self, other: Key) -> list[str]:
        """The names of the fields in which two keys differ."""
        mine, theirs = vars(self), vars(other)
        return [name for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True)
class Manifest:
    """What is stored, how many tokens of each position, and how many sequences in a shard."""

    key: Key
    top_k: int
    windows_per_shard: int

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """The manifest of the store at `directory`; a damaged one raises `StorageError`."""
        path = directory / MANIFEST
        value = read_json(path, "store of logits")
        remedy = f"delete {directory} and store the logits again"
        with undamaged("manifest of stored logits", path, remedy):
            key = Key(**{name: value["key"][name] for name in Key.__annotations__})
            found = cls(key, int(value["top_k"]), int(value["windows_per_shard"]))
            if asdict(found) != value or min(found.top_k, found.windows_per_shard) < 1:
                raise ValueError("it holds something else than a key and two sizes")
        return found


def key_of(teacher_hash: str, dataset: Dataset, split: Split, context: int) -> Key:
    """The key of a teacher's distributions over a whole split."""
    windows = require_windows(split, context)
    return Key(teacher_hash, split.hash, dataset.tokenizer_hash, split.name, context, windows)


def write_logits(
    directory: Path,
    teacher: Teacher,
    dataset: Dataset,
    split: Split,
    context: int,
    top_k: int,
    engine: Engine,
    *,
    batch: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StoredLogits:
    """Write the `top_k` likeliest tokens of `teacher` at every position of `split`.

    `progress` is called with sequences done and in all. Processes of one run share the work.
    """
    if not 1 <= top_k <= dataset.vocabulary:
        raise PlannerError(f"top-k must be from 1 to {dataset.vocabulary:,}, not {top_k}")
    key = key_of(teacher.hash, dataset, split, context)
    per_shard = max(1, SHARD_ENTRIES // (context * top_k))
    manifest = Manifest(key, top_k, per_shard)
    with storage("stored logits", directory):
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / MANIFEST).exists():
            _check(directory, manifest)
        elif engine.main:
            write_json(directory / MANIFEST, asdict(manifest))
    shards = list(enumerate(chunks(key.windows, per_shard)))
    done = 0
    for number, rows in shards[engine.rank :: engine.world]:
        target = directory / f"shard-{number:05d}"
        if not target.exists():
            arrays = _distributions(teacher, split, context, top_k, rows, engine, batch)
            with storage("stored logits", target):
                write_directory(target, lambda path, arrays=arrays: _write(path, *arrays))  # type: ignore[misc]
        done += rows.stop - rows.start
        progress(done * engine.world, key.windows)
    engine.wait()
    return StoredLogits(directory, key)


def store_logits(
    source: str,
    data: DataSpec,
    directory: Path,
    *,
    context: int,
    top_k: int,
    split: str = "student",
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StoredLogits:
    """`write_logits` from names alone: a teacher's top k over a split of a corpus."""
    # Processes go through shards at their own pace, so each needs the whole teacher.
    with open_engine(replace(machine, parallel="ddp")) as engine:
        dataset = prepare(data, cache)
        teacher = load_teacher(source, dataset, engine, context)
        tokens, batch = dataset.split(split), machine.microbatch or 8
        return write_logits(
            directory, teacher, dataset, tokens, context, top_k, engine,
            batch=batch, progress=progress,
        )  # fmt: skip


def _check(directory: Path, wanted: Manifest) -> None:
    if Manifest.read(directory) != wanted:
        raise StorageError(
            f"{directory} already holds other logits (another teacher, corpus, context or top-k); "
            "choose another directory"
        )


def _distributions(
    teacher: Teacher,
    split: Split,
    context: int,
    top_k: int,
    rows: slice,
    engine: Engine,
    batch: int,
) -> tuple[NDArray[Any], NDArray[np.float16]]:
    wide = teacher.vocabulary > 1 << 16
    ids = np.empty((rows.stop - rows.start, context, top_k), np.uint32 if wide else np.uint16)
    logprobs = np.empty(ids.shape, np.float16)
    for part in chunks(len(ids), batch):
        indices = np.arange(rows.start + part.start, rows.start + part.stop)
        tokens = engine.tensor(split.batch(indices, context)[:, :-1].copy())
        best_logprobs, best_ids = top_of(teacher.signal(tokens), len(indices) * context, top_k)
        ids[part] = best_ids.cpu().numpy().reshape(-1, context, top_k)
        logprobs[part] = best_logprobs.cpu().numpy().reshape(-1, context, top_k)
    return ids, logprobs


@torch.no_grad()
def top_of(signal: Signal, count: int, top_k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and ids (count, top_k) of the likeliest tokens of each row."""
    found = []
    for rows in chunks(count, 1_024):
        logits = signal_rows(signal, rows)[0]
        assert logits is not None
        found.append(torch.log_softmax(logits, dim=-1).topk(top_k, dim=-1))
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _write(path: Path, ids: NDArray[Any], logprobs: NDArray[np.float16]) -> None:
    for name, array in zip(ARRAYS, (ids, logprobs), strict=True):
        header = np.lib.format.header_data_from_array_1_0(array)
        with (path / name).open("wb") as file:  # numpy's own writing hides why a disk refuses
            np.lib.format.write_array_header_1_0(file, header)
            file.write(array.data)
    mass = float(np.exp(logprobs.astype(np.float32)).sum(-1).mean())
    sums = {name: checksum(path / name) for name in ARRAYS}
    write_json(path / "shard.json", {"checksums": sums, "kept_mass": mass, "windows": len(ids)})


class StoredLogits:
    """A complete store, opened for a run that expects `key`."""

    def __init__(self, directory: Path, key: Key) -> None:
        self.directory, self.key = directory, key
        manifest = Manifest.read(directory)
        self.top_k, self.per_shard = manifest.top_k, manifest.windows_per_shard
        differing = key.difference(manifest.key)
        if differing:
            raise StorageError(
                f"the logits in {directory} were stored for another run (they differ in "
                f"{', '.join(differing)}); store them again for this teacher, corpus and context"
            )
        count = len(chunks(key.windows, self.per_shard))
        self.shards = [directory / f"shard-{number:05d}" for number in range(count)]
        missing = sum(not shard.is_dir() for shard in self.shards)
        if missing:
            raise StorageError(
                f"the store {directory} lacks {missing} of {count} shards; run the same command "
                "that began it to finish it"
            )
        self._maps: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    @property
    def kept_mass(self) -> float:
        """Mean probability that the stored tokens hold together; the rest was cut off."""
        about = [_about(shard) for shard in self.shards]
        windows = np.array([shard.windows for shard in about])
        return float(np.average([shard.kept_mass for shard in about], weights=windows))

    def signal(self, indices: NDArray[np.int64], engine: Engine) -> Signal:
        """The stored distributions of some sequences, flattened to rows."""
        rows = [self._row(int(index)) for index in indices]
        ids = np.concatenate([row[0] for row in rows]).astype(np.int64)
        return Sparse(engine.tensor(ids), engine.tensor(np.concatenate([row[1] for row in rows])))

    def _row(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        number, place = divmod(index, self.per_shard)
        if number not in self._maps:
            self._maps[number] = self._open(self.shards[number])
        ids, logprobs = self._maps[number]
        return ids[place], logprobs[place]

    def _open(self, shard: Path) -> tuple[NDArray[Any], NDArray[Any]]:
        about = _about(shard)
        for name, expected in about.checksums.items():
            verify(shard / name, expected, "shard of logits", _again(shard))
        ids, logprobs = (np.load(shard / name, mmap_mode="r") for name in ARRAYS)
        rows = min(self.per_shard, self.key.windows - self.per_shard * self.shards.index(shard))
        shape = (rows, self.key.context, self.top_k)
        if ids.shape != shape or logprobs.shape != shape:
            raise StorageError(
                f"the shard {shard} holds arrays of {ids.shape} and {logprobs.shape} where "
                f"{shape} belong; {_again(shard)}"
            )
        return ids, logprobs


@dataclass(frozen=True)
class About:
    """What a shard says of itself."""

    checksums: dict[str, str]
    kept_mass: float
    windows: int


def _about(shard: Path) -> About:
    path = shard / "shard.json"
    value = read_json(path, "shard of logits")
    with undamaged("shard of logits", path, _again(shard)):
        sums = {name: str(value["checksums"][name]) for name in ARRAYS}
        return About(sums, float(value["kept_mass"]), int(value["windows"]))


def _again(shard: Path) -> str:
    return f"delete {shard} and run the command that stored the logits again"
