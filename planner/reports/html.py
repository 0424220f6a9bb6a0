"""A plan in a notebook: self-contained HTML, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from planner import units
from planner.plan import Plan
from planner.reports import words

_RED = "border:2px solid #d22;padding:.4em .8em;margin:.5em 0"


def to_html(plan: Plan) -> str:
    """One <div> with verdict, warnings, tables and proof; every text escaped."""
    models = (plan.recipe.student, plan.recipe.teacher, plan.supervised.model)
    parts = [
        f"<p>{escape(words.title(plan))}<br><strong>{escape(plan.verdict.text)}</strong></p>",
        _warnings(plan),
        _table(("", *words.model_names(plan)), [(a, *b) for a, b in words.model_rows(models)]),
        _table(
            ("Compute", "FLOPs", "Share"),
            [
                (label, value, units.format_share(share))
                for label, value, share in words.flops_rows(plan.recipe.flops)
            ],
        ),
        _table(
            ("Scenario", "Student", "Teacher", "Cross-entropy", "Against supervised"),
            [
                (
                    f"{line.name} (chosen)" if line.chosen else line.name,
                    line.student,
                    line.teacher,
                    line.cross_entropy,
                    line.difference_text,
                )
                for line in words.scenario_lines(plan)
            ],
        ),
        *(
            f"<div>{escape(line)}</div>"
            for line in (
                words.certificate(plan.certificate),
                words.binding(plan.recipe),
                words.baseline_binding(plan),
                *plan.recipe.notes,
                words.uncharged(plan.recipe.flops),
                words.considered(plan),
                words.counting(plan),
            )
            if line
        ),
    ]
    return '<div class="distillation-plan">' + "".join(parts) + "</div>"


def _warnings(plan: Plan) -> str:
    if not plan.warnings:
        return ""
    items = "".join(f"<li>{escape(warning.text)}</li>" for warning in plan.warnings)
    inside = escape(words.in_domain(plan.in_domain, plan)) if plan.in_domain else ""
    heading = escape(words.warnings_title(plan.warnings))
    return f'<div style="{_RED}"><strong>{heading}</strong><ul>{items}</ul>{inside}</div>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
