"""Peaks, and utilisation that is honest about what it does not know."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from planner.trainer.hardware import (
    Peak,
    accelerators,
    describe,
    lookup,
    peak_of,
    probe_matmul,
    utilisation,
)


@pytest.mark.parametrize(
    ("name", "flops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4e12),
        ("NVIDIA H100 PCIe", 756.5e12),
        ("NVIDIA H200", 989.4e12),
        ("NVIDIA H200 NVL", 835.5e12),
        ("NVIDIA GH200 480GB", 989.4e12),
        ("NVIDIA GB200", 2.5e15),
        ("NVIDIA B200", 2.25e15),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362.05e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
    ],
)
def test_accelerators_are_known_by_their_drivers_names(name: str, flops: float) -> None:
    """Dense bfloat16 peaks, the more particular model first."""
    found = lookup(name)
    assert found is not None
    assert found.bf16_flops == flops
    assert found.source


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA A100-SXM4-80GB MIG 3g.40gb",
        "NVIDIA RTX A1000",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
    ],
)
def test_parts_and_namesakes_have_no_peak(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part of a device, or another that shares some of its name, gets no utilisation but advice."""
    assert lookup(name) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    peak = peak_of(torch.device("cuda", 0))
    assert peak.flops is None
    assert "--peak" in peak.reference


def test_a_given_peak_overrides_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own figure counts for a known device too, and is said to be theirs."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    assert peak_of(torch.device("cuda", 0)).flops == 989.4e12
    assert peak_of(torch.device("cuda", 0), 8e14) == Peak(8e14, "given with --peak")


def test_unknown_devices_have_no_utilisation() -> None:
    """Neither a guess nor zero: an unknown peak gives None."""
    assert lookup("Tesla K80") is None
    assert utilisation(1e12, peak_of(torch.device("cpu"))) is None
    assert utilisation(1e12, peak_of(torch.device("cpu"), 4e12)) == 0.25
    assert len({a.name for a in accelerators()}) == len(accelerators())


def test_more_than_everything_has_no_utilisation() -> None:
    """A utilisation above one means a wrong peak: it is said, and nothing is raised."""
    peak = Peak(1e12, "given with --peak")
    assert utilisation(2e12, peak) is None
    assert "faster than the peak given with --peak" in describe(None, peak)
    assert describe(0.25, peak) == "MFU 25.0%"
    assert "--peak" in describe(None, Peak(None, "unknown"))


def test_the_probe_finds_a_plausible_speed() -> None:
    """A core does between one and a thousand GFLOP/s."""
    assert 1e9 < probe_matmul(torch.device("cpu"), torch.float32, 0.3) < 1e12


def test_openmp_is_calmed_before_pytorch_loads() -> None:
    """The package sets the waiting policy unless the user did, and does not import PyTorch."""
    code = (
        "import os, sys, planner.trainer; "
        "print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY",)}
    environment["GOMP_SPINCOUNT"] = "7"
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["PASSIVE", "7", "False"]
