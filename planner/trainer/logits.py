"""Stored teacher distributions: a few tokens of every position, written once, read by students.

Two schemes, both of k token ids and k log-probabilities a position:

top-k     the k likeliest tokens. What the rest weighs is lost: the student learns a distribution
          that is too sharp, the more so the smaller k.
sampled   the likeliest tokens as they are and the rest by a draw without replacement, each with
          probability proportional to its own and with a weight that makes up for it. Weights sum
          to one, and the mean over draws of forward KL's gradient is that of the whole
          distribution (as in random-sampling distillation, arXiv 2503.16870, which draws all k
          with replacement; fixed size and a kept head make the variance smaller).

A store holds the sequences that a run needs. Another run with another seed adds those it lacks;
the order of a split, not of a run, numbers them. Shards are complete or absent, checksummed and
memory-mapped. The key says whose distributions over which tokens these are, and a store with
another key is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planner.errors import PlannerError
from planner.trainer.data import Dataset, DataSpec, Sampler, Split, prepare, require_windows
from planner.trainer.engine import Engine, Machine, open_engine
from planner.trainer.files import (
    StorageError,
    checksum,
    exclusive,
    read_json,
    storage,
    undamaged,
    verify,
    write_directory,
    write_json,
)
from planner.trainer.loss import Signal, Sparse, chunks, signal_rows
from planner.trainer.teachers import ServerHead, Teacher, load_teacher

Scheme = Literal["top-k", "sampled"]
SHARD_ENTRIES = 1 << 24  # 64 MB at four bytes per entry
MANIFEST = "manifest.json"
ARRAYS = ("windows.npy", "ids.npy", "logprobs.npy")
LEAST_MASS = 0.95  # kept mass below which a student of the top k is warned about


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
    """What is stored and by which scheme. `entries` is k, `per_shard` sequences in a shard."""

    key: Key
    scheme: Scheme
    entries: int
    per_shard: int

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """The manifest of the store at `directory`; a damaged one raises `StorageError`."""
        path = directory / MANIFEST
        value = read_json(path, "store of logits")
        remedy = f"delete {directory} and store the logits again"
        with undamaged("manifest of stored logits", path, remedy):
            key = Key(**{name: value["key"][name] for name in Key.__annotations__})
            found = cls(key, value["scheme"], int(value["entries"]), int(value["per_shard"]))
            wrong = found.scheme not in ("top-k", "sampled")
            if asdict(found) != value or min(found.entries, found.per_shard) < 1 or wrong:
                raise ValueError("it holds something else than a key, a scheme and two sizes")
        return found


def key_of(teacher_hash: str, dataset: Dataset, split: Split, context: int) -> Key:
    """The key of a teacher's distributions over a split."""
    windows = require_windows(split, context)
    return Key(teacher_hash, split.hash, dataset.tokenizer_hash, split.name, context, windows)


def write_logits(
    directory: Path,
    teacher: Teacher,
    dataset: Dataset,
    split: Split,
    context: int,
    entries: int,
    engine: Engine,
    *,
    scheme: Scheme = "top-k",
    windows: NDArray[np.int64] | None = None,
    batch: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StoredLogits:
    """Write `entries` tokens of `teacher` at every position of sequences of `split`.

    `windows` numbers the sequences (None: all); those that are stored already are left alone.
    `progress` is called with sequences done and in all. Processes of one run share the work.
    """
    if not 1 <= entries <= dataset.vocabulary:
        raise PlannerError(
            f"the tokens stored of each position must be from 1 to {dataset.vocabulary:,}, "
            f"not {entries}"
        )
    key = key_of(teacher.hash, dataset, split, context)
    manifest = Manifest(key, scheme, entries, max(1, SHARD_ENTRIES // (context * entries)))
    with storage("stored logits", directory):
        directory.mkdir(parents=True, exist_ok=True)
    # every process looks before any of them writes
    if (directory / MANIFEST).exists() and Manifest.read(directory) != manifest:
        raise StorageError(
            f"{directory} already holds other logits (another teacher, corpus, context, scheme or "
            "number of tokens); choose another directory"
        )
    if isinstance(teacher.model, ServerHead):
        teacher.model.entries = entries  # how many it is asked for
    held = StoredLogits(directory, key) if (directory / MANIFEST).exists() else None
    wanted = np.arange(key.windows) if windows is None else np.unique(windows)
    missing = wanted if held is None else np.setdiff1d(wanted, held.windows)
    first = 0 if held is None else held.next_shard
    engine.wait()
    with storage("stored logits", directory):
        if engine.main and held is None:
            write_json(directory / MANIFEST, asdict(manifest))
    parts = list(enumerate(chunks(len(missing), manifest.per_shard), first))
    done = 0
    for number, rows in parts[engine.rank :: engine.world]:
        target = directory / f"shard-{number:05d}"
        arrays = _distributions(teacher, split, manifest, missing[rows], engine, batch)
        with storage("stored logits", target):
            write_directory(target, lambda path, arrays=arrays: _write(path, *arrays))  # type: ignore[misc]
        done += rows.stop - rows.start
        progress(min(done * engine.world, len(missing)), len(missing))
    engine.wait()
    return StoredLogits(directory, key)


def store_logits(
    source: str,
    data: DataSpec,
    directory: Path,
    *,
    context: int,
    entries: int,
    scheme: Scheme = "top-k",
    split: str = "student",
    steps: tuple[int, int, int] | None = None,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    cache: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StoredLogits:
    """`write_logits` from names alone, for all sequences or for a run's.

    `steps` is the run's (number of updates, sequences of each, seed); None stores the whole split.
    """
    # Processes go through shards at their own pace, so each needs the whole teacher.
    with open_engine(replace(machine, parallel="ddp")) as engine:
        dataset = prepare(data, cache)
        teacher = load_teacher(source, dataset, engine, context)
        tokens, batch = dataset.split(split), machine.microbatch or 8
        windows = None
        if steps is not None:
            count, each, seed = steps
            windows = Sampler(require_windows(tokens, context), each, seed).needed(count)
        with storage("stored logits", directory):
            directory.mkdir(parents=True, exist_ok=True)
        with exclusive(directory.with_name(f".{directory.name}.{engine.rank}.lock"), wait=False):
            return write_logits(
                directory, teacher, dataset, tokens, context, entries, engine,
                scheme=scheme, windows=windows, batch=batch, progress=progress,
            )  # fmt: skip


def _distributions(
    teacher: Teacher,
    split: Split,
    manifest: Manifest,
    windows: NDArray[np.int64],
    engine: Engine,
    batch: int,
) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float16]]:
    context, entries = manifest.key.context, manifest.entries
    wide = teacher.vocabulary > 1 << 16
    ids = np.empty((len(windows), context, entries), np.uint32 if wide else np.uint16)
    logprobs = np.empty(ids.shape, np.float16)
    for part in chunks(len(ids), batch):
        indices = windows[part]
        tokens = engine.tensor(split.batch(indices, context)[:, :-1].astype(np.int64))
        signal, rows = teacher.signal(tokens), len(indices) * context
        if manifest.scheme == "top-k":
            best_logprobs, best_ids = top_of(signal, rows, entries)
        else:
            places = np.concatenate(
                [np.random.default_rng((0, int(index))).random(context) for index in indices]
            )
            best_logprobs, best_ids = sample_of(signal, engine.tensor(places), entries)
        ids[part] = best_ids.cpu().numpy().reshape(-1, context, entries)
        logprobs[part] = best_logprobs.cpu().numpy().reshape(-1, context, entries)
    return windows, ids, logprobs


@torch.no_grad()
def top_of(signal: Signal, count: int, top_k: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and ids (count, top_k) of the likeliest tokens of each row."""
    if isinstance(signal, Sparse):
        if signal.ids.shape[1] < top_k:
            raise PlannerError(
                f"this teacher gives its {signal.ids.shape[1]} likeliest tokens only; store at "
                "most as many"
            )
        return signal.logprobs[:, :top_k], signal.ids[:, :top_k]
    found = []
    for rows in chunks(count, 1_024):
        logits = signal_rows(signal, rows)[0]
        assert logits is not None
        found.append(torch.log_softmax(logits, dim=-1).topk(top_k, dim=-1))
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


@torch.no_grad()
def sample_of(signal: Signal, places: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Logarithms of weights and ids (M, entries) of a draw from each row; `places` (M,) in [0, 1).

    Token a is drawn with probability min(1, p_a / t) and then weighs max(p_a, t), where t makes
    the number of drawn tokens `entries`: the expected weight is p_a, and weights sum to one. The
    draw is systematic, with one random number a row.
    """
    if isinstance(signal, Sparse):
        raise PlannerError("this teacher does not give whole distributions; store its top k")
    found = []
    for rows in chunks(len(places), 256):
        logits = signal_rows(signal, rows)[0]
        assert logits is not None
        found.append(_draw(torch.softmax(logits.double(), dim=-1), places[rows], entries))
    return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


def _draw(p: Tensor, places: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """`sample_of` for probabilities (M, V) in float64."""
    values, ids = p.topk(entries, dim=-1)
    # With j tokens kept as they are, the other entries - j share what is left equally.
    left = 1 - torch.cat((torch.zeros_like(values[:, :1]), values.cumsum(-1)[:, :-1]), dim=-1)
    number = torch.arange(entries, device=p.device)
    share = left.clamp(min=1e-12) / (entries - number)
    head = (values > share).int().cumprod(-1).sum(-1, keepdim=True).clamp(max=entries - 1)
    threshold = share.gather(1, head)
    kept = number < head
    rest = p.scatter(1, ids, torch.where(kept, 0.0, values))
    reach = (rest / threshold).cumsum(-1)
    # the last sum is entries - head but for rounding, which must not push a point off the end
    reach = reach * ((entries - head) / reach[:, -1:].clamp(min=1e-30))
    points = places.double()[:, None] + (number - head)  # negative for those that are kept
    drawn = torch.searchsorted(reach, points.clamp(min=0).contiguous(), right=True)
    drawn = drawn.clamp(max=p.shape[1] - 1)
    weights = torch.where(kept, values, threshold.expand_as(values))
    return weights.clamp(min=1e-7).log().float(), torch.where(kept, ids, drawn)


def _write(
    path: Path, windows: NDArray[np.int64], ids: NDArray[Any], logprobs: NDArray[np.float16]
) -> None:
    for name, array in zip(ARRAYS, (windows, ids, logprobs), strict=True):
        header = np.lib.format.header_data_from_array_1_0(array)
        with (path / name).open("wb") as file:  # numpy's own writing hides why a disk refuses
            np.lib.format.write_array_header_1_0(file, header)
            file.write(np.ascontiguousarray(array).data)
    mass = float(np.exp(logprobs.astype(np.float32)).sum(-1).mean())
    sums = {name: checksum(path / name) for name in ARRAYS}
    write_json(path / "shard.json", {"checksums": sums, "kept_mass": mass, "windows": len(ids)})


class StoredLogits:
    """A store, opened for runs that expect `key`. `windows` (sorted) are the sequences it holds."""

    def __init__(self, directory: Path, key: Key) -> None:
        self.directory, self.key = directory, key
        self.manifest = Manifest.read(directory)
        differing = key.difference(self.manifest.key)
        if differing:
            raise StorageError(
                f"the logits in {directory} were stored for another run (they differ in "
                f"{', '.join(differing)}); store them again for this teacher, corpus and context"
            )
        self.shards = sorted(directory.glob("shard-*"))
        self._about = [_about(shard) for shard in self.shards]
        held = [self._array(number, 0) for number in range(len(self.shards))]
        sizes = [len(part) for part in held]
        windows = np.concatenate([*held, np.empty(0, np.int64)])
        order = np.argsort(windows, kind="stable")
        self.windows: NDArray[np.int64] = windows[order]
        self._places = np.stack(
            (
                np.repeat(np.arange(len(sizes)), sizes),
                np.concatenate([*map(np.arange, sizes), np.empty(0, np.int64)]),
            )
        )[:, order].astype(np.int64)
        self._maps: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    @property
    def next_shard(self) -> int:
        """The number of the next shard."""
        return max((int(shard.name[-5:]) for shard in self.shards), default=-1) + 1

    @property
    def kept_mass(self) -> float:
        """Mean probability that the stored tokens hold together; the rest was cut off."""
        weights = [about.windows for about in self._about]
        return float(np.average([about.kept_mass for about in self._about], weights=weights))

    def require(self, windows: NDArray[np.int64]) -> None:
        """Refuse a run that needs sequences which are not stored."""
        missing = len(np.setdiff1d(windows, self.windows))
        if missing:
            raise StorageError(
                f"the store {self.directory} lacks {missing:,} of the {len(np.unique(windows)):,} "
                "sequences of this run; store them by the command that began it, with --top-k or "
                "--samples as then"
            )

    def rows(self, indices: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.float16]]:
        """Ids and log-probabilities (len(indices) * context, entries) of some sequences."""
        places = np.searchsorted(self.windows, indices)
        found = [self._row(*map(int, self._places[:, place])) for place in places]
        return np.concatenate([row[0] for row in found]), np.concatenate([row[1] for row in found])

    def signal(self, indices: NDArray[np.int64], engine: Engine) -> Signal:
        """The stored distributions of some sequences, flattened to rows."""
        ids, logprobs = self.rows(indices)
        return Sparse(engine.tensor(ids), engine.tensor(logprobs))

    def _row(self, number: int, place: int) -> tuple[NDArray[Any], NDArray[Any]]:
        if number not in self._maps:
            self._maps[number] = self._array(number, 1), self._array(number, 2)
        ids, logprobs = self._maps[number]
        return ids[place], logprobs[place]

    def _array(self, number: int, which: int) -> NDArray[Any]:
        shard, about = self.shards[number], self._about[number]
        name = ARRAYS[which]
        verify(shard / name, about.checksums[name], "shard of logits", _again(shard))
        with undamaged("shard of logits", shard / name, _again(shard)):
            array: NDArray[Any] = np.load(shard / name, mmap_mode="r" if which else None)
        shape = (about.windows, self.key.context, self.manifest.entries)[: 3 if which else 1]
        if array.shape != shape:
            raise StorageError(
                f"the shard {shard} holds an array of {array.shape} where {shape} belongs; "
                f"{_again(shard)}"
            )
        return array


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
