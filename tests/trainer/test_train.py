"""The loop: exact resumption, invariance to how a step is cut up, refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from planner.errors import PlannerError
from planner.trainer import checkpoint
from planner.trainer.data import Dataset, DataSpec
from planner.trainer.engine import Engine, Machine, open_engine
from planner.trainer.files import StorageError, exclusive
from planner.trainer.loss import Objective
from planner.trainer.record import read_log
from planner.trainer.spec import RunRecord, RunSpec, read_record
from planner.trainer.train import _Run, train
from tests.trainer.conftest import DATA, HYPER, config, supervised

ROOT = Path(__file__).parents[2]
MACHINE = Machine(device="cpu", checkpoint_every=3)


def steps(out: Path) -> list[dict[str, Any]]:
    return [line for line in read_log(out / "log.jsonl") if line["event"] == "step"]


def distilled(teacher: Path, count: int = 8, **changes: Any) -> RunSpec:
    spec = supervised(count)
    return replace(spec, objective=Objective(), teacher=str(teacher), **changes)


def test_a_run_is_recorded(tmp_path: Path, cache: Path) -> None:
    """The record and the log hold inputs, seed, versions, FLOPs, speed and every step's loss."""
    spec = supervised(10)
    result = train(spec, tmp_path, MACHINE, cache=cache)
    assert read_record(tmp_path) == result
    assert RunRecord.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    assert [line["step"] for line in steps(tmp_path)] == list(range(10))
    assert result.tokens == spec.tokens
    assert result.flops.exact == 3 * spec.model.flops.dense * spec.tokens
    law = spec.model.law_flops.training(spec.model.parameters, spec.tokens)
    assert result.flops.law == pytest.approx(float(law))
    assert result.tokens_per_second > 0
    assert result.mfu is None
    assert result.environment["versions"]["torch"] == torch.__version__
    assert 2 < result.cross_entropy < 6.5
    events = [line["event"] for line in read_log(tmp_path / "log.jsonl")]
    assert (events[0], events[-1]) == ("start", "end")


def test_a_finished_run_is_read_back(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking again for a finished run does no work and changes no file."""
    first = train(supervised(), tmp_path, MACHINE, cache=cache)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr("planner.trainer.train._Run.begin", None)
    assert train(supervised(), tmp_path, MACHINE, cache=cache) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


KILLED = """
import itertools, json, os, signal, sys
from pathlib import Path
import torch
from planner.trainer import checkpoint, train as module
from planner.trainer.spec import RunSpec

torch.set_num_threads(1)
spec, out, cache, where, count = sys.argv[1:]
calls = itertools.count()

def dying(original):
    def call(*args, **kwargs):
        if next(calls) == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)
    return call

if where == "update":
    module._Run._update = dying(module._Run._update)
else:
    checkpoint.write_json = dying(checkpoint.write_json)
spec = RunSpec.from_dict(json.loads(spec))
module.train(spec, Path(out), module.Machine(device="cpu", checkpoint_every=3), cache=Path(cache))
"""


@pytest.mark.parametrize(("where", "count"), [("update", 2), ("update", 7), ("checkpoint", 1)])
def test_killed_at_any_step_and_resumed_bit_for_bit(
    where: str, count: int, tmp_path: Path, cache: Path, teacher_run: Path
) -> None:
    """After SIGKILL, in a step or a checkpoint, losses and weights are those of no kill."""
    spec = distilled(teacher_run)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = train(spec, whole, MACHINE, cache=cache)
    given = [json.dumps(spec.to_dict()), str(cut), str(cache), where, str(count)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED, *given], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert read_record(cut) is None
    result = train(spec, cut, MACHINE, cache=cache)
    assert steps(cut) == steps(whole)
    assert result.measures == expected.measures
    tensors, again = (load_file(out / "model" / checkpoint.TENSORS) for out in (whole, cut))
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)


@pytest.mark.parametrize("microbatch", [1, 2])
def test_losses_do_not_depend_on_accumulation(
    microbatch: int, tmp_path: Path, cache: Path, teacher_run: Path
) -> None:
    """However a step is cut into backward passes, its loss and gradient norm are the same."""
    spec = distilled(teacher_run, 5)
    train(spec, tmp_path / "whole", MACHINE, cache=cache)
    train(spec, tmp_path / "cut", replace(MACHINE, microbatch=microbatch), cache=cache)
    for a, b in zip(steps(tmp_path / "whole"), steps(tmp_path / "cut"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["norm"] == pytest.approx(a["norm"], rel=1e-4)


def test_recomputation_changes_no_loss(tmp_path: Path, cache: Path) -> None:
    """Activation checkpointing is exact, and is charged to the hardware's FLOPs alone."""
    plain = train(supervised(4), tmp_path / "a", MACHINE, cache=cache)
    spared = train(supervised(4), tmp_path / "b", replace(MACHINE, recompute=True), cache=cache)
    assert steps(tmp_path / "a") == steps(tmp_path / "b")
    assert spared.flops.exact == plain.flops.exact == plain.flops.hardware
    assert spared.flops.hardware > spared.flops.exact


@pytest.mark.filterwarnings("ignore")  # the compiler warns of its own insides
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_compilation_changes_no_loss(
    tmp_path: Path, cache: Path, teacher_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled layers and losses, cut up and recomputed, beside a teacher: the same numbers."""
    # what a killed process left half written in the machine's own folder would fail this run
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    spec = distilled(teacher_run, 3)
    train(spec, tmp_path / "a", MACHINE, cache=cache)
    compiled = replace(MACHINE, compile=True, recompute=True, microbatch=2)
    train(spec, tmp_path / "b", compiled, cache=cache)
    for a, b in zip(steps(tmp_path / "a"), steps(tmp_path / "b"), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["norm"] == pytest.approx(a["norm"], rel=1e-4)


def test_training_learns_and_distillation_approaches_the_teacher(
    tmp_path: Path, cache: Path, teacher_run: Path
) -> None:
    """Both losses fall, and the distilled student is nearer to the teacher than the supervised."""
    teacher = read_record(teacher_run)
    assert teacher is not None
    lines = steps(teacher_run)
    assert lines[-1]["cross_entropy"] < lines[0]["cross_entropy"] - 0.5
    few = train(distilled(teacher_run, 2), tmp_path / "few", MACHINE, cache=cache)
    many = train(distilled(teacher_run, 60), tmp_path / "many", MACHINE, cache=cache)
    assert many.measures["kl"] < few.measures["kl"] / 2  # type: ignore[operator]
    assert many.cross_entropy < few.cross_entropy
    assert many.teacher is not None
    assert many.teacher["parameters"] == config(2).parameters
    assert many.flops.teacher_exact == config(2).flops.dense * many.tokens


class Told:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.closed = 0

    def log(self, step: int, values: dict[str, float]) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.closed += 1


def test_sinks_are_closed_whatever_happens(tmp_path: Path, cache: Path) -> None:
    """After a run, after a run that is only read back, and after one that fails."""
    ran, read, failed = Told(), Told(), Told()
    train(supervised(3), tmp_path / "a", MACHINE, cache=cache, sinks=[ran])
    train(supervised(3), tmp_path / "a", MACHINE, cache=cache, sinks=[read])
    wild = supervised(3, hyper=replace(HYPER, learning_rate=1e30))
    with pytest.raises(PlannerError, match="loss became"):
        train(wild, tmp_path / "b", MACHINE, cache=cache, sinks=[failed])
    assert (ran.steps, read.steps) == ([0, 1, 2], [])
    assert [sink.closed for sink in (ran, read, failed)] == [1, 1, 1]


def test_seeds_change_the_run(tmp_path: Path, cache: Path) -> None:
    """Another seed is another model on other data; the same seed the same."""
    losses = []
    for number, seed in enumerate((0, 0, 1)):
        train(supervised(2, seed=seed), tmp_path / str(number), MACHINE, cache=cache)
        losses.append([line["loss"] for line in steps(tmp_path / str(number))])
    assert losses[0] == losses[1]
    assert losses[0][0] != losses[2][0]


def test_two_processes_equal_one(tmp_path: Path, cache: Path, teacher_run: Path) -> None:
    """DDP and FSDP2 over two processes (gloo) have the single process's losses, and resume."""
    spec = distilled(teacher_run, 6)
    single = train(spec, tmp_path / "single", MACHINE, cache=cache)
    script = Path(__file__).with_name("two_processes.py")
    given = [json.dumps(spec.to_dict()), str(tmp_path), str(cache)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(script), *given], env=environment, check=True, timeout=120)
    for kind in ("ddp", "fsdp"):
        result = read_record(tmp_path / kind)
        assert result is not None
        for a, b in zip(steps(tmp_path / "single"), steps(tmp_path / kind), strict=True):
            assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
            assert b["norm"] == pytest.approx(a["norm"], rel=1e-4)
        assert result.cross_entropy == pytest.approx(single.cross_entropy, rel=1e-5)
        assert result.measures["kl"] == pytest.approx(single.measures["kl"], rel=1e-4)
        assert result.measures["tokens"] == single.measures["tokens"]
        assert result.environment["processes"] == 2
    newest = sorted((tmp_path / "fsdp" / "checkpoints").iterdir())[-1]
    assert len(list(newest.glob("*.distcp"))) == 2  # each process wrote its own part
    shutil.rmtree(tmp_path / "fsdp" / "model")  # one process goes on from what two have written
    again = train(spec, tmp_path / "fsdp", MACHINE, cache=cache)
    assert again.cross_entropy == pytest.approx(single.cross_entropy, rel=1e-5)
    if (tmp_path / "half").exists():  # where the processor has bfloat16
        saved = load_file(tmp_path / "half" / "model" / "tensors.safetensors")
        assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


STORED = """
import json, sys
from pathlib import Path
import torch
from planner.trainer.engine import Engine, Machine, open_engine
from planner.trainer.logits import store_logits
from planner.trainer.spec import RunSpec
from planner.trainer.train import train

torch.set_num_threads(1)
spec, out, cache = RunSpec.from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3])
machine = Machine(device="cpu")
store_logits(spec.teacher, spec.data, Path(spec.logits), context=spec.model.context, entries=8,
             machine=machine, cache=cache)
train(spec, out, machine, cache=cache)
"""


def test_logits_are_stored_and_used_under_torchrun(
    tmp_path: Path, cache: Path, teacher_run: Path
) -> None:
    """The devices are opened twice, once to store and once to train: one group serves both."""
    spec = distilled(teacher_run, 2, logits=str(tmp_path / "logits"))
    script = tmp_path / "script.py"
    script.write_text(STORED)
    with socket.socket() as free:  # not --standalone, which would give every group a store
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"
    ]  # fmt: skip
    given = [str(script), json.dumps(spec.to_dict()), str(tmp_path / "run"), str(cache)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *given], env=environment, check=True, timeout=120)
    result = read_record(tmp_path / "run")
    assert result is not None
    assert result.environment["processes"] == 2


def ask_too_much() -> None:
    torch.empty(1 << 60)


def raise_gpu_error() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def raise_cublas_error() -> None:
    raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")


def ask_numpy_too_much() -> None:
    np.empty(1 << 50)


@pytest.mark.parametrize(
    "fail", [ask_too_much, raise_gpu_error, raise_cublas_error, ask_numpy_too_much]
)
def test_out_of_memory_names_the_options_and_loses_nothing(
    fail: Callable[[], None], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentence with --microbatch and --recompute, and with them the run goes on to its end."""
    whole, out = tmp_path / "whole", tmp_path / "run"
    train(supervised(8), whole, MACHINE, cache=cache)
    update = _Run._update

    def failing(run: _Run, *given: Any) -> Any:
        if run.step == 5:
            fail()
        return update(run, *given)

    with monkeypatch.context() as patch:
        patch.setattr(_Run, "_update", failing)
        with pytest.raises(PlannerError, match=r"memory; try .*--microbatch 1.*--recompute"):
            train(supervised(8), out, MACHINE, cache=cache)
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000000003"]
    less = replace(MACHINE, microbatch=1, recompute=True)
    train(supervised(8), out, less, cache=cache)
    for a, b in zip(steps(whole), steps(out), strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)


def test_other_errors_inside_an_engine_stay_what_they_are() -> None:
    """Only memory is answered with advice about memory."""
    with pytest.raises(RuntimeError, match="mat1"), open_engine(MACHINE):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine that says it has one GPU; the devices whose peak memory was reset."""
    reset: list[torch.device] = []
    ready: list[bool] = []
    fake = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "init": lambda: ready.append(True),
        "set_device": lambda device: None,
        "is_bf16_supported": lambda including_emulation: True,
        "reset_peak_memory_stats": lambda device: (
            reset.append(device)
            if ready
            else pytest.fail("PyTorch refuses this before CUDA was initialised")
        ),
    }
    for name, value in fake.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    return reset


def test_peak_memory_is_that_of_one_run(one_gpu: list[torch.device]) -> None:
    """On a GPU each run starts its own count: an earlier one may have held more."""
    with open_engine(Machine(device="cuda")), open_engine(Machine()):
        assert one_gpu == [torch.device("cuda", 0)] * 2


def test_a_device_that_is_not_there_is_refused(
    one_gpu: list[torch.device], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its index, by a process too many under torchrun, and by a name that is none."""
    with pytest.raises(PlannerError, match="no cuda:3 here, only 1 CUDA device;"):
        Engine(Machine(device="cuda:3"))
    with pytest.raises(PlannerError, match="not known"):
        Engine(Machine(device="cuda:one"))
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(PlannerError, match="no cuda:1 here"):
        Engine(Machine())


def test_other_runs_are_not_overwritten(tmp_path: Path, cache: Path) -> None:
    """A directory that holds another run is refused, and left as it is."""
    train(supervised(2), tmp_path, MACHINE, cache=cache)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(StorageError, match="seed"):
        train(supervised(2, seed=5), tmp_path, MACHINE, cache=cache)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_changed_teacher_is_noticed(tmp_path: Path, cache: Path, teacher_run: Path) -> None:
    """A run whose teacher was replaced behind its back does not go on."""
    spec = distilled(teacher_run)
    train(spec, tmp_path, MACHINE, cache=cache)
    (tmp_path / "record.json").unlink()
    held = json.loads((tmp_path / "spec.json").read_text())
    (tmp_path / "spec.json").write_text(json.dumps({**held, "teacher": "other"}))
    with pytest.raises(StorageError, match=r"teacher .* changed"):
        train(spec, tmp_path, MACHINE, cache=cache)


@pytest.mark.parametrize(
    ("change", "machine", "message"),
    [
        ({"tokens": 10**7}, MACHINE, "would repeat"),
        ({"data": replace(DATA, vocabulary=300)}, MACHINE, "320"),
        ({"model": config(1, context=100_000)}, MACHINE, "less than one sequence"),
        ({}, replace(MACHINE, microbatch=3), "divisor"),
        ({"hyper": replace(HYPER, learning_rate=1e30)}, MACHINE, "loss became"),
    ],
)
def test_impossible_runs_are_refused(
    change: dict[str, Any], machine: Machine, message: str, tmp_path: Path, cache: Path
) -> None:
    """What cannot work is said in one sentence."""
    with pytest.raises(PlannerError, match=message):
        train(replace(supervised(), **change), tmp_path, machine, cache=cache)
    assert read_record(tmp_path) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tokens": 0}, "at least one token"),
        ({"split": "validation"}, "teacher or the student split"),
        ({"objective": Objective()}, "needs a teacher"),
        ({"logits": "x"}, "name their teacher"),
        ({"objective": Objective(top_p=0.5), "teacher": "t", "logits": "x"}, "top-p"),
        ({"objective": Objective(direction="reverse"), "teacher": "t", "logits": "x"}, "bucket"),
    ],
)
def test_contradictory_specs_are_refused(given: dict[str, Any], message: str) -> None:
    """A specification that contradicts itself never becomes an object."""
    with pytest.raises(PlannerError, match=message):
        RunSpec(**{"model": config(), "tokens": 100, "data": DATA, **given})


def test_two_processes_do_not_share_a_folder(tmp_path: Path, cache: Path) -> None:
    """While one process trains in a folder, a second one is refused and writes nothing."""
    (tmp_path / "run").mkdir()
    with exclusive(tmp_path / "run" / ".lock"):
        with pytest.raises(StorageError, match="another process is writing"):
            train(supervised(2), tmp_path / "run", MACHINE, cache=cache)
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    train(supervised(2), tmp_path / "run", MACHINE, cache=cache)


def test_a_wrong_peak_does_not_end_a_run(tmp_path: Path, cache: Path) -> None:
    """Its utilisation is left out, and the record says why."""
    found = train(supervised(12), tmp_path, replace(MACHINE, peak=1.0), cache=cache)
    assert found.mfu is None
    assert "that peak is wrong" in found.mfu_text


def test_a_run_that_diverges_says_so(tmp_path: Path, cache: Path) -> None:
    """The record and the log warn; after NaN the log holds the steps up to it."""
    wild = supervised(16, hyper=replace(HYPER, learning_rate=50.0, warmup_steps=0))
    found = train(wild, tmp_path / "wild", MACHINE, cache=cache)
    assert "the run diverges" in found.warnings[0]
    events = [line["event"] for line in read_log(tmp_path / "wild" / "log.jsonl")]
    assert events.count("warning") == 1
    lost = supervised(16, hyper=replace(HYPER, learning_rate=1e30))
    with pytest.raises(PlannerError, match="holds the steps"):
        train(lost, tmp_path / "lost", MACHINE, cache=cache)
    assert not np.isfinite(steps(tmp_path / "lost")[-1]["loss"])
    assert np.isfinite(steps(tmp_path / "lost")[0]["loss"])
    calm = train(supervised(16), tmp_path / "calm", MACHINE, cache=cache)
    assert calm.warnings == []


def test_a_run_is_measured_while_it_goes_and_saved_by_time(tmp_path: Path, cache: Path) -> None:
    """Held-out losses stand in the log, updates are those of a run without; documents add up."""
    plain = train(supervised(6), tmp_path / "plain", Machine(device="cpu"), cache=cache)
    often = Machine(device="cpu", evaluate_every=2, checkpoint_minutes=1e-6)
    found = train(supervised(6), tmp_path / "often", often, cache=cache)
    assert steps(tmp_path / "often") == steps(tmp_path / "plain")
    lines = read_log(tmp_path / "often" / "log.jsonl")
    measured = [line for line in lines if line["event"] == "evaluation"]
    assert [line["step"] for line in measured] == [2, 4]
    assert measured[0]["cross_entropy"] > found.cross_entropy == plain.cross_entropy
    saved = sorted(path.name for path in (tmp_path / "often" / "checkpoints").iterdir())
    assert saved == ["step-000000004", "step-000000005"]
    tokens = [count for _, count, _ in found.documents]
    total = sum(count * mean for _, count, mean in found.documents)
    assert sum(tokens) == found.measures["tokens"]
    assert total / sum(tokens) == pytest.approx(found.cross_entropy, rel=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"mask_documents": True},
        {"objective": Objective(hidden=1.0)},
        {"objective": Objective(direction="jsd", mixing=0.5), "mask_documents": True},
        {"model": config(1, kv_group=2, vocabulary_multiple=128)},
        {"hyper": replace(HYPER, schedule_form="wsd", weight_decay=0.01)},
    ],
    ids=["masks", "hidden states", "jsd and masks", "groups and padding", "wsd"],
)
def test_options_of_a_run_train_and_resume(
    changes: dict[str, Any], tmp_path: Path, cache: Path, teacher_run: Path, dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With each of them a run learns, and one that was stopped ends with the same losses."""
    text = next(DATA.documents())  # cut into documents shorter than a sequence
    lines = (json.dumps({"text": text[n : n + 40]}) + "\n" for n in range(0, 24_000, 40))
    (tmp_path / "short.jsonl").write_text("".join(lines))
    short = DataSpec(str(tmp_path / "short.jsonl"), tokenizer=str(dataset.root))
    run = replace(distilled(teacher_run, 12), data=short)
    spec = replace(run, **changes)
    train(spec, tmp_path / "whole", MACHINE, cache=cache)
    assert steps(tmp_path / "whole")[-1]["loss"] < steps(tmp_path / "whole")[0]["loss"]
    train(run, tmp_path / "plain", MACHINE, cache=cache)
    assert steps(tmp_path / "plain")[-1]["loss"] != steps(tmp_path / "whole")[-1]["loss"]
    update, calls = _Run._update, 0

    def stopped(run: _Run, *parts: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 8:
            raise KeyboardInterrupt
        return update(run, *parts)

    monkeypatch.setattr(_Run, "_update", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(spec, tmp_path / "cut", MACHINE, cache=cache)
    train(spec, tmp_path / "cut", MACHINE, cache=cache)
    assert steps(tmp_path / "cut") == steps(tmp_path / "whole")


def test_a_run_of_an_earlier_version_is_known_again(tmp_path: Path, cache: Path) -> None:
    """A specification without the fields that came later is the same run."""
    train(supervised(2), tmp_path, MACHINE, cache=cache)
    path = tmp_path / "spec.json"
    held = json.loads(path.read_text())
    del held["spec"]["mask_documents"], held["spec"]["hyper"]["decay_share"]
    path.write_text(json.dumps(held))
    assert train(supervised(2), tmp_path, MACHINE, cache=cache).tokens == 256
    held["spec"] = {"model": 3}
    path.write_text(json.dumps(held))
    with pytest.raises(StorageError, match="run specification"):
        train(supervised(2), tmp_path, MACHINE, cache=cache)
