"""`compare-supervised` as a sheet: where distilling wins, by how much, and from where to where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coefficients import load
from planner import units
from planner.questions import resources_sheet
from planner.questions.compare.answer import Comparisons
from planner.questions.compare.curves import Comparison, Crossover, CrossoverSpread, Curve
from planner.questions.compare.ratios import Ratios
from planner.reports import words
from planner.reports.sheet import Grid, Sheet, sparkline
from planner.second_opinion import ALARM
from planner.verdict import LAW_ERROR

SPARK = 24  # columns of a sparkline
ROWS = 9  # budgets shown in a table over a range


def sheet(answer: Comparisons) -> Sheet:
    """The whole comparison."""
    found = answer.comparisons
    grids: list[Grid] = []
    for each in found:
        if each.budgets.size > 1:
            grids.append(replace(_overview(each), detail=len(found) > 1))
        grids.append(
            replace(_at_budgets(each), detail=True) if each.budgets.size > 1 else _at_one(each)
        )
    return Sheet(
        kind="compare-supervised",
        title=title(found),
        verdict=" ".join(verdict(each) for each in found),
        headline=headline(answer),
        method=_method(answer),
        grids=(*grids, *resources_sheet.grids(answer.resources)),
        warnings=_warnings(found),
        details=(*_notes(answer), *resources_sheet.notes(answer.resources)),
        rows=tuple(row for each in found for row in _rows(each, answer)),
    )


def title(found: Sequence[Comparison]) -> str:
    """What is compared."""
    names = [student(each) for each in found]
    budgets = found[0].budgets
    low, high = units.format_flops(float(budgets[0])), units.format_flops(float(budgets[-1]))
    where = f"at {low} FLOPs" if budgets.size == 1 else f"from {low} to {high} FLOPs"
    return f"Distilling against supervised training: {', '.join(names)}, {where}"


def headline(answer: Comparisons) -> str:
    """What may be claimed: of the plans where the law was measured, those that differ by more than
    its error, and on which the second set does not say the opposite."""
    compared = [c.inside[np.isfinite(c.difference) & ~c.held] for c in _curves(answer)]
    inside = np.concatenate(compared)
    if inside.size == 0:
        names = {name for each in answer.comparisons for name in _held_by(each)}
        return f"Held by a cap: {', '.join(sorted(names))}" if names else "No plan to compare"
    if not np.any(inside):
        return "Not measured here: every plan extrapolates"
    better, worse = _clear(answer)
    if better and worse:
        several = answer.comparisons[0].budgets.size > 1
        text = f"it depends on the scenario{' and the budget' if several else ''}"
    elif better or worse:
        method = "distilling" if better else "supervised training"
        text = f"{method} is better where the two clearly differ"
    else:
        text = "too close to call"
    return _capital(text) if np.all(inside) else f"Inside the measured range: {text}"


def _method(answer: Comparisons) -> str:
    """The method that alone is clearly better, for the sheet's colour."""
    better, worse = _clear(answer)
    if better == worse:
        return "undecided"
    return "distil" if better else "supervised"


def _curves(answer: Comparisons) -> list[Curve]:
    return [curve for each in answer.comparisons for curve in each.curves]


def _clear(answer: Comparisons) -> tuple[bool, bool]:
    """Whether distilling, and whether supervised training, is clearly better anywhere."""
    better = worse = False
    for each in answer.comparisons:
        for curve in each.curves:
            with np.errstate(invalid="ignore"):
                clear = np.abs(curve.difference) >= LAW_ERROR * each.supervised
            clear &= curve.inside & ~curve.held & ~_disputed(curve, each, answer)
            better |= bool(np.any(clear & (curve.sign < 0)))
            worse |= bool(np.any(clear & (curve.sign > 0)))
    return better, worse


def _disputed(curve: Curve, each: Comparison, answer: Comparisons) -> NDArray[np.bool_]:
    """Where the second set prefers the other method, for the same models where the size is given,
    otherwise against this set's supervised model."""
    if answer.second_opinion is None or curve.second_opinion is None:
        return np.zeros(curve.difference.shape, dtype=bool)
    other = load(answer.second_opinion)
    alone = each.supervised
    with np.errstate(invalid="ignore"):
        if each.student is not None:
            alone = other.supervised.loss(each.student, curve.plans.supervised_tokens)
        return np.asarray((curve.second_opinion - alone) * curve.difference < 0)


def student(each: Comparison) -> str:
    """``1B student``, or that the size is free."""
    if each.student is None:
        return "student of any size"
    return f"{units.format_count(each.student)} student"


def verdict(each: Comparison) -> str:
    """One sentence: for every scenario, where distilling is the better way."""
    phrases: dict[str, list[str]] = {}
    for curve in each.curves:
        phrase = where_it_pays(curve, each) + _extrapolated(curve)
        phrases.setdefault(phrase, []).append(curve.scenario)
    parts = [f"{phrase} ({', '.join(names)})" for phrase, names in phrases.items()]
    return f"{_capital(student(each))}: distilling {'; '.join(parts)}{cap(each)}."


def _extrapolated(curve: Curve) -> str:
    """Whether the plans behind a phrase were measured: those that win, or all where none does."""
    compared = np.isfinite(curve.difference) & ~curve.held
    wins = compared & (curve.sign < 0)
    inside = curve.inside[wins if np.any(wins) else compared]
    if np.all(inside):
        return ""
    return ", partly by extrapolation" if np.any(inside) else ", by extrapolation"


def cap(each: Comparison) -> str:
    """From which budget on a default cap holds the supervised model, or nothing."""
    held = each.curves[0].held_from
    if held is None:
        return ""
    return (
        f"; from {units.format_flops(held, 3)} FLOPs on {_held_by(each)[0]} holds the "
        "supervised model and nothing is compared"
    )


def _held_by(each: Comparison) -> tuple[str, ...]:
    """The default bound that holds the supervised model at some budgets, with its value."""
    if each.curves[0].held_from is None:
        return ()
    return (f"--max-student-tokens {units.format_count(each.problem.bounds.student_tokens[1])}",)


def where_it_pays(curve: Curve, each: Comparison) -> str:
    """In words: "wins below 2.2e22", "never wins", "wins outside 4.9e21 to 7.3e22"."""
    known = curve.found
    if known.size == 0:
        if np.any(curve.held):
            return "is held by a cap at every budget here"
        return "has no plan at these budgets"
    if each.budgets.size == 1:
        if known[0] == 0:
            return "and supervised training are equal"
        ratio = _ratios(curve).compute[0]
        nats = abs(float(curve.difference[0]))
        if known[0] < 0:
            reach = (
                f", which would take {units.format_ratio(1 / ratio)}× the compute without it"
                if ratio > 0
                else ", beyond the reach of supervised training"
            )
            return f"wins by {nats:.4f} nats{reach}"
        return f"loses by {nats:.4f} nats"
    crossings = [units.format_flops(c.budget, 3) for c in curve.crossovers]
    first_wins = _first_sign(known) < 0
    if not crossings:
        if not np.any(known):
            return "is nowhere different"
        stops = "" if np.all(known) or known[-1] != 0 else ", then both are equal"
        wins = (
            "wins at every budget below the cap" if np.any(curve.held) else "wins at every budget"
        )
        return (wins if first_wins else "never wins") + stops
    if len(crossings) == 1:
        return f"wins below {crossings[0]}" if first_wins else f"wins above {crossings[0]}"
    if len(crossings) == 2:
        a, b = crossings
        return f"wins below {a} and above {b}" if first_wins else f"wins between {a} and {b}"
    start = "wins first" if first_wins else "loses first"
    return f"{start} and changes at {', '.join(crossings)}"


def _first_sign(known: Any) -> int:
    nonzero = known[known != 0]
    return int(nonzero[0]) if nonzero.size else 0


def _overview(each: Comparison) -> Grid:
    rows = []
    for curve in each.curves:
        gain = curve.largest_gain
        inside = curve.largest_gain_in_domain
        rows.append(
            (
                curve.scenario,
                spark(curve, each),
                _gain(gain),
                _gain(inside),
                ", ".join(_crossings(curve)) or "none",
            )
        )
    low, high = (units.format_flops(float(each.budgets[k])) for k in (0, -1))
    head = (
        "Scenario", f"Gain, {low} → {high}", "Largest gain", "Largest measured", "Crossovers",
    )  # fmt: skip
    return Grid(f"{_capital(student(each))}, over the range", head, tuple(rows), left=(1, 4))


def spark(curve: Curve, each: Comparison) -> str:
    """The gain by distilling over the budgets; dots where there is none."""
    take = np.unique(np.linspace(0, each.budgets.size - 1, SPARK).round().astype(int))
    return sparkline([np.nan if curve.held[k] else -float(curve.difference[k]) for k in take])


def _gain(gain: Any) -> str:
    return (
        words.NOTHING
        if gain is None
        else f"{gain.nats:.4f} at {units.format_flops(gain.budget, 2)}"
    )


def _crossings(curve: Curve) -> list[str]:
    found = [_crossing(c) for c in curve.crossovers]
    if curve.spread is None:
        return found
    return [
        f"{text} ({_span(each)})" for text, each in zip(found, curve.spread.crossovers, strict=True)
    ]


def _span(each: CrossoverSpread) -> str:
    if not each.share:
        return "in no draw"
    low, high = units.format_flops(each.low, 3), units.format_flops(each.high, 3)
    some = "" if each.share >= 1 else f", in {each.share:.0%} of draws"
    return f"{low} to {high}{some}"


def _crossing(found: Crossover) -> str:
    arrow = "supervised" if found.better_above == "supervised" else "distil"
    return f"{units.format_flops(found.budget, 3)} → {arrow}"


def _at_budgets(each: Comparison) -> Grid:
    count = min(ROWS, each.budgets.size)
    take = np.unique(np.linspace(0, each.budgets.size - 1, count).round().astype(int))
    head = ("Budget", "Supervised", *(curve.scenario for curve in each.curves))
    rows = []
    for k in take:
        cells = [_cell(curve, int(k)) for curve in each.curves]
        rows.append(
            (units.format_flops(float(each.budgets[k])), _loss(float(each.supervised[k])), *cells)
        )
    name = (
        f"{_capital(student(each))}: loss against supervised, and the compute supervised needs "
        "for the same loss"
    )
    return Grid(name, head, tuple(rows))


def _cell(curve: Curve, k: int) -> str:
    if not np.isfinite(curve.difference[k]):
        return words.NOTHING
    if curve.held[k]:
        return "held by the cap"
    mark = "" if curve.inside[k] else "*"
    compute = times(float(_ratios(curve).compute[k]))
    return f"{words.signed(float(curve.difference[k]))}{mark} {compute}"


def _ratios(curve: Curve) -> Ratios:
    assert curve.ratios is not None
    return curve.ratios


def times(ratio: float) -> str:
    """Compute of supervised training over distillation's, from the ratio the other way round."""
    if not np.isfinite(ratio):
        return words.NOTHING
    return f"{units.format_ratio(1 / ratio)}×" if ratio > 0 else "never"


def _at_one(each: Comparison) -> Grid:
    head: tuple[str, ...] = (
        "Scenario", "Loss", "vs supervised", "Compute", "Data", "Student tokens", "Teacher",
    )  # fmt: skip
    drawn = any(curve.spread is not None for curve in each.curves)
    if drawn:
        head = (*head[:3], "90%", "P(distil wins)", *head[3:])
    rows: list[tuple[str, ...]] = [
        ("supervised", _loss(float(each.supervised[0])), "", *[""] * 2 * drawn, "1×", "1×", "", "")
    ]
    for curve in each.curves:
        if not curve.plans.feasible[0]:
            rows.append((curve.scenario, "none feasible", *[words.NOTHING] * (5 + 2 * drawn)))
            continue
        plans = curve.plans
        rows.append(
            (
                curve.scenario + ("" if curve.inside[0] else "*"),
                _loss(float(plans.cross_entropy[0])),
                words.signed(float(curve.difference[0])),
                *_spread_cells(curve),
                times(float(_ratios(curve).compute[0])),
                times(float(_ratios(curve).data[0])),
                units.format_count(float(plans.student_tokens[0])),
                _teacher(curve),
            )
        )
    name = (
        f"{_capital(student(each))}; compute and data: what supervised training needs for that loss"
    )
    return Grid(name, head, tuple(rows))


def _spread_cells(curve: Curve) -> tuple[str, ...]:
    found = curve.spread
    if found is None:
        return ()
    low, high = (words.signed(float(end[0])) for end in (found.low, found.high))
    return f"{low} to {high}", f"{found.probability[0]:.0%}"


def _teacher(curve: Curve) -> str:
    plans = curve.plans
    if plans.teacher[0] >= 0:
        return f"loss {_loss(float(plans.teacher_cross_entropy[0]))}"
    size, tokens = float(plans.teacher_parameters[0]), float(plans.teacher_tokens[0])
    return f"{units.format_count(size)} on {units.format_count(tokens)}"


def _loss(value: float) -> str:
    return units.format_loss(value) if np.isfinite(value) else words.NOTHING


def _warnings(found: Sequence[Comparison]) -> tuple[str, ...]:
    feasible = sum(int(np.sum(np.isfinite(c.difference))) for each in found for c in each.curves)
    outside = feasible - sum(int(np.sum(c.inside)) for each in found for c in each.curves)
    if not outside:
        return ()
    crossings = [c for each in found for curve in each.curves for c in curve.crossovers]
    beyond = sum(not c.in_domain for c in crossings)
    rest = f", and so do {beyond} of {len(crossings)} crossovers" if beyond else ""
    return (
        f"{outside} of {feasible} plans leave the measured range (marked *){rest}; "
        "--stay-in-domain compares inside it.",
    )


def _notes(answer: Comparisons) -> tuple[str, ...]:
    found, used = answer.comparisons, answer.coefficients
    lines = [
        "Gain: supervised loss minus the student's, nats per token, bars by square root; · no gain."
        if found[0].budgets.size > 1
        else "",
        "n×: supervised training needs n times the compute (FLOPs) for the same loss; never: it "
        "cannot reach it within the bounds. Data count D_S + delta_pretraining D_T (Eq. 34).",
        f"Differences below about {LAW_ERROR:.0%} of the loss are within the law's own error.",
        "Every loss is a certified optimum; a crossover is bracketed to 0.05% of its budget "
        "between proven signs.",
        _drawn(found),
        _opinion(answer),
        f"Coefficients: {used.name}. Counted: {used.flop_convention}.",
    ]
    return tuple(line for line in lines if line)


def _opinion(answer: Comparisons) -> str:
    """Where the other coefficient set differs most from these plans' losses, in a line."""
    worst: tuple[float, str] | None = None
    for each in answer.comparisons:
        for curve in each.curves:
            theirs = curve.second_opinion
            if theirs is None or not np.any(np.isfinite(theirs)):
                continue
            apart = np.abs(theirs - curve.plans.cross_entropy)
            k = int(np.nanargmax(apart))
            if worst is None or apart[k] > worst[0]:
                ours = units.format_loss(float(curve.plans.cross_entropy[k]))
                where = f"the {curve.scenario} plan of the {student(each)} at "
                where += f"{units.format_flops(float(each.budgets[k]))} FLOPs"
                matters = apart[k] > ALARM * curve.plans.cross_entropy[k]
                tail = ": the coefficients disagree." if matters else "."
                text = f"{units.format_loss(float(theirs[k]))} for {where}, against {ours} here"
                worst = (float(apart[k]), text + tail)
    if worst is None:
        return ""
    return f"Second opinion, {answer.second_opinion}, where it differs most: {worst[1]}"


def _drawn(found: Sequence[Comparison]) -> str:
    spread = found[0].curves[0].spread
    if spread is None:
        return ""
    fixed = f", the {' and '.join(spread.fixed)} held fixed" if spread.fixed else ""
    return (
        f"In brackets and under 90%: central intervals over {spread.draws} paired draws of "
        f"{spread.source}, each re-optimised{fixed}."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_COLUMNS = (
    "cross_entropy", "lower_bound", "student_parameters", "student_tokens", "teacher_parameters",
    "teacher_tokens", "teacher_cross_entropy", "flops",
)  # fmt: skip


def _rows(each: Comparison, answer: Comparisons) -> list[dict[str, Any]]:
    return [
        {
            "student": each.student,
            "scenario": curve.scenario,
            "budget": each.budgets[k],
            "supervised_cross_entropy": each.supervised[k],
            "difference": curve.difference[k],
            "in_domain": bool(curve.inside[k]),
            "compute_ratio": _ratios(curve).compute[k],
            "data_ratio": _ratios(curve).data[k],
            **{name: getattr(curve.plans, name)[k] for name in _COLUMNS},
            **resources_sheet.cells(answer.resources, each.name(curve.scenario, k)),
        }
        for curve in each.curves
        for k in range(each.budgets.size)
    ]
