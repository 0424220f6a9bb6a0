"""The fused kernel of Liger-Kernel, run by Triton's interpreter where there is no GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from planner.errors import MissingExtraError, PlannerError
from planner.trainer.engine import Machine
from planner.trainer.loss import Objective, make_loss
from planner.trainer.train import train
from tests.trainer.conftest import supervised

ROOT = Path(__file__).parents[2]
COMPARED = """
import sys
from pathlib import Path
import torch
from planner.trainer.engine import Machine
from planner.trainer.loss import TERMS, FusedLoss, LinearLoss
from planner.trainer.record import read_log
from planner.trainer.train import train
from tests.trainer.conftest import supervised

torch.set_num_threads(1)
torch.manual_seed(0)
hidden, head = torch.randn(21, 16, requires_grad=True), torch.randn(70, 16, requires_grad=True)
labels = torch.randint(70, (21,))
labels[::5] = -100
for scale in (0.0, 1e-2):
    results = []
    for loss in (LinearLoss(None, scale), FusedLoss(scale)):
        value, sums = loss(hidden, head, labels)
        gradients = torch.autograd.grad(value / 7, (hidden, head))
        named = dict(zip(TERMS, sums, strict=True))
        if not scale:
            del named["z"]
        results.append((value.detach(), named, gradients))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)

out, cache = map(Path, sys.argv[1:])
losses = []
for kernel in ("chunked", "liger"):
    train(supervised(2), out / kernel, Machine(device="cpu", kernel=kernel), cache=cache)
    lines = read_log(out / kernel / "log.jsonl")
    losses.append([[x["loss"], x["norm"], x["z"]] for x in lines if x["event"] == "step"])
torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), rtol=1e-4, atol=0)
print("equal")
"""


def test_the_fused_kernel_equals_the_chunks(tmp_path: Path, cache: Path) -> None:
    """Loss, its parts, gradients and a short run, with positions that do not count."""
    for package in ("triton", "liger_kernel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the fused kernel needs the package {package}")
    environment = {
        **os.environ, "TRITON_INTERPRET": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", COMPARED, str(tmp_path), str(cache)],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.endswith("equal\n"), done.stderr


def test_the_fused_kernel_is_refused_where_it_cannot_be_used(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student, a CPU, or no package: one sentence each, before anything is trained."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(PlannerError, match="needs a GPU"):
        train(supervised(), tmp_path / "a", Machine(device="cpu", kernel="liger"), cache=cache)
    assert not (tmp_path / "a").exists()
    cuda = torch.device("cuda", 0)
    with pytest.raises(PlannerError, match="supervised runs only"):
        make_loss("liger", Objective(), 1e-4, cuda, compiled=False)
    monkeypatch.setitem(sys.modules, "liger_kernel", None)
    with pytest.raises(MissingExtraError, match="gpu"):
        make_loss("liger", None, 1e-4, cuda, compiled=False)
