"""An `Analysis` as a plain table, Markdown or JSON. Renders, never computes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from planner import units
from planner.fit.analysis import Analysis
from planner.fit.judge import Bin, Errors

Table = tuple[str, list[str], list[list[str]]]


def to_text(found: Analysis) -> str:
    """Plain text: headline, tables, remarks."""
    parts = [_headline(found)]
    for title, header, rows in _tables(found):
        parts += ["", title, *_aligned(header, rows)]
    if found.remarks:
        parts += ["", "What to know", *(f"- {remark}" for remark in found.remarks)]
    return "\n".join(parts)


def to_markdown(found: Analysis) -> str:
    """Markdown with the same contents."""
    parts = ["# Fit of a scaling law", "", _headline(found)]
    for title, header, rows in _tables(found):
        parts += ["", f"## {title}", "", _row(header), _row(["---"] * len(header))]
        parts += [_row(row) for row in rows]
    if found.remarks:
        parts += ["", "## What to know", "", *(f"- {remark}" for remark in found.remarks)]
    return "\n".join(parts) + "\n"


def to_json(found: Analysis) -> str:
    """JSON, versioned by its `schema`."""
    return json.dumps(found.to_dict(), indent=2)


FORMATS: dict[str, Callable[[Analysis], str]] = {
    "table": to_text,
    "json": to_json,
    "markdown": to_markdown,
}


def _headline(found: Analysis) -> str:
    point = found.point
    runs = f"{len(point.task.rows)} runs"
    if point.task.supervised_rows is not None:
        runs += f" and {len(point.task.supervised_rows)} supervised runs"
    end = "converged" if point.converged else "NOT CONVERGED"
    return (
        f"Law {point.task.form.name} ({point.task.form.summary}) on {runs}; "
        f"{point.protocol.describe()}.\n"
        f"Objective {point.objective:.10g}, largest gradient {point.gradient_norm:.1e} ({end}); "
        f"{point.agreeing:.0%} of {point.starts} starts agree"
        + (f" (chosen from {point.grid_points:,} grid points)." if point.grid_points else ".")
        + f"\nOn the fitted runs themselves the mean absolute relative error is "
        f"{_percent(found.errors.mean)}, the worst {_percent(found.errors.worst)}; "
        + _beyond(found)
    )


def _beyond(found: Analysis) -> str:
    """What is known of errors on runs that were not fitted."""
    if found.extrapolation is None:
        return "errors on other runs were not measured."
    return (
        "predicting its lower losses from its higher ones, "
        f"{_percent(found.extrapolation.predicted.mean)} and "
        f"{_percent(found.extrapolation.predicted.worst)}."
    )


def _tables(found: Analysis) -> list[Table]:
    tables = [_coefficients(found), _bins(found)]
    if found.sizes:
        rows = [[units.format_count(size), *_errors(e)] for size, e in found.sizes.items()]
        tables.append(("Errors when a size is left out", ["size", *_ERRORS], rows))
    if found.extrapolation is not None:
        check = found.extrapolation
        rows = [["fitted", *_errors(check.fitted)], ["predicted", *_errors(check.predicted)]]
        title = f"Fit on losses from {check.threshold:.3f} up, prediction of those below"
        tables.append((title, ["runs are", *_ERRORS], rows))
    if found.forms:
        tables.append(_forms(found))
    if found.coverage is not None:
        tables.append(_coverage(found))
    return tables


_ERRORS = ["runs", "mean", "worst", "bias"]


def _errors(e: Errors) -> list[str]:
    return [str(e.runs), _percent(e.mean), _percent(e.worst), f"{100 * e.bias:+.2f}%"]


def _coefficients(found: Analysis) -> Table:
    rows = []
    open_names = {each.name for each in found.open_ones}
    for name in found.point.task.coefficients:
        interval = ""
        if name in found.point.task.held:
            interval = "held"
        elif name in open_names:
            interval = "not identified"
        elif found.boot is not None:
            interval = " to ".join(f"{end:.5g}" for end in found.boot.interval(name))
        rows.append([name, f"{found.point.values[name]:.6g}", interval])
    level = "" if found.boot is None else f"{found.boot.level:.0%} of {found.boot.size:,} draws"
    return "Coefficients", ["name", "value", level], rows


def _bins(found: Analysis) -> Table:
    rows = [[b.quantity, _range(b), *_errors(b.errors)] for b in found.bins]
    return "Residuals on the fitted runs", ["by", "range", *_ERRORS], rows


def _range(b: Bin) -> str:
    shown = units.format_count if b.high > 1e4 else lambda value: f"{value:.3g}"
    return shown(b.low) if b.low == b.high else f"{shown(b.low)} to {shown(b.high)}"


def _coverage(found: Analysis) -> Table:
    kinds = {"random fifths": found.coverage, "whole sizes": found.coverage_sizes}
    rows = [[k, f"{c.law:.0%}", f"{c.run:.0%}"] for k, c in kinds.items() if c is not None]
    level = "" if found.coverage is None else f"{found.coverage.level:.0%} "
    header = ["left out", "of the law's value alone", "with the scatter of single runs"]
    return f"Held-out runs inside their {level}intervals", header, rows


def _forms(found: Analysis) -> Table:
    rows = [
        [
            each.name,
            str(each.coefficients),
            _percent(each.in_sample.mean),
            _percent(each.held_out.mean),
            _percent(each.held_out.worst),
            "" if each.by_group is None else _percent(each.by_group.mean),
        ]
        for each in found.forms
    ]
    header = ["form", "free", "in sample", "held out", "worst", "sizes left out"]
    return "Forms of the law, mean errors", header, rows


def _percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [list(header), *map(list, rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(header))]
    return [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
