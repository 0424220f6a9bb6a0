"""`planner benchmark`: how much of its peak this machine gives to training and to a teacher."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli.options import output_options
from planner.cli.output import Output
from planner.cli.train import SCALES, config_of, machine_of, machine_options, model_options

if TYPE_CHECKING:
    from planner.trainer.benchmark import Benchmark, Speed
    from planner.trainer.hardware import Peak
    from planner.trainer.model import Config


@click.command(
    "benchmark",
    short_help="Measure this machine's speed for training and teacher inference.",
    epilog="Example: planner benchmark --layers 3",
)
@model_options
@click.option("--teacher-layers", type=int, help="Layers of the teacher; the model's unless given.")
@click.option("--vocabulary", type=int, help="Entries of the vocabulary.")
@click.option("--batch", type=click.IntRange(1), help="Sequences per step.")
@click.option("--seconds", default=10.0, show_default=True, help="Time for each measurement.")
@machine_options
@output_options(("table", "json"))
def command(
    teacher_layers: int | None,
    vocabulary: int | None,
    batch: int | None,
    seconds: float,
    output: Output,
    **given: Any,
) -> None:
    """Train and run a model on random tokens for a while; compare with plain matrix products."""
    machine = machine_of(given)
    import torch

    from planner.trainer.benchmark import benchmark

    gpu = (given["device"] or ("cuda" if torch.cuda.is_available() else "cpu")) != "cpu"
    scale = SCALES[given["scale"] or ("paper" if gpu else "small")]
    if given["layers"] is None and given["size"] is None:
        given["layers"] = 12 if gpu else 3
    words = vocabulary or scale["vocabulary"]
    config = config_of(given, scale, words)
    teacher = config_of({**given, "layers": teacher_layers or config.layers}, scale, words)
    found = benchmark(config, batch or (4 if gpu else 8), machine, seconds, teacher)
    output.write(
        json.dumps(asdict(found), indent=2)
        if output.format == "json"
        else _table(found, config, teacher)
    )


def _table(found: Benchmark, config: Config, teacher: Config) -> str:
    peak = "unknown" if found.peak.flops is None else f"{found.peak.flops:.4g} FLOP/s"
    return "\n".join(
        (
            f"device           {found.device}, {found.precision}",
            f"peak             {peak}"
            + ("" if found.peak.flops is None else f", {found.peak.reference}"),
            f"matrix products  {found.matmul:.4g} FLOP/s measured",
            *_lines("training", config, found.training, found.peak),
            *_lines("teacher", teacher, found.inference, found.peak),
        )
    )


def _lines(name: str, config: Config, speed: Speed, peak: Peak) -> tuple[str, ...]:
    from planner.trainer.hardware import describe

    mfu = describe(speed.utilisation, peak)
    hours = 1e18 / speed.law_flops / 3600
    return (
        f"{name:<16} {units.format_count(config.parameters)} parameters, "
        f"{speed.tokens_per_second:,.0f} tokens/s, {speed.flops:.4g} FLOP/s, {mfu}, "
        f"{speed.of_matmul:.1%} of the matrix products",
        f"{'':<16} 1e18 FLOPs of a plan take {hours:.4g} hours on one such device",
    )
