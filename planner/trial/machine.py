"""How fast this machine trains, at the sizes that a trial will have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from typing import Any

from planner.errors import PlannerError
from planner.trial.design import Design, Scale
from planner.trial.runs import Pool, result_of

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
