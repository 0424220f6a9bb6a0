"""Stored teacher distributions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from planner.errors import PlannerError
from planner.memory import LogitFormat
from planner.trainer.data import Dataset, Sampler
from planner.trainer.engine import Engine, Machine
from planner.trainer.files import StorageError
from planner.trainer.logits import StoredLogits, key_of, sample_of, top_of, write_logits
from planner.trainer.loss import Full, Objective, Sparse
from planner.trainer.record import read_log
from planner.trainer.teachers import Teacher, load_teacher
from planner.trainer.train import train
from tests.trainer.conftest import VOCABULARY, supervised

CONTEXT, TOP_K = 32, 20


@pytest.fixture(scope="module")
def teacher(teacher_run: Path, dataset: Dataset, engine: Engine) -> Teacher:
    return load_teacher(str(teacher_run), dataset, engine, CONTEXT)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.trainer.logits.SHARD_ENTRIES", 300 * CONTEXT * TOP_K)


@pytest.fixture(scope="module")
def full_store(
    tmp_path_factory: pytest.TempPathFactory, teacher: Teacher, dataset: Dataset, engine: Engine
) -> Path:
    """Every entry of the vocabulary, stored."""
    out = tmp_path_factory.mktemp("full")
    write_logits(out, teacher, dataset, dataset.split("student"), CONTEXT, VOCABULARY, engine)
    return out


@pytest.fixture(scope="module")
def small_store(
    tmp_path_factory: pytest.TempPathFactory, teacher: Teacher, dataset: Dataset, engine: Engine
) -> Path:
    """A few entries, stored in several shards."""
    out = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.trainer.logits.SHARD_ENTRIES", 300 * CONTEXT * TOP_K)
        store(out, teacher, dataset, engine)
    return out


def store(out: Path, teacher: Teacher, dataset: Dataset, engine: Engine) -> StoredLogits:
    return write_logits(out, teacher, dataset, dataset.split("student"), CONTEXT, TOP_K, engine)


@pytest.mark.usefixtures("small_shards")
def test_rows_are_the_teachers_likeliest_tokens(
    tmp_path: Path, teacher: Teacher, dataset: Dataset, engine: Engine
) -> None:
    """Any sequence of the split comes back, from any shard, to the precision of two bytes."""
    stored = store(tmp_path, teacher, dataset, engine)
    split = dataset.split("student")
    assert len(stored.shards) > 2
    indices = np.array([0, 299, 300, split.windows(CONTEXT) - 1])
    signal = stored.signal(indices, engine)
    assert isinstance(signal, Sparse)
    tokens = torch.from_numpy(split.batch(indices, CONTEXT)[:, :-1].astype(np.int64))
    values, ids = top_of(teacher.signal(tokens), 4 * CONTEXT, TOP_K)
    torch.testing.assert_close(signal.logprobs.float(), values, rtol=1e-3, atol=1e-3)
    assert (
        signal.ids.long() == ids
    ).float().mean() > 0.99  # near ties may swap between batch shapes
    assert 0.3 < stored.kept_mass < 1
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert size / (split.windows(CONTEXT) * CONTEXT) < 4 * TOP_K * 1.01


@pytest.mark.usefixtures("small_shards")
def test_an_interrupted_store_goes_on(
    tmp_path: Path, teacher: Teacher, dataset: Dataset, engine: Engine
) -> None:
    """Shards that exist are kept, missing ones are written, and a store with gaps is refused."""
    first = store(tmp_path, teacher, dataset, engine)
    kept = {shard: shard.stat().st_mtime_ns for shard in first.shards}
    gone = first.shards[1]
    shutil.rmtree(gone)
    with pytest.raises(StorageError, match=r"lacks 300 of"):
        StoredLogits(tmp_path, first.key).require(first.windows)
    again = store(tmp_path, teacher, dataset, engine)
    assert len(again.shards) == len(first.shards)
    np.testing.assert_array_equal(again.windows, first.windows)
    assert all(s.stat().st_mtime_ns == kept[s] for s in first.shards if s != gone)


@pytest.mark.parametrize("name", ["ids.npy", "logprobs.npy"])
def test_damaged_shards_are_refused(
    name: str, small_store: Path, tmp_path: Path, teacher: Teacher, dataset: Dataset, engine: Engine
) -> None:
    """One changed byte in a shard is found before its first row is used."""
    shutil.copytree(small_store, tmp_path, dirs_exist_ok=True)
    stored = StoredLogits(
        tmp_path, key_of(teacher.hash, dataset, dataset.split("student"), CONTEXT)
    )
    path = stored.shards[0] / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StorageError, match=r"shard-00000.*damaged"):
        StoredLogits(tmp_path, stored.key).signal(np.array([0]), engine)
    assert path.read_bytes() == bytes(data)


@pytest.mark.usefixtures("small_shards")
def test_a_full_disk_keeps_the_shards_that_are_there(
    small_store: Path,
    tmp_path: Path,
    teacher: Teacher,
    dataset: Dataset,
    engine: Engine,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    """The cause is said, complete shards stay as they were, and a second try adds the missing."""
    shutil.copytree(small_store, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "shard-00001")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with full_disk(50_000), pytest.raises(StorageError, match=r"stored logits.*File too large"):
        store(tmp_path, teacher, dataset, engine)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    again = store(tmp_path, teacher, dataset, engine)
    for name in ("ids.npy", "logprobs.npy"):
        whole = np.load(small_store / "shard-00001" / name)
        np.testing.assert_array_equal(np.load(again.shards[-1] / name), whole)


def test_another_runs_logits_are_refused(
    full_store: Path, teacher: Teacher, dataset: Dataset, engine: Engine
) -> None:
    """The wrong teacher, split or context is named; a store is never overwritten by another."""
    split = dataset.split("student")
    key = key_of(teacher.hash, dataset, split, CONTEXT)
    for change, name in (({"teacher": "x"}, "teacher"), ({"context": 16}, "context")):
        with pytest.raises(StorageError, match=name):
            StoredLogits(full_store, replace(key, **change))  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="split"):
        StoredLogits(full_store, key_of(teacher.hash, dataset, dataset.split("teacher"), CONTEXT))
    with pytest.raises(StorageError, match="already holds other logits"):
        write_logits(full_store, teacher, dataset, split, CONTEXT, 5, engine)
    with pytest.raises(PlannerError, match="must be from 1"):
        write_logits(full_store, teacher, dataset, split, CONTEXT, VOCABULARY + 1, engine)


def test_students_learn_the_same_from_the_store(
    full_store: Path, tmp_path: Path, teacher_run: Path, cache: Path
) -> None:
    """A store of the whole vocabulary gives the online teacher's losses, at no teacher FLOPs."""
    machine = Machine(device="cpu")
    spec = replace(supervised(4), objective=Objective(), teacher=str(teacher_run))
    online = train(spec, tmp_path / "online", machine, cache=cache)
    offline = train(replace(spec, logits=str(full_store)), tmp_path / "off", machine, cache=cache)
    losses = [
        [
            line["loss"]
            for line in read_log(tmp_path / name / "log.jsonl")
            if line["event"] == "step"
        ]
        for name in ("online", "off")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert offline.measures["kl"] == pytest.approx(online.measures["kl"], rel=1e-2)
    assert offline.flops.teacher_exact == 0 < online.flops.teacher_exact
    assert offline.teacher is not None
    assert offline.teacher["kept_mass"] == pytest.approx(1, abs=1e-2)


def test_the_manifest_names_what_is_stored(full_store: Path, teacher: Teacher) -> None:
    """The manifest is plain JSON with the teacher's hash and the shape."""
    manifest = json.loads((full_store / "manifest.json").read_text())
    assert manifest["key"]["teacher"] == teacher.hash
    assert (manifest["scheme"], manifest["entries"]) == ("top-k", VOCABULARY)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", "{}"),
        ("manifest.json", "[]"),
        ("manifest.json", '{"key": {"teacher": "x"}, "entries": 20, "per_shard": 300}'),
        ("manifest.json", '{"key": 3, "entries": null, "per_shard": 0}'),
        ("manifest.json", '{"key": '),
        ("shard-00000/shard.json", "{}"),
        ("shard-00000/shard.json", '{"checksums": {}, "kept_mass": 0.9, "windows": 300}'),
        ("shard-00000/shard.json", '{"checksums": null, "kept_mass": "much", "windows": 300}'),
        ("shard-00000/shard.json", ""),
    ],
)
def test_damaged_descriptions_of_stores_are_refused(
    name: str,
    content: str,
    small_store: Path,
    tmp_path: Path,
    teacher: Teacher,
    dataset: Dataset,
    engine: Engine,
) -> None:
    """JSON of another shape, or half of it, is named with its file and what to do."""
    key = key_of(teacher.hash, dataset, dataset.split("student"), CONTEXT)
    shutil.copytree(small_store, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_text(content)
    with pytest.raises(StorageError, match=rf"{name}.*(damaged|cannot be read)"):
        StoredLogits(tmp_path, key).signal(np.array([0]), engine)
    if name == "manifest.json":
        with pytest.raises(StorageError, match=rf"{name}.*(damaged|cannot be read)"):
            store(tmp_path, teacher, dataset, engine)
        assert (tmp_path / name).read_text() == content
    else:
        with pytest.raises(StorageError, match=rf"{name}.*(damaged|cannot be read)"):
            StoredLogits(tmp_path, key)


def test_a_shard_in_the_place_of_another_is_noticed(
    small_store: Path, tmp_path: Path, teacher: Teacher, dataset: Dataset, engine: Engine
) -> None:
    """The last shard under the name of the first: its own sequences are missing then."""
    shutil.copytree(small_store, tmp_path, dirs_exist_ok=True)
    split = dataset.split("student")
    stored = StoredLogits(tmp_path, key_of(teacher.hash, dataset, split, CONTEXT))
    shutil.rmtree(stored.shards[0])
    shutil.copytree(stored.shards[-1], stored.shards[0])
    with pytest.raises(StorageError, match="lacks 300 of"):
        StoredLogits(tmp_path, stored.key).require(stored.windows)


def test_only_what_a_run_needs_is_stored(
    tmp_path: Path, teacher: Teacher, dataset: Dataset, engine: Engine
) -> None:
    """A second seed adds what the first one's run did not read; sizes are as predicted."""
    split = dataset.split("student")
    runs = [Sampler(split.windows(CONTEXT), 4, seed).needed(10) for seed in (0, 1)]
    assert len(runs[0]) == 40
    for number, windows in enumerate(runs, 1):
        stored = write_logits(
            tmp_path, teacher, dataset, split, CONTEXT, TOP_K, engine, windows=windows
        )
        stored.require(windows)
        assert len(stored.shards) == number
    together = np.union1d(*runs)
    np.testing.assert_array_equal(stored.windows, together)
    with pytest.raises(StorageError, match="lacks"):
        stored.require(np.arange(split.windows(CONTEXT)))
    _, logprobs = stored.rows(runs[0][:3])
    tokens = torch.from_numpy(split.batch(runs[0][:3], CONTEXT)[:, :-1].astype(np.int64))
    values, _ = top_of(teacher.signal(tokens), 3 * CONTEXT, TOP_K)
    np.testing.assert_allclose(logprobs, values.numpy(), rtol=1e-3, atol=1e-3)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    predicted = LogitFormat("top-k", TOP_K, CONTEXT).bytes_per_token(VOCABULARY)
    assert size / len(together) / CONTEXT == pytest.approx(predicted, rel=0.02)


def test_draws_are_unbiased() -> None:
    """The mean weight of every token is its probability; no token is drawn twice, and weights sum
    to one; the head is kept as it is."""
    torch.manual_seed(0)
    logits = torch.randn(3, 40, dtype=torch.float64) * torch.tensor([[0.3], [1.5], [4.0]])
    p = torch.softmax(logits, -1)
    many = 4_000
    signal = Full(logits.float().repeat_interleave(many, 0))
    weights, ids = sample_of(signal, torch.rand(3 * many), 6)
    assert all(len(set(row)) == 6 for row in ids[::500].tolist())
    torch.testing.assert_close(weights.exp().sum(-1), torch.ones(3 * many), rtol=0, atol=1e-4)
    mean = torch.zeros(3 * many, 40).scatter_(1, ids, weights.exp())
    mean = mean.reshape(3, many, 40).mean(1)
    torch.testing.assert_close(mean.double(), p, rtol=0, atol=0.012)
    top = p.max(-1).values
    assert (ids.reshape(3, many, 6)[2] == p[2].argmax()).any(-1).all()
    assert top[2] > 0.2


def test_samples_teach_more_than_the_top_k_at_equal_bytes(
    tmp_path: Path, teacher: Teacher, teacher_run: Path, dataset: Dataset, engine: Engine,
    cache: Path,
) -> None:  # fmt: skip
    """A student of 12 samples ends nearer to the student of the whole teacher, and unwarned."""
    machine, split = Machine(device="cpu"), dataset.split("student")
    spec = replace(supervised(60), objective=Objective(), teacher=str(teacher_run))
    windows = Sampler(split.windows(CONTEXT), 4, spec.seed).needed(spec.steps)
    full = train(spec, tmp_path / "full", machine, cache=cache)
    found = {}
    for scheme in ("top-k", "sampled"):
        logits = tmp_path / f"{scheme}-logits"
        write_logits(
            logits, teacher, dataset, split, CONTEXT, 12, engine,
            scheme=scheme, windows=windows,  # type: ignore[arg-type]
        )  # fmt: skip
        found[scheme] = train(
            replace(spec, logits=str(logits)), tmp_path / scheme, machine, cache=cache
        )
    behind = {name: run.cross_entropy - full.cross_entropy for name, run in found.items()}
    assert abs(behind["sampled"]) < 0.2 * behind["top-k"]
    assert found["sampled"].warnings == []
    assert "of its mass" in found["top-k"].warnings[0]
    sampled = replace(spec, logits=str(tmp_path / "sampled-logits"))
    wrong = replace(sampled, objective=Objective(temperature=2.0))
    with pytest.raises(PlannerError, match="temperature 1 only"):
        train(wrong, tmp_path / "wrong", machine, cache=cache)
