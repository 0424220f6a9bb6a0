"""Checkpoints and other files: whole, checked, never lost."""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from planner.errors import PlannerError
from planner.trainer import checkpoint
from planner.trainer.data import Dataset
from planner.trainer.engine import Engine, Machine
from planner.trainer.files import StorageError, write_file
from planner.trainer.model import build
from planner.trainer.optim import Hyper, make_optimizer
from planner.trainer.record import read_log
from planner.trainer.teachers import load_teacher
from planner.trainer.train import train
from tests.trainer.conftest import config, supervised


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file may grow beyond `room` bytes: the write fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Parameters, moments and state come back bit for bit; only the newest two are kept."""
    model = build(config(), 0)
    optimizer = make_optimizer(model, Hyper())
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, checkpoint.gather(model, optimizer), {"seconds": 1.5})
    assert len(list(tmp_path.iterdir())) == checkpoint.KEEP
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert (found[1]["step"], found[1]["seconds"]) == (3, 1.5)
    other = build(config(), 1)
    again = make_optimizer(other, Hyper())
    checkpoint.scatter(found[0], other, again)
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
        for moment in checkpoint.MOMENTS:
            assert torch.equal(optimizer.state[p][moment], again.state[q][moment])


@pytest.mark.parametrize("damage", ["flipped", "cut", "no tensors", "no state", "other state"])
def test_damaged_checkpoints_are_refused(damage: str, tmp_path: Path, cache: Path) -> None:
    """A damaged checkpoint stops the run with its path in the message; nothing is overwritten."""
    out = tmp_path / "run"
    train(supervised(8), out, Machine(device="cpu", checkpoint_every=3), cache=cache)
    (out / "record.json").unlink()
    newest = sorted((out / "checkpoints").iterdir())[-1]
    tensors, state = newest / checkpoint.TENSORS, newest / checkpoint.STATE
    data = tensors.read_bytes()
    match damage:
        case "flipped":
            tensors.write_bytes(data[:-7] + bytes([data[-7] ^ 1]) + data[-6:])
        case "cut":
            tensors.write_bytes(data[: len(data) // 2])
        case "no tensors":
            tensors.unlink()
        case "no state":
            state.write_text(state.read_text()[:20])
        case _:
            state.write_text("{}")
    before = contents(out)
    with pytest.raises(StorageError, match=newest.name):
        train(supervised(8), out, cache=cache)
    assert contents(out) == before


def test_the_older_checkpoint_serves_when_the_damaged_one_is_deleted(
    tmp_path: Path, cache: Path
) -> None:
    """What the message advises works: delete the newest, and the run goes on from the other."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    machine = Machine(device="cpu", checkpoint_every=3)
    expected = train(supervised(8), whole, machine, cache=cache)
    train(supervised(8), out, machine, cache=cache)
    (out / "record.json").unlink()
    shutil.rmtree(out / "model")
    shutil.rmtree(sorted((out / "checkpoints").iterdir())[-1])
    assert train(supervised(8), out, machine, cache=cache).measures == expected.measures


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """When a checkpoint does not fit, the error says so and the earlier one is still good."""
    model = build(config(2), 0)
    tensors = checkpoint.gather(model, make_optimizer(model, Hyper()))
    checkpoint.save(tmp_path, 1, tensors, {"seconds": 0.0})
    before = contents(tmp_path)
    with full_disk(20_000), pytest.raises(StorageError, match="cannot write a checkpoint"):
        checkpoint.save(tmp_path, 2, tensors, {"seconds": 0.0})
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
    found = checkpoint.load(tmp_path)
    assert found is not None
    assert found[1]["step"] == 1


def test_a_full_disk_during_a_run(tmp_path: Path, cache: Path) -> None:
    """A run that meets a full disk stops with a sentence, and goes on to the same end later."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    machine = Machine(device="cpu", checkpoint_every=3)
    expected = train(supervised(8), whole, machine, cache=cache)
    with full_disk(20_000), pytest.raises(StorageError, match="make room"):
        train(supervised(8), out, machine, cache=cache)
    assert train(supervised(8), out, machine, cache=cache).measures == expected.measures


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    """A failed write leaves the old file and no temporary one."""
    path = tmp_path / "a.json"
    write_file(path, b"old")
    with full_disk(10), pytest.raises(OSError, match="large"):
        write_file(path, b"new" * 100)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_wrong_path_is_refused_before_any_work(tmp_path: Path, cache: Path) -> None:
    """An output directory that cannot be made is an error with its name, and the file stays."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="cannot write the run to"):
        train(supervised(), tmp_path / "file" / "run", cache=cache)
    assert (tmp_path / "file").read_text() == "mine"


def damage_tensors(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-7] + bytes([data[-7] ^ 1]) + data[-6:])


@pytest.mark.parametrize("damage", ["flipped", "no state", "no tensors", "{}", "[]", "no config"])
def test_the_remedy_for_a_damaged_model_works(
    damage: str, tmp_path: Path, cache: Path, dataset: Dataset, engine: Engine
) -> None:
    """A damaged teacher is refused; doing what the message says makes it again bit for bit."""
    out, spec = tmp_path / "teacher", supervised(8, split="teacher")
    expected = train(spec, out, Machine(device="cpu", checkpoint_every=3), cache=cache)
    model = out / "model"
    whole = (model / checkpoint.TENSORS).read_bytes()
    match damage:
        case "flipped":
            damage_tensors(model / checkpoint.TENSORS)
        case "no state":
            (model / checkpoint.STATE).unlink()
        case "no tensors":
            (model / checkpoint.TENSORS).unlink()
        case "no config":
            state = json.loads((model / checkpoint.STATE).read_text())
            (model / checkpoint.STATE).write_text(json.dumps({**state, "config": {"layers": 1}}))
        case text:
            (model / checkpoint.STATE).write_text(text)
    before = contents(out)
    with pytest.raises(StorageError) as refused:
        load_teacher(str(out), dataset, engine, 32)
    assert contents(out) == before
    found = re.search(r"delete (\S+) and repeat the command that trained it", str(refused.value))
    assert found is not None
    assert found[1] == str(model)
    shutil.rmtree(found[1])
    with pytest.raises(PlannerError, match="repeat the command that trains it"):
        load_teacher(str(out), dataset, engine, 32)
    result = train(spec, out, Machine(device="cpu"), cache=cache)
    assert result.measures == expected.measures
    assert (model / checkpoint.TENSORS).read_bytes() == whole
    load_teacher(str(out), dataset, engine, 32)
    events = [line["event"] for line in read_log(out / "log.jsonl")]
    assert events.count("end") == 1


def test_a_damaged_model_is_not_taken_for_a_new_one(tmp_path: Path, cache: Path) -> None:
    """A run that ends beside a damaged model says so instead of reporting that as its own."""
    train(supervised(8), tmp_path, Machine(device="cpu", checkpoint_every=3), cache=cache)
    (tmp_path / "record.json").unlink()
    damage_tensors(tmp_path / "model" / checkpoint.TENSORS)
    with pytest.raises(StorageError, match="repeat the command"):
        train(supervised(8), tmp_path, cache=cache)
    assert not (tmp_path / "record.json").exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *((file, text) for file in ("record.json", "spec.json") for text in ("{}", "[]", "{", "1")),
        ("record.json", '{"measures": {}}'),
        ("record.json", '{"measures": 3}'),
        ("spec.json", '{"spec": 1, "dataset": "a"}'),
        ("checkpoints/step-000000006/state.json", '{"step": 6}'),
        ("checkpoints/step-000000006/state.json", '{"step": "six", "seconds": 0}'),
        ("log.jsonl", '{"event": "step"}\n'),
        ("log.jsonl", "[]\n"),
        ("log.jsonl", "{\n"),
    ],
)
def test_damaged_json_is_a_sentence(file: str, content: str, tmp_path: Path, cache: Path) -> None:
    """Whatever a file of a run holds, the answer names it and says what to do, which works."""
    spec = supervised(8)
    expected = train(spec, tmp_path, Machine(device="cpu", checkpoint_every=3), cache=cache)
    path = tmp_path / file
    if file.startswith(("checkpoints", "log")):
        (tmp_path / "record.json").unlink()
    if file.startswith("checkpoints"):
        content = json.dumps({**json.loads(path.read_text()), **json.loads(content)})
        content = content if '"six"' in content else content.replace('"seconds"', '"minutes"')
    path.write_text(content)
    with pytest.raises(StorageError, match=re.escape(str(path))) as refused:
        train(spec, tmp_path, cache=cache)
    assert path.read_text() == content
    assert "delete" in str(refused.value)
    shutil.rmtree(path.parent) if file.startswith("checkpoints") else path.unlink()
    assert train(spec, tmp_path, cache=cache).measures == expected.measures


def test_a_disk_that_fills_up_at_the_tokenizer(tmp_path: Path, dataset: Dataset) -> None:
    """The last file of a model that finds no room is a sentence too, and leaves no half model."""
    model = build(config(), 0)
    about = {"tokenizer": dataset.tokenizer_hash, "spec": {}}
    with full_disk(2_000), pytest.raises(StorageError, match="cannot write the model"):
        checkpoint.save_model(tmp_path / "model", model, about, {}, dataset.tokenizer)
    assert not list(tmp_path.iterdir())
