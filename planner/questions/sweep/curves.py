"""A sweep: loss against supervised training over the budget, one panel per student."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from planner import units
from planner.errors import ProblemError, require
from planner.plots import style

MOST_PANELS = 9
NEEDED = ("budget", "student", "scenario", "charge_inference", "charge_pretraining", "teacher",
          "difference", "in_domain")  # fmt: skip


def read(path: str | Path, form: str) -> list[dict[str, Any]]:
    """The columns a picture needs, from a sweep's file."""
    if form == "parquet":
        table = require("pyarrow.parquet", extra="data").read_table(path, columns=list(NEEDED))
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows
    with Path(path).open(encoding="utf-8", newline="") as file:
        if form == "jsonl":
            return [{key: row[key] for key in NEEDED} for row in map(json.loads, file)]
        return [_typed(row) for row in csv.DictReader(file)]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    typed: dict[str, Any] = {key: row[key] or None for key in ("scenario", "teacher")}
    for key in ("budget", "student", "charge_inference", "charge_pretraining", "difference"):
        typed[key] = float(row[key]) if row[key] else None
    typed["in_domain"] = row["in_domain"] == "true"
    return typed


def draw(rows: list[dict[str, Any]]) -> Any:
    """Lines of the difference to supervised training; the dashed part leaves the domain."""
    budgets = sorted({row["budget"] for row in rows})
    students = sorted({row["student"] for row in rows}, key=lambda size: size or 0.0)
    if len(budgets) < 3:
        raise ProblemError("a picture of a sweep needs at least three budgets; give a range.")
    if len(students) > MOST_PANELS:
        pick = np.linspace(0, len(students) - 1, MOST_PANELS).round().astype(int)
        students = [students[i] for i in pick]
    columns = min(3, len(students))
    lines = -(-len(students) // columns)
    with style.drawing():
        made, grid = style.figures(
            lines, columns, 5.2 * columns + 2.6, 3.9 * lines + 1.2, sharey=True, sharex=True
        )
        panels = [axes for row in grid for axes in row]
        limits = _limits(rows)
        for place, (axes, student) in enumerate(zip(panels, students, strict=False)):
            _panel(axes, [row for row in rows if row["student"] == student], budgets, limits,
                   named=place == len(students) - 1 or (place + 1) % columns == 0)  # fmt: skip
            name = "size planned" if student is None else f"{units.format_count(student)} student"
            axes.set_title(name, loc="left", fontsize=13)
            if place % columns:
                axes.set_ylabel("")
        for axes in panels[len(students) :]:
            axes.set_visible(False)
        better = sum(1 for row in rows if row["difference"] is not None and row["difference"] < 0)
        solved = sum(1 for row in rows if row["difference"] is not None)
        style.figure_title(
            made,
            f"Distilling beats supervised training at {better:,} of {solved:,} points",
            "Student's loss minus the supervised one at the same budget; below zero distilling is "
            "better; dashed where the plan leaves the law's domain",
        )
        return made


def _limits(rows: list[dict[str, Any]]) -> tuple[float, float]:
    values = [row["difference"] for row in rows if row["difference"] is not None]
    if not values:
        raise ProblemError("no point of the sweep has a plan; there is nothing to draw.")
    low, high = np.quantile(values, [0.01, 0.95])
    pad = 0.1 * max(high - low, 0.01)
    return float(min(low, 0.0) - pad), float(max(high, 0.0) + pad)


def _panel(
    axes: Any, rows: list[dict[str, Any]], budgets: list[float], limits: tuple[float, float],
    named: bool,
) -> None:  # fmt: skip
    axes.axhline(0, color=style.SUPERVISED, lw=1.6)
    axes.set_ylim(*limits)
    style.log_axis(axes.xaxis, budgets[0], budgets[-1], "Budget, FLOPs", style.flops)
    axes.set_ylabel("Nats against supervised")
    labels = [style.Label(budgets[-1], 0.0, "supervised", style.SUPERVISED)]
    kinds = dict.fromkeys(
        (row["scenario"], row["charge_inference"], row["charge_pretraining"], row["teacher"])
        for row in rows
    )
    by_teacher = len({kind[3] for kind in kinds}) > 1
    shades = style.shades(len(kinds))
    for position, kind in enumerate(kinds):
        mine = sorted(
            (r for r in rows if (r["scenario"], r["charge_inference"], r["charge_pretraining"],
                                 r["teacher"]) == kind and r["difference"] is not None),
            key=lambda row: row["budget"],
        )  # fmt: skip
        if not mine:
            continue
        colour = shades[position] if by_teacher else style.colour(kind[0])
        x = np.array([row["budget"] for row in mine])
        y = np.array([row["difference"] for row in mine])
        inside = np.array([row["in_domain"] for row in mine])
        axes.plot(x, y, color=colour, lw=1.6, ls=(0, (3, 2)))
        axes.plot(x, np.where(inside, y, np.nan), color=colour, lw=2.6)
        name = kind[3] if by_teacher else kind[0]
        if kind[0] == "custom":
            name = f"{kind[1]:g} : {kind[2]:g}"
        end = int(np.argmin(np.abs(y - np.clip(y, *limits))[::-1]))
        labels.append(style.Label(x[-1 - end], float(np.clip(y[-1 - end], *limits)), name, colour))
    if named and len(labels) <= 24:
        style.label_lines(axes, labels)
