"""Everything a step touches lies on the engine's device, whichever that is, in its precision.

PyTorch's `meta` device stands for a GPU: tensors on it have shapes and types but no values, and an
operation that mixes them with a CPU's fails as it would on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planner.trainer.engine import Engine, Machine
from planner.trainer.logits import store_logits, top_of
from planner.trainer.loss import Dense, Full, Objective, Sparse
from planner.trainer.measure import Tally
from planner.trainer.record import silent
from planner.trainer.train import _Run
from tests.trainer.conftest import DATA, VOCABULARY, supervised

OBJECTIVES = (
    Objective(),
    Objective(mixing=0.5, temperature=2.0, direction="reverse"),
    Objective(top_k=8, tail="bucket"),
    Objective(top_p=0.9),
)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose device is not the CPU, with a GPU's precision."""
    engine = Engine(Machine(device="meta", microbatch=2, recompute=True))
    monkeypatch.setattr(engine, "dtype", torch.bfloat16)
    return engine


def step_on(elsewhere: Engine, out: Path, cache: Path, **changes: Any) -> _Run:
    """A run after one whole update on that device."""
    run = _Run.begin(supervised(**changes), out, elsewhere, cache, silent, ())
    for group in run.optimizer.param_groups:
        group["fused"] = False  # the one operation that has no `meta` form
    sums, norm = run._update()

    assert sums.device.type == norm.device.type == "meta"
    for parameter in run.decoder.parameters():
        assert parameter.device.type == "meta"
        assert parameter.dtype == torch.float32
        assert run.optimizer.state[parameter]["exp_avg"].device.type == "meta"
    return run


def test_a_supervised_step_stays_on_its_device(
    elsewhere: Engine, tmp_path: Path, cache: Path
) -> None:
    """Data, loss, gradients and optimiser meet there; master weights stay float32."""
    run = step_on(elsewhere, tmp_path, cache)
    hidden = run.model(torch.zeros(2, 32, dtype=torch.long, device="meta"))
    assert hidden.dtype == torch.bfloat16


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_step_beside_a_teacher_stays_on_its_device(
    objective: Objective, elsewhere: Engine, tmp_path: Path, cache: Path, teacher_run: Path
) -> None:
    """The teacher's hidden states and head too, in the same precision."""
    run = step_on(elsewhere, tmp_path, cache, teacher=str(teacher_run), objective=objective)
    assert run.teacher is not None
    signal = run.teacher.signal(torch.zeros(2, 32, dtype=torch.long, device="meta"))
    assert isinstance(signal, Dense)
    assert signal.hidden.dtype == signal.head.dtype == torch.bfloat16
    assert {p.dtype for p in run.teacher.model.model.parameters()} == {torch.bfloat16}
    best, _ = top_of(signal, 64, 5)
    assert best.device.type == "meta"


def test_a_step_on_stored_logits_stays_on_its_device(
    elsewhere: Engine, tmp_path: Path, cache: Path, teacher_run: Path
) -> None:
    """What is read from disk arrives on the device."""
    logits = tmp_path / "logits"
    store_logits(
        str(teacher_run), DATA, logits, context=32, entries=8,
        machine=Machine(device="cpu"), cache=cache,
    )  # fmt: skip
    run = step_on(
        elsewhere, tmp_path / "run", cache,
        teacher=str(teacher_run), objective=Objective(), logits=str(logits),
    )  # fmt: skip
    assert run.stored is not None
    signal = run.stored.signal(np.array([0, 1]), elsewhere)
    assert isinstance(signal, Sparse)
    assert signal.ids.device.type == signal.logprobs.device.type == "meta"


def test_measures_stay_on_their_device(elsewhere: Engine) -> None:
    """Sums over chunks grow where the logits are, in float64."""
    tally = Tally(elsewhere.device)
    logits = Full(torch.zeros(8, VOCABULARY, device="meta")).logits
    tally.add(logits, torch.zeros(8, dtype=torch.long, device="meta"), logits)
    assert tally.bins.device.type == tally.sums.device.type == "meta"


def test_the_stand_in_notices_a_tensor_left_behind(
    elsewhere: Engine, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that stay on the CPU fail here as they would on a GPU."""
    monkeypatch.setattr(elsewhere, "tensor", lambda array: torch.from_numpy(array))
    with pytest.raises(RuntimeError, match="meta"):
        step_on(elsewhere, tmp_path, cache)
