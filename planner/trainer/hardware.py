"""What the machine could do at best: accelerator peaks and measured matrix products."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.accelerators import accelerators as accelerators
from planner.accelerators import lookup as lookup

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Peak:
    """FLOP/s that utilisation is measured against (None: unknown), and which peak that is."""

    flops: float | None
    reference: str


def peak_of(device: torch.device, given: float | None = None) -> Peak:
    """The peak `given`, else the catalogue's for a device, else "unknown"."""
    if given is not None:
        return Peak(given, "given with --peak")
    if device.type != "cuda":
        return Peak(None, "unknown")
    import torch

    name = torch.cuda.get_device_name(device)
    found = lookup(name)
    if found is None:
        return Peak(None, f"unknown for {name}; give it with --peak")
    return Peak(found.bf16_flops, f"{found.name}, dense bf16 ({found.source})")


def utilisation(flops_per_second: float, peak: Peak) -> float | None:
    """Share of the peak; None where the peak is unknown, or wrong because more was measured."""
    if peak.flops is None or flops_per_second > peak.flops:
        return None
    return flops_per_second / peak.flops


def describe(share: float | None, peak: Peak) -> str:
    """MFU in words, with the reason where there is none."""
    if share is not None:
        return f"MFU {share:.1%}"
    if peak.flops is None:
        return "MFU n/a (peak unknown: give it with --peak)"
    return f"MFU n/a (faster than the peak {peak.reference}: that peak is wrong for this device)"


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    import platform

    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def probe_matmul(device: torch.device, dtype: torch.dtype, seconds: float = 2.0) -> float:
    """The best FLOP/s of square matrix products among a few sizes, within about `seconds`."""
    import torch

    sizes = (2_048, 4_096, 8_192) if device.type == "cuda" else (512, 1_024)
    return max(_speed(torch.device(device), dtype, size, seconds / len(sizes)) for size in sizes)


def _speed(device: torch.device, dtype: torch.dtype, size: int, seconds: float) -> float:
    import torch

    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)

    def run(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            torch.mm(a, b, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start) / times

    once = min(run(1) for _ in range(3))
    times = max(1, int(seconds / 3 / once))
    return 2.0 * size**3 / min(run(times) for _ in range(3))
