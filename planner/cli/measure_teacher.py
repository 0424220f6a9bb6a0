"""`planner measure-teacher`: the cross-entropy of a model that exists, on the user's own text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from planner import units
from planner.cli.options import output_options
from planner.cli.output import Output
from planner.cli.train import SCALES, data_of, data_options, machine_of, machine_options

if TYPE_CHECKING:
    from planner.trainer.data import DataSpec
    from planner.trainer.measure import Measures
    from planner.trainer.teachers import Teacher


@click.command(
    "measure-teacher",
    short_help="Measure the cross-entropy of a teacher that exists.",
    epilog="Example: planner measure-teacher runs/teacher",
)
@click.argument("source", metavar="PATH|hub:NAME")
@data_options
@click.option("--context", type=int, help="Tokens per sequence; the teacher's own unless given.")
@click.option("--max-tokens", metavar="N", help="Held-out tokens to measure on; all unless given.")
@click.option(
    "--batch", type=click.IntRange(1), default=8, show_default=True, help="Sequences at a time."
)
@machine_options
@output_options(("table", "json"))
def command(
    source: str,
    context: int | None,
    max_tokens: str | None,
    batch: int,
    output: Output,
    **given: Any,
) -> None:
    """Measure a run of ours, or any causal model that transformers loads, on held-out text.

    The text is that of the run unless --corpus names another; a foreign model's own tokenizer cuts
    it. The cross-entropy is what --teacher size=...,loss=... of a plan takes, for that text and
    tokenizer.
    """
    machine = machine_of(given)
    from planner.trainer.teachers import measure_teacher

    data, own_context = _data(source, given)
    limit = None if max_tokens is None else round(units.parse_count(max_tokens, "tokens"))
    context = context or own_context
    teacher, measures = measure_teacher(
        source, data, context, machine, cache=given["cache"], max_tokens=limit, batch=batch
    )
    output.write(
        _json(teacher, measures, data, context)
        if output.format == "json"
        else _table(teacher, measures, data, context)
    )


def _data(source: str, given: dict[str, Any]) -> tuple[DataSpec, int]:
    """The text to measure on and the context to use, from the run where there is one."""
    from planner.trainer.data import DataSpec
    from planner.trainer.teachers import origin, tokenizer_of

    run = origin(source)
    if run is not None and given["corpus"] is None:
        return DataSpec(**run["spec"]["data"]), run["config"]["context"]
    if run is not None:
        context: int = run["config"]["context"]
        tokenizer = given["tokenizer"] or str(tokenizer_of(source))
        return data_of({**given, "tokenizer": tokenizer}, SCALES["small"]), context
    if given["tokenizer"] is None:
        given = {**given, "tokenizer": source}
    return data_of(given, SCALES["small"]), 1_024


def _json(teacher: Teacher, measures: Measures, data: DataSpec, context: int) -> str:
    document = {
        "teacher": teacher.name,
        "hash": teacher.hash,
        "parameters": teacher.parameters,
        "forward_flops_per_token": float(teacher.law_flops(teacher.parameters)),
        "corpus": data.corpus,
        "context": context,
        **{name: value for name, value in measures.to_dict().items() if value is not None},
    }
    return json.dumps(document, indent=2)


def _table(teacher: Teacher, measures: Measures, data: DataSpec, context: int) -> str:
    forward = float(teacher.law_flops(teacher.parameters))
    size = units.format_count(teacher.parameters, 4)
    return "\n".join(
        (
            f"teacher          {teacher.name}",
            f"cross-entropy    {measures.cross_entropy:.4f} nats/token "
            f"({measures.bits_per_byte:.4f} bits/byte)",
            f"measured on      {measures.tokens:,} held-out tokens of {data.corpus}, "
            f"context {context:,}",
            f"parameters       {size} non-embedding, {units.format_flops(forward)} FLOPs/token "
            "forward",
            f"calibration      ECE {measures.ece:.4f}, top-1 accuracy {measures.accuracy:.2%}",
            f"in a plan        --teacher size={size},loss={measures.cross_entropy:.4f}",
        )
    )
