"""What a plan needs of its devices: hours, energy, money, memory and storage, beside the same for
the supervised alternative.

`needs(recipe, baseline, coefficients, setup)` counts what the budget pays for, phase by phase, so
that the FLOPs of all phases are the plan's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Literal

from coefficients import CoefficientSet
from laws.architecture import Architecture
from laws.lifetime import Serving
from planner.memory import (
    LogitFormat,
    LogitsDecision,
    Setting,
    decide_logits,
    least_devices,
    training_memory,
)
from planner.models import model_of
from planner.recipe import own_flops
from planner.resources import Cluster, Phase, Resources, Work, calendar, of_terms, of_work
from planner.results import AnyModel, Baseline, Flops, Recipe

TOP_K, SAMPLES = 128, 12
"""Entries per token of the formats compared: a usual top-k, and the samples that match the full
distribution in arXiv 2503.16870."""

MONTH_DAYS = 365.25 / 12
BYTES = 2
"""Per number of matrix products in bf16."""
USUAL = (4096, 32_168)
"""Context and vocabulary of memory and logits under a set whose FLOPs count neither."""


@dataclass(frozen=True)
class Setup:
    """What a plan runs on, and what is asked about it.

    load: prompts and completions that the served tokens are made of. passes: how often the same
    logits are learned from. storage_price: money per TB and month. assumed: whether the training
    utilisation is the usual one rather than given.
    """

    cluster: Cluster
    load: Serving | None = None
    passes: float = 1.0
    storage_price: float | None = None
    start: date | None = None
    assumed: bool = False


@dataclass(frozen=True)
class Slot:
    """A phase in the calendar: days since the start, and the times themselves (ISO, UTC) where the
    start is given."""

    name: str
    first_day: float
    last_day: float
    begins: str | None = None
    ends: str | None = None


@dataclass(frozen=True)
class MemoryNeed:
    """Whether one training step fits: the nearest buildable shape, one sequence on each device, the
    states sharded over all of them.

    bytes_per_device: at the plan's number of devices, with activation checkpointing where it does
    not fit without. limit: usable bytes of a device. least_devices, with_checkpointing: the fewest
    devices (a power of two) without and with it; None where no number is enough.
    """

    model: str
    parameters: int
    bytes_per_device: float
    limit: float
    fits: bool
    checkpointing: bool
    least_devices: int | None
    with_checkpointing: int | None


@dataclass(frozen=True)
class LogitsNeed:
    """Logits stored in one format: bytes over the student's tokens, and bytes per second that a
    student training on these devices reads."""

    kind: Literal["full", "top-k", "sampled"]
    entries: int
    bytes_per_token: float
    bytes: float
    bytes_per_second: float


@dataclass(frozen=True, kw_only=True)
class PlanResources(Resources):
    """What the recipe takes, by phase and in total, and the supervised model of the same budget.

    inside_domain: whether they are those of the plan inside the measured range, which decides where
    the optimum leaves it. storage: formats of stored logits. decision: an online teacher or stored
    logits (sampled), by cost; None where the teacher's size is unknown.
    """

    supervised: Resources
    inside_domain: bool = False
    calendar: tuple[Slot, ...] = ()
    memory: tuple[MemoryNeed, ...] = ()
    storage: tuple[LogitsNeed, ...] = ()
    decision: LogitsDecision | None = None


@dataclass(frozen=True, kw_only=True)
class Spent(Resources):
    """What one of an answer's recipes or budgets takes, by phase and in total."""

    name: str


def spent(name: str, flops: Flops, setup: Setup) -> Spent:
    """Hours, energy and money of what a budget pays, FLOPs by term."""
    found = _resources(flops, setup)
    return Spent(
        found.phases,
        found.total,
        found.accelerator,
        found.count,
        found.currency,
        (*_assumptions(flops, setup), *found.assumptions),
        name=name,
    )


def needs(
    recipe: Recipe, baseline: Baseline, coefficients: CoefficientSet, setup: Setup
) -> PlanResources:
    """Hours, energy, money, memory and storage of a plan on a setup.

    Raises QuantityError for passes below 1.
    """
    found = _resources(recipe.flops, setup)
    storage, decision = _logits(recipe, coefficients, setup, found)
    return PlanResources(
        phases=found.phases,
        total=found.total,
        accelerator=found.accelerator,
        count=found.count,
        currency=found.currency,
        assumptions=(*_assumptions(recipe.flops, setup), *found.assumptions),
        supervised=_resources(baseline.flops, setup),
        calendar=_calendar(found, setup.start),
        memory=_memory(recipe, baseline, coefficients, setup.cluster),
        storage=storage,
        decision=decision,
    )


def _resources(flops: Flops, setup: Setup) -> Resources:
    terms = {term: getattr(flops, term) for term in Flops.TERMS}
    serving: dict[Work, float] | None = None
    if setup.load is not None:
        prefill = flops.serving * (setup.load.prefill_tokens / setup.load.tokens)
        serving = {"prefill": prefill, "decode": flops.serving - prefill}
    return of_terms(terms, setup.cluster, serving)


def _assumptions(flops: Flops, setup: Setup) -> list[str]:
    shares = setup.cluster.utilisation
    how = "assumed; measure yours with planner benchmark" if setup.assumed else "as given"
    peak = "peak" if setup.cluster.precision == "bf16" else "FP8 peak"
    said = [f"training reaches {shares.training:.0%} of the {peak} ({how})"]
    if flops.uncharged is None or flops.uncharged > 0:
        said.append(
            "the teacher's FLOPs that the budget does not pay are in no hour, and in no cost"
        )
    if flops.serving > 0:
        parts = "every served token counts as decoding"
        if setup.load is not None:
            parts = f"prompts at {shares.prefill:.0%} of the peak, completions"
        said.append(
            f"serving counts F(N) FLOPs per token, {parts} at {shares.decode:.0%}; idle devices "
            "and caches of prompts are not counted, and budgets in GPU-hours or money are "
            "converted at the training utilisation"
        )
        if setup.load is not None:
            weighed = setup.load.weighted_tokens(shares.prefill, shares.decode, shares.training)
            said.append(
                "the size is chosen by FLOPs; to choose it by the hours of serving, plan with "
                f"--serving-tokens {weighed:.4g} instead of the load"
            )
    return said


def _calendar(found: Resources, start: date | None) -> tuple[Slot, ...]:
    """The phases one after the other; serving is no phase of it."""
    phases = tuple(each for each in found.phases if not each.name.startswith("serving"))
    first = datetime(2000, 1, 1, tzinfo=UTC)
    if start is not None:
        first = datetime(start.year, start.month, start.day, tzinfo=UTC)
    try:
        entries = calendar(replace(found, phases=phases), first)
    except OverflowError:  # thousands of years: no calendar has them
        return ()
    day = 86400.0
    return tuple(
        Slot(
            each.name,
            (each.start - first).total_seconds() / day,
            (each.end - first).total_seconds() / day,
            None if start is None else each.start.isoformat(timespec="minutes"),
            None if start is None else each.end.isoformat(timespec="minutes"),
        )
        for each in entries
    )


def shape_of(model: AnyModel) -> Architecture | None:
    """The shape of a model for its memory: an open model's own, else the nearest buildable one."""
    known = model_of(model) if model.existing else None
    if known is None:
        return model.architecture
    return Architecture(
        known.layers,
        known.d_model,
        known.heads,
        known.kv_heads,
        known.d_ff * known.active_experts,
        known.parameters,
    )


def _memory(
    recipe: Recipe, baseline: Baseline, coefficients: CoefficientSet, cluster: Cluster
) -> tuple[MemoryNeed, ...]:
    device = cluster.accelerator.memory
    student, teacher = recipe.student.architecture, shape_of(recipe.teacher)
    direct = baseline.model.architecture
    if device is None or student is None:
        return ()
    setting = Setting(
        context=coefficients.context or USUAL[0],
        vocabulary=coefficients.vocabulary or USUAL[1],
        compute=BYTES,
    )
    asked: list[tuple[str, Architecture, Architecture | None]] = []
    if teacher is not None and not recipe.teacher.existing:
        asked.append(("teacher", teacher, None))
    asked.append(("student from stored logits", student, None))
    if teacher is not None:
        asked.append(("student beside its teacher", student, teacher))
    if direct is not None:
        asked.append(("supervised", direct, None))
    return tuple(_memory_of(*each, setting, device, int(cluster.count)) for each in asked)


def _memory_of(
    name: str,
    model: Architecture,
    teacher: Architecture | None,
    setting: Setting,
    device: float,
    count: int,
) -> MemoryNeed:
    lean = replace(setting, checkpointing=True)
    least, with_checkpointing = (
        least_devices(model, each, device, teacher) for each in (setting, lean)
    )
    shards = max(1, count)
    plain = training_memory(model, replace(setting, shards=shards), teacher).total
    checkpointing = plain > least.limit
    total = (
        training_memory(model, replace(lean, shards=shards), teacher).total
        if checkpointing
        else plain
    )
    return MemoryNeed(
        name,
        model.parameters,
        total,
        least.limit,
        total <= least.limit,
        checkpointing,
        least.devices,
        with_checkpointing.devices,
    )


def _logits(
    recipe: Recipe, coefficients: CoefficientSet, setup: Setup, found: Resources
) -> tuple[tuple[LogitsNeed, ...], LogitsDecision | None]:
    """Formats of stored logits, and whether the sampled ones are worth storing."""
    student, teacher, cluster = recipe.student, recipe.teacher, setup.cluster
    known = model_of(teacher) if teacher.existing else None
    vocabulary = coefficients.vocabulary or USUAL[1]
    if known is not None:
        vocabulary = known.vocabulary
    context = coefficients.context or USUAL[0]
    training = 3.0 * float(coefficients.flops.per_token(student.parameters))
    speed = cluster.count * cluster.peak * cluster.utilisation.training / training
    kinds: list[tuple[Literal["full", "top-k", "sampled"], int]] = [
        ("full", vocabulary),
        ("top-k", min(TOP_K, vocabulary)),
        ("sampled", min(SAMPLES, vocabulary)),
    ]
    storage = []
    for kind, entries in kinds:
        form = LogitFormat(kind, entries, context)
        storage.append(
            LogitsNeed(
                kind,
                entries,
                form.bytes_per_token(vocabulary),
                form.bytes(student.tokens, vocabulary),
                form.stream(speed, vocabulary),
            )
        )
    forward = own_flops(teacher)
    if forward is None and teacher.parameters is not None:
        forward = float(coefficients.flops.per_token(teacher.parameters))
    if forward is None:
        return tuple(storage), None
    once = of_work([("logits", "teacher_inference", forward * student.tokens)], cluster).total
    days = sum(each.days for each in found.phases if each.name == "student training")
    decision = decide_logits(
        once.gpu_hours,
        storage[-1].bytes,
        passes=setup.passes,
        price=None if cluster.price is None else cluster.price.amount,
        storage_price=setup.storage_price,
        months=(once.days + days * setup.passes) / MONTH_DAYS,
        currency=found.currency or "$",
    )
    return tuple(storage), decision


def both(found: PlanResources) -> list[tuple[str, Phase]]:
    """Phases and totals of both methods, in the order in which they are shown."""
    return [
        *(("distillation", each) for each in (*found.phases, found.total)),
        *(("supervised", each) for each in (*found.supervised.phases, found.supervised.total)),
    ]
