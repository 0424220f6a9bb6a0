"""Designs and choices of runs as text, Markdown or JSON. Renders, never computes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from planner import units
from planner.experiments.design import NOISE, Design, Run
from planner.experiments.next_runs import Choice

_TOLD = 2.0  # sharpening below which the prior says as much as the runs
FORMATS = ("table", "json", "markdown", "csv")
_RUN = ("run", "layers", "parameters", "tokens", "teacher", "FLOPs", "loss", "tells most about")
_PICK = ("row", "parameters", "tokens", "teacher's loss", "FLOPs", "target sd after", "sharpens")


def design_text(found: Design, format_name: str = "table") -> str:
    """One protocol's plan."""
    if format_name == "json":
        return json.dumps(design_document(found), indent=2)
    rows = [_run_cells(f"T{k + 1}", run, "") for k, run in enumerate(found.teachers)]
    rows += [
        _run_cells(f"S{k + 1}", run, ", ".join(told))
        for k, (run, told) in enumerate(zip(found.students, found.identifies, strict=True))
    ]
    if format_name == "csv":
        return _csv(found)
    lines = [
        f"Protocol {found.protocol}: {found.summary}.",
        f"{len(found.teachers)} teachers and {len(found.students)} students for "
        f"{units.format_flops(found.cost)} FLOPs. Train every teacher once and keep its loss: the "
        "teachers are supervised runs too.",
        *found.notes,
        _sharpened(found),
        "Predicted standard errors of the logarithm (of c0 itself), assuming "
        f"{NOISE:.1%} of noise a run, a known supervised law and a plain prior (in brackets: where "
        "both are alike, the number is the prior's and not the runs'): "
        + ", ".join(
            f"{name} {error:.2g} ({found.prior[name]:.2g})" for name, error in found.errors.items()
        )
        + ".",
    ]
    return _assemble(lines, _RUN, rows, format_name)


def _sharpened(found: Design) -> str:
    """What the whole design tells most about, beyond the prior."""
    known = [f"{name} {gain:.2g}x" for name, gain in found.sharpened.items() if gain >= _TOLD]
    rest = [name for name, gain in found.sharpened.items() if gain < _TOLD]
    told = f"Beyond the prior all runs together sharpen {', '.join(known)}" if known else ""
    if not rest:
        return f"{told}."
    hardly = f"they hardly tell {', '.join(rest)} one by one"
    return f"{told}; {hardly}." if known else f"As to the coefficients, {hardly}."


def _run_cells(name: str, run: Run, told: str) -> list[str]:
    teacher = "" if run.teacher is None else f"T{run.teacher + 1}"
    return [
        name,
        str(run.architecture.layers),
        units.format_count(run.parameters),
        units.format_count(run.tokens),
        teacher,
        units.format_flops(run.cost),
        units.format_loss(run.loss),
        told,
    ]


def design_document(found: Design) -> dict[str, Any]:
    """The JSON document of a design."""
    runs = [(f"T{k + 1}", run, ()) for k, run in enumerate(found.teachers)]
    runs += [
        (f"S{k + 1}", run, told)  # type: ignore[misc]
        for k, (run, told) in enumerate(zip(found.students, found.identifies, strict=True))
    ]
    return {
        "schema": "planner-design/1",
        "protocol": found.protocol,
        "summary": found.summary,
        "flops": found.cost,
        "standard_errors": found.errors,
        "prior_standard_errors": found.prior,
        "noise": NOISE,
        "notes": list(found.notes),
        "runs": [
            {
                "run": name,
                "kind": run.kind,
                "layers": run.architecture.layers,
                "d_model": run.architecture.d_model,
                "parameters": run.architecture.parameters,
                "tokens": run.tokens,
                "teacher": None if run.teacher is None else f"T{run.teacher + 1}",
                "flops": run.cost,
                "expected_cross_entropy": run.loss,
                "identifies": list(told),
            }
            for name, run, told in runs
        ],
    }


def _csv(found: Design) -> str:
    """Runs as the pool that `planner experiments next` reads (students only)."""
    rows = [
        (run.architecture.parameters, run.tokens, found.teachers[run.teacher or 0].loss, run.cost)
        for run in found.students
    ]
    return _table(("student_parameters", "student_tokens", "teacher_cross_entropy", "cost"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV with every digit: what is written here is read again and trained."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def choice_text(
    found: Choice, lines_of: Sequence[int], what: str, format_name: str = "table"
) -> str:
    """The next runs; `lines_of` are the pool's rows in its file, `what` names the target."""
    if format_name == "json":
        return json.dumps(_choice_document(found, lines_of, what), indent=2)
    rows = [_pick_cells(found, k, lines_of) for k in range(len(found.picks))]
    if format_name == "csv":
        return _picks_csv(found, lines_of)
    left = (found.before - found.after) / max(found.before - found.everything, 1e-300)
    lines = [
        f"Target: {what}. Standard deviation now {found.before:.3g}, after these "
        f"{len(found.picks)} runs {found.after:.3g}; the whole pool would give "
        f"{found.everything:.3g}.",
        f"They cost {units.format_flops(found.cost)} FLOPs, "
        f"{found.cost / found.costs.sum():.1%} of the pool's, and bring {left:.0%} of what the "
        "pool can bring.",
        "Refit after these runs before choosing again: the choice is made to first order.",
    ]
    return _assemble(lines, _PICK, rows, format_name)


def _picks_csv(found: Choice, lines_of: Sequence[int]) -> str:
    """The picks under the names that runs and pools are read by."""
    pool = found.pool
    header = ["row", "student_parameters", "student_tokens"]
    header += [] if pool.teacher_loss is None else ["teacher_cross_entropy"]
    header += ["cost", "target_sd_after", "sharpens"]
    rows = []
    for pick, after, told in zip(found.picks, found.deviations, found.sharpens, strict=True):
        k = pick.index
        own: list[object] = [lines_of[k], float(pool.parameters[k]), float(pool.tokens[k])]
        own += [] if pool.teacher_loss is None else [float(pool.teacher_loss[k])]
        rows.append([*own, pick.cost, after, " ".join(told)])
    return _table(header, rows)


def _pick_cells(found: Choice, k: int, lines_of: Sequence[int]) -> list[str]:
    pick, pool = found.picks[k], found.pool
    teacher = "" if pool.teacher_loss is None else units.format_loss(pool.teacher_loss[pick.index])
    return [
        str(lines_of[pick.index]),
        units.format_count(float(pool.parameters[pick.index])),
        units.format_count(float(pool.tokens[pick.index])),
        teacher,
        units.format_flops(pick.cost),
        f"{found.deviations[k]:.3g}",
        " ".join(found.sharpens[k]),
    ]


def _choice_document(found: Choice, lines_of: Sequence[int], what: str) -> dict[str, Any]:
    pool = found.pool
    return {
        "schema": "planner-next/1",
        "target": what,
        "before": found.before,
        "after": found.after,
        "whole_pool": found.everything,
        "flops": found.cost,
        "runs": [
            {
                "row": lines_of[pick.index],
                "parameters": float(pool.parameters[pick.index]),
                "tokens": float(pool.tokens[pick.index]),
                "teacher_cross_entropy": None
                if pool.teacher_loss is None
                else float(pool.teacher_loss[pick.index]),
                "flops": pick.cost,
                "target_after": deviation,
                "sharpens": list(told),
            }
            for pick, deviation, told in zip(
                found.picks, found.deviations, found.sharpens, strict=True
            )
        ],
    }


def _assemble(
    lines: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]], format_name: str
) -> str:
    if format_name == "markdown":
        table = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        table += ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([*(f"{line}\n" for line in lines), *table])
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return "\n".join([*lines, "", *table])
