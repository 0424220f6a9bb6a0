"""How fast this machine trains, at the sizes that a trial will have."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from planner.errors import PlannerError
from planner.trial.design import Design, Scale
from planner.trial.runs import Pool, Task, result_of

PROBE_SECONDS = 0.5

FIRST_LAYERS = (1, 2, 3)
"""What is probed before there is a design."""

GUESS = 0.3
"""Share of the matrix products' speed that larger models are guessed to train at, until probed."""

Probe = dict[str, Any]


def sizes(design: Design) -> tuple[int, ...]:
    """Layers of the models that the ladder trains."""
    return tuple(sorted({run.layers for run in design.ladder}))


def measure(
    scale: Scale, layers: Sequence[int], vocabulary: int, machine: Mapping[str, Any],
    pool: Pool,
) -> Probe:  # fmt: skip
    """FLOP/s of every model, the same by every worker at once: they share caches and memory."""
    task = {
        "kind": "probe",
        "machine": dict(machine),
        "batch": scale.batch,
        "models": [asdict(scale.config(each, vocabulary)) for each in layers],
    }
    try:
        submitted = [pool.submit(task) for _ in range(pool.count)]
        found: list[Probe] = [result_of(future) for future in submitted]
    except BrokenExecutor as error:
        raise PlannerError(
            "a worker process died while the machine was measured, perhaps for want of memory; "
            "try a smaller --tier."
        ) from error
    mean = {**found[0], "workers": pool.count, "scale": scale.name}
    for index, model in enumerate(mean["models"]):
        rates = [each["models"][index]["flops_per_second"] for each in found]
        model["flops_per_second"] = sum(rates) / len(rates)
    mean["matmul"] = sum(each["matmul"] for each in found) / len(found)
    return mean


def covers(probe: Probe, design: Design) -> bool:
    """Whether the design's own models were probed."""
    probed = {model["layers"] for model in probe["models"]}
    return probe["scale"] == design.scale and probed >= set(sizes(design))


def of_design(probe: Probe, design: Design | None = None) -> float:
    """FLOP/s of all workers together: of the design's ladder, or the mean over the models."""
    rates = {model["layers"]: float(model["flops_per_second"]) for model in probe["models"]}
    workers = float(probe["workers"])
    if design is None:
        return workers * sum(rates.values()) / len(rates)
    cost = sum(map(design.cost, design.ladder))
    seconds = sum(design.cost(run) / rates[run.layers] for run in design.ladder)
    return workers * cost / seconds


def first_guess(probe: Probe, beyond: bool) -> float:
    """FLOP/s to make a first design with. `beyond`: the products' speed speaks for larger models
    than the probed ones, which may be too small to keep an accelerator busy."""
    fast = GUESS * probe["matmul"] * probe["workers"] if beyond else 0.0
    return max(of_design(probe), float(fast))


def probe(task: Task) -> dict[str, Any]:
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
