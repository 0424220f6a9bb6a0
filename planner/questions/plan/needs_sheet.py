"""A plan's hours, energy, money, memory and logits, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from planner.needs import LogitsNeed, MemoryNeed, PlanResources, both
from planner.questions.resources_sheet import MEASURES, amount, hours
from planner.reports import words
from planner.reports.sheet import Grid

FORMATS = {"full": "full", "top-k": "top {entries}", "sampled": "{entries} samples"}


def grids(found: PlanResources) -> Iterator[Grid]:
    """Hours, energy and cost of both methods; the calendar; memory; stored logits."""
    yield _hours(found)
    if found.calendar:
        yield _calendar(found)
    if found.memory:
        yield _memory(found)
    yield _storage(found)


def notes(found: PlanResources) -> list[str]:
    """What was assumed, and whether logits are worth storing."""
    lines = [f"Hours and cost: {'; '.join(found.assumptions)}."]
    if found.memory:
        lines.append(
            "Memory: Adam's states in float32, products in bf16, one sequence on each device, "
            "states sharded over all of them; without tensor parallelism."
        )
    if found.decision is not None:
        lines.append(f"Logits: {found.decision.text}")
        if found.decision.charge_inference < 1:
            lines.append(
                "Logits stored once for all passes: plan with --charge-inference "
                f"{found.decision.charge_inference:.4g}."
            )
    return lines


def cells(found: PlanResources) -> dict[str, Any]:
    """Columns of CSV: every measure of every phase and of both totals."""
    row: dict[str, Any] = {
        "accelerator": found.accelerator, "devices": found.count, "currency": found.currency,
    }  # fmt: skip
    for method, phase in both(found):
        name = phase.name.replace("serving: ", "serving ").replace(" ", "_")
        first = "" if method == "distillation" else "supervised_"
        row |= {f"{first}{name}_{each}": getattr(phase, each) for each in MEASURES}
    return row


def _hours(found: PlanResources) -> Grid:
    rows = [(f"{method}: {phase.name}", phase) for method, phase in both(found)]
    grid = hours("Hours, energy, cost", "Phase", rows, found)
    if found.inside_domain:
        return replace(grid, title=f"{grid.title}, of the plan inside the measured range")
    return grid


def _calendar(found: PlanResources) -> Grid:
    rows = tuple(
        (
            each.name,
            each.begins or f"day {amount(each.first_day)}",
            each.ends or f"day {amount(each.last_day)}",
        )
        for each in found.calendar
    )
    return Grid(
        "Calendar, one phase after the other", ("Phase", "Begins", "Ends"), rows, detail=True
    )


def _memory(found: PlanResources) -> Grid:
    head = ("Training step", "GB per device", "Usable", "Fits", "Least devices", "with checkpoints")
    return Grid("Memory", head, tuple(map(_memory_row, found.memory)), detail=True)


def _memory_row(each: MemoryNeed) -> tuple[str, ...]:
    fits = "no" if not each.fits else "with checkpoints" if each.checkpointing else "yes"
    return (
        each.model,
        amount(each.bytes_per_device / 1e9),
        amount(each.limit / 1e9),
        fits,
        words.NOTHING if each.least_devices is None else f"{each.least_devices:,}",
        words.NOTHING if each.with_checkpointing is None else f"{each.with_checkpointing:,}",
    )


def _storage(found: PlanResources) -> Grid:
    head = ("Stored logits", "Bytes per token", "TB", "MB/s while training")
    return Grid("", head, tuple(map(_storage_row, found.storage)), detail=True)


def _storage_row(each: LogitsNeed) -> tuple[str, ...]:
    return (
        FORMATS[each.kind].format(entries=each.entries),
        f"{each.bytes_per_token:,.0f}",
        amount(each.bytes / 1e12),
        amount(each.bytes_per_second / 1e6),
    )
