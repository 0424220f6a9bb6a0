"""Markdown to paste into an issue, a design document or a wiki."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from planner import units
from planner.plan import Plan
from planner.reports import trust, words


def render(plan: Plan) -> str:
    """Heading, verdict, warnings, tables, proof and conventions."""
    parts = [
        f"## {words.title(plan)}",
        f"**{_escape(words.tidy(plan.verdict.text))}**",
        *_warnings(plan),
        _models(plan),
        _flops(plan),
        _scenarios(plan),
        *_trust(plan),
        "\n".join(f"- {_escape(line)}" for line in _facts(plan)),
    ]
    return "\n\n".join(parts) + "\n"


def _warnings(plan: Plan) -> list[str]:
    if not plan.warnings:
        return []
    lines = [f"> ⚠️ **{words.warnings_title(plan.warnings)}**", ">"]
    lines += [f"> - {_escape(words.tidy(warning.text))}" for warning in plan.warnings]
    if plan.in_domain is not None:
        lines += [">", f"> {_escape(words.in_domain(plan.in_domain, plan))}"]
    return ["\n".join(lines)]


def _models(plan: Plan) -> str:
    models = (plan.recipe.student, plan.recipe.teacher, plan.supervised.model)
    rows = [(label, *cells) for label, cells in words.model_rows(models)]
    return _table(("", *words.model_names(plan)), rows)


def _flops(plan: Plan) -> str:
    flops = plan.recipe.flops
    rows = [
        (label, value, units.format_share(share)) for label, value, share in words.flops_rows(flops)
    ]
    rows.append(("**Total**", units.format_flops(flops.total), units.format_share(1.0)))
    return _table(("Compute", "FLOPs", "Share"), rows)


def _scenarios(plan: Plan) -> str:
    rows = [
        (
            f"**{line.name}**" if line.chosen else line.name,
            line.student,
            line.teacher,
            line.cross_entropy,
            line.difference_text,
        )
        for line in words.scenario_lines(plan)
    ]
    head = ("Scenario", "Student", "Teacher", "Cross-entropy", "Against supervised")
    return _table(head, rows)


def _trust(plan: Plan) -> list[str]:
    parts = []
    if plan.robust is not None:
        parts += [_table(trust.risk_head(plan.robust), trust.risk_rows(plan.robust))]
        parts += [_escape(trust.robust(plan.robust))]
    if plan.sensitivity:
        parts += [_table(trust.pull_head(), trust.pull_rows(plan.sensitivity)), trust.pull_note()]
    return parts


def _facts(plan: Plan) -> list[str]:
    lines = [
        words.certificate(plan.certificate),
        words.binding(plan.recipe),
        words.baseline_binding(plan),
        *map(words.tidy, plan.recipe.notes),
        words.uncharged(plan.recipe.flops),
        words.outside(plan),
        *trust.lines(plan),
        words.considered(plan),
        words.counting(plan),
    ]
    return [line for line in lines if line]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    align = ["---", *["---:"] * (len(head) - 1)]
    body = [[cell.replace("|", "\\|") for cell in row] for row in (head, align, *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in body)


def _escape(text: str) -> str:
    for sign in ("\\", "*", "_", "`", "<", "["):
        text = text.replace(sign, f"\\{sign}")
    return text
