"""The table on the terminal: verdict and warnings first, then recipe, compute and scenarios."""

from __future__ import annotations

from rich.box import HEAVY
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from planner import units
from planner.plan import Plan
from planner.reports import Screen, trust, words
from planner.reports.bars import diverging, share_bar
from planner.reports.terminal import METHOD_COLOUR, ruled_table, to_text, verdict_panel

WIDE = 132
"""Columns from which recipe and compute, verdict and warnings stand side by side."""


def render(plan: Plan, screen: Screen) -> str:
    """The whole screen as text; escape codes for colour only where the screen has it."""
    return to_text(_screenful(plan, screen), screen)


def _screenful(plan: Plan, screen: Screen) -> RenderableType:
    wide = screen.width >= WIDE
    head = _head(plan)
    alarm = _alarm(plan)
    verdict = verdict_panel(
        words.tidy(plan.verdict.text),
        "yellow" if alarm else METHOD_COLOUR.get(plan.verdict.method, ""),
    )
    parts: list[RenderableType] = [head]
    air = [""] if alarm is None or wide else []  # one screen of 50 lines, warnings included
    if alarm is None:
        parts.append(verdict)
    elif wide:
        parts.append(_beside(verdict, alarm, (2, 3)))
    else:
        parts += [verdict, alarm]
    models, compute = _models(plan), _compute(plan)
    parts += [_beside(models, compute, None)] if wide else [models, *air, compute]
    parts += [*air, _scenarios(plan, screen), *air, *_trust(plan), _facts(plan)]
    return Group(*parts)


def _head(plan: Plan) -> Padding:
    text = Text(words.title(plan), style="bold")
    if summary := words.scenario_summary(plan):
        text.append(f"\n{words.scenario(plan)}: {summary}", style="not bold dim")
    return Padding(text, (0, 1))


def _alarm(plan: Plan) -> Panel | None:
    """Everything to know before betting on the plan, in a heavy frame; red where bets are off."""
    open_gap = not plan.certificate.proven
    if not plan.warnings and plan.in_domain is None and not open_gap:
        return None
    ranges = Table.grid(padding=(0, 2))
    ranges.add_column(no_wrap=True)
    ranges.add_column(no_wrap=True, justify="right", style="bold red")
    ranges.add_column()
    lines: list[RenderableType] = []
    for warning in plan.warnings:
        if words.leaves_range(warning):
            ranges.add_row(*words.warning_cells(warning))
        else:
            lines.append(Text(words.tidy(warning.text)))
    if ranges.row_count:
        lines.insert(0, ranges)
    if plan.in_domain is not None:
        lines.append(Text(words.in_domain(plan.in_domain, plan), style="bold"))
    if open_gap:
        lines.append(Text(words.certificate(plan.certificate), style="bold"))
    alarming = open_gap or plan.in_domain is not None or any(each.alarm for each in plan.warnings)
    colour = "red" if alarming else "yellow"
    heading = words.warnings_title(plan.warnings) if plan.warnings else "Not proven"
    return Panel(
        Group(*lines),
        title=Text(f"! {heading}", style=f"bold {colour}"),
        title_align="left",
        border_style=colour,
        box=HEAVY,
    )


def _models(plan: Plan) -> Table:
    table = ruled_table()
    table.add_column(" Recipe", overflow="fold")
    for name in words.model_names(plan):
        baseline = name == "Supervised"
        table.add_column(name, justify="right", overflow="fold", style="dim" if baseline else "")
    models = (plan.recipe.student, plan.recipe.teacher, plan.supervised.model)
    for label, cells in words.model_rows(models):
        table.add_row(f" {label}", *cells, style="bold" if label.startswith("Cross") else "")
    return table


def _compute(plan: Plan) -> Table:
    flops = plan.recipe.flops
    table = ruled_table()
    table.add_column(" Compute", no_wrap=True)
    table.add_column("FLOPs", justify="right", no_wrap=True)
    table.add_column("Share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, style="cyan")
    for label, value, share in words.flops_rows(flops):
        if share == 0:
            continue
        table.add_row(f" {label}", value, units.format_share(share), share_bar(share, 14))
    spent = units.format_share(flops.total / plan.problem.budget)
    table.add_row(" Total", units.format_flops(flops.total), spent, "of the budget", style="bold")
    if flops.uncharged:
        table.add_row(" Not charged", units.format_flops(flops.uncharged), "", "teacher's rest")
    return table


def _scenarios(plan: Plan, screen: Screen) -> Table:
    lines = words.scenario_lines(plan)
    largest = max((abs(line.difference) for line in lines if line.difference), default=0.0)
    half = 10 if screen.width >= 96 else 4 if screen.width >= 78 else 0
    table = ruled_table()
    table.add_column("   Scenario", no_wrap=True)
    table.add_column("Student", justify="right", overflow="fold")
    table.add_column("Teacher", justify="right", overflow="fold")
    table.add_column("Loss", justify="right", no_wrap=True)
    table.add_column("vs supervised" + " (left is better)" * (half > 4), no_wrap=True)
    for line in lines:
        table.add_row(
            f" {'▸' if line.chosen else ' '} {line.name}",
            line.student,
            line.teacher,
            line.cross_entropy,
            _difference(line, largest, half),
            style="bold" if line.chosen else "",
        )
    return table


def _difference(line: words.ScenarioLine, largest: float, half: int) -> Text:
    if line.difference is None or half == 0:
        return Text(line.difference_text)
    left, right = diverging(line.difference, largest, half)
    middle = ("│", "dim")
    return Text.assemble(line.difference_text, " ", (left, "green"), middle, (right, "red"))


def _trust(plan: Plan) -> list[RenderableType]:
    """The risk table and the sensitivities, where they were asked for."""
    parts: list[RenderableType] = []
    if plan.robust is not None:
        parts += [_cells(trust.risk_head(plan.robust), trust.risk_rows(plan.robust))]
        parts += [Padding(Text(trust.robust(plan.robust)), (0, 1)), ""]
    if plan.sensitivity:
        parts += [_cells(trust.pull_head(), trust.pull_rows(plan.sensitivity))]
        parts += [Padding(Text(trust.pull_note()), (0, 1)), ""]
    return parts


def _cells(head: list[str], rows: list[list[str]]) -> Table:
    table = ruled_table()
    for i, name in enumerate(head):
        table.add_column(
            " " * (i == 0) + name, justify="right" if i else "left", overflow="fold", no_wrap=not i
        )
    for row in rows:
        table.add_row(f" {row[0]}", *row[1:])
    return table


def _facts(plan: Plan) -> Padding:
    colour = "green" if plan.certificate.proven else "bold red"
    lines = [
        Text(words.certificate(plan.certificate), style=colour),
        Text(words.binding(plan.recipe)),
    ]
    if marked := words.outside(plan):
        lines.insert(0, Text(marked))
    if rests := words.baseline_binding(plan):
        lines.append(Text(rests))
    lines += [Text(f"Note: {words.tidy(note)}") for note in plan.recipe.notes]
    lines += [Text(line) for line in trust.lines(plan)]
    if ranked := words.considered(plan):
        lines.append(Text(ranked))
    lines.append(Text(words.counting(plan), style="dim"))
    return Padding(Group(*lines), (0, 1))


def _beside(left: RenderableType, right: RenderableType, ratio: tuple[int, int] | None) -> Table:
    grid = Table.grid(expand=ratio is not None, padding=(0, 2 if ratio is None else 1))
    for each in ratio or (None, None):
        grid.add_column(ratio=each, vertical="top")
    grid.add_row(left, right)
    return grid
