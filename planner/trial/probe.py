"""What a worker does to say how fast it trains: one step of each model, timed and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

PROBE_SECONDS = 0.5


def probe(task: Mapping[str, Any]) -> dict[str, Any]:
    """FLOP/s of training each model, and PyTorch's count of one step beside ours."""
    from planner.trainer.benchmark import training_step
    from planner.trainer.engine import Machine, open_engine
    from planner.trainer.hardware import device_name, peak_of, probe_matmul
    from planner.trainer.model import Config

    found: dict[str, Any] = {"models": []}
    with open_engine(Machine(**task["machine"])) as engine:
        found["device"] = device_name(engine.device)
        found["matmul"] = probe_matmul(engine.device, engine.dtype, 0.3)
        found["peak"] = peak_of(engine.device, engine.machine.peak).flops
        for shape in task["models"]:
            config = Config(**shape)
            step = training_step(config, task["batch"], engine)
            tokens = task["batch"] * config.context
            # a single sequence: attention that the counter sees takes memory
            counted = _count(training_step(config, 1, engine), engine.device.type)
            dense = 3.0 * config.flops.dense * config.context
            seconds = _seconds(step, engine.synchronise)
            found["models"].append(
                {
                    "layers": config.layers,
                    "parameters": config.parameters,
                    "flops_per_second": 3.0 * config.flops.causal * tokens / seconds,
                    "counted_over_expected": counted / dense,
                    "expected_over_law": config.flops.causal
                    / float(config.law_flops(config.parameters)),
                }
            )
    return found


def _count(step: Callable[[], object], device: str) -> float:
    """FLOPs of a step by PyTorch's own counter.

    It misses fused attention on a CPU and products added in place; both are helped over. A GPU's
    fused kernels it knows, and plain attention would not fit there at the larger scales.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    def added(into: Any, a: Any, b: Any, *_: Any, **__: Any) -> int:
        return int(2 * a[0] * a[1] * b[1])  # shapes, as the counter hands them over

    own = {torch.ops.aten.addmm_: added}
    counting = FlopCounterMode(display=False, custom_mapping=own)
    plain = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
    with plain, counting as counter:
        step()
    return float(counter.get_total_flops())


def _seconds(step: Callable[[], object], synchronise: Callable[[], None]) -> float:
    """The median time of a step, after a few unmeasured."""
    for _ in range(2):
        step()
    synchronise()
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begun < PROBE_SECONDS:
        start = time.perf_counter()
        step()
        synchronise()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]
