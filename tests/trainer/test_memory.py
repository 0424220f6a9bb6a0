"""How a step is cut up so that it fits the GPU, before anything ran on it."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from planner.trainer.benchmark import training_step
from planner.trainer.engine import Engine, Machine
from planner.trainer.loss import LinearLoss
from planner.trainer.memory import activation_bytes, microbatch
from planner.trainer.model import Config, build
from tests.trainer.conftest import config

PAPER = Config(12, context=2_048)
GIGABYTE = 1 << 30


def saved_bytes(shape: Config, dtype: torch.dtype, recompute: bool, batch: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters aside."""
    model = build(shape, 0, dtype)
    model.recompute = recompute
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in parameters:
            kept[place] = tensor  # held, so that no later tensor lies at the same place
        return tensor

    tokens = torch.zeros(batch, shape.context, dtype=torch.long)
    loss = LinearLoss(None)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(tokens, lambda h, w: loss(h.flatten(0, 1), w, tokens.flatten()))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("layers", [2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_estimate_is_a_close_upper_bound(
    layers: int, dtype: torch.dtype, recompute: bool
) -> None:
    """It covers what autograd saves and the layer the backward pass works with, little more."""
    shape = config(layers, aspect_ratio=64, head_size=64, context=128)
    measured = (
        saved_bytes(shape, dtype, recompute, 3) - saved_bytes(shape, dtype, recompute, 1)
    ) / 2
    layer = (22 * shape.d_model + 4 * shape.architecture.d_ff) * shape.context * dtype.itemsize
    working = layer * (2 if recompute else 1)
    estimate = activation_bytes(shape, dtype, recompute)
    assert measured + 0.6 * working < estimate < 1.35 * (measured + working)


def gpu(
    monkeypatch: pytest.MonkeyPatch, gigabytes: float, held: float = 0, **changes: Any
) -> Engine:
    """An engine that believes to have a GPU of this much memory, and bfloat16."""
    engine = Engine(Machine(device="cpu", **changes))
    monkeypatch.setattr(engine, "device", SimpleNamespace(type="cuda"))
    monkeypatch.setattr(engine, "dtype", torch.bfloat16)
    about = SimpleNamespace(total_memory=gigabytes * GIGABYTE)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (about.total_memory - held, 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    return engine


def test_a_large_batch_is_cut_to_fit_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A paper's batch does not fit 80 GB at once: a divisor is found that does, more with more
    memory or recomputation, fewer beside a teacher, and at least one."""
    found = microbatch(PAPER, 128, gpu(monkeypatch, 80))
    assert found in (8, 16, 32)
    needed = found * activation_bytes(PAPER, torch.bfloat16, False)
    assert needed + 18 * PAPER.parameters < 80 * GIGABYTE
    assert microbatch(PAPER, 128, gpu(monkeypatch, 140)) > found
    assert microbatch(PAPER, 128, gpu(monkeypatch, 80, recompute=True)) > found
    assert microbatch(PAPER, 128, gpu(monkeypatch, 80), 20 * 10**9, 5_120) < found
    capped = microbatch(PAPER, 128, gpu(monkeypatch, 80), 10**9, 2_048, 256_000)
    assert capped < microbatch(PAPER, 128, gpu(monkeypatch, 80), 10**9, 2_048)
    assert microbatch(PAPER, 128, gpu(monkeypatch, 80, held=60 * GIGABYTE)) < found
    assert microbatch(PAPER, 96, gpu(monkeypatch, 80)) in (8, 12, 16, 24, 32)
    assert microbatch(PAPER, 128, gpu(monkeypatch, 8)) == 1


def test_what_is_given_or_on_a_cpu_is_not_changed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's own number stands, and a CPU takes its share at once."""
    assert microbatch(PAPER, 128, gpu(monkeypatch, 8, microbatch=64)) == 64
    assert microbatch(PAPER, 128, engine) == 128


def test_a_benchmarks_step_is_cut_up_too() -> None:
    """With microbatches it does the same update as without."""
    updated = []
    for size in (None, 1, 2):
        torch.manual_seed(0)
        step = training_step(config(), 4, Engine(Machine(device="cpu", microbatch=size)))
        step()
        model = inspect.getclosurevars(step).nonlocals["decoder"]
        updated.append(torch.cat([p.flatten() for p in model.parameters()]).detach())
    for other in updated[1:]:
        torch.testing.assert_close(other, updated[0], rtol=0, atol=2e-4)
