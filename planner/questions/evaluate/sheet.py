"""`evaluate` as a sheet: the recipe, the optimum of equal cost, what to change, rules of thumb."""

from __future__ import annotations

from typing import Any

from planner import units
from planner.questions import resources_sheet
from planner.questions.evaluate.answer import Evaluation, Move
from planner.reports import trust, words
from planner.reports.sheet import Grid, Sheet, first_only, qualification
from planner.results import Recipe, Warning
from planner.verdict import LAW_ERROR


def sheet(found: Evaluation) -> Sheet:
    """Everything about the recipe."""
    grids = [_models(found), _flops(found)]
    if found.moves:
        grids.append(_moves(found))
    if found.rules:
        grids.append(_rules(found))
    return Sheet(
        kind="evaluate",
        title=title(found),
        headline=headline(found),
        verdict=verdict(found),
        method="distil" if found.excess < LAW_ERROR * _loss(found.recipe) else "undecided",
        grids=(*first_only(grids), *resources_sheet.grids(found.resources)),
        warnings=_warnings(found),
        subject="Your recipe",
        details=(*_notes(found), *resources_sheet.notes(found.resources)),
        rows=_rows(found),
    )


def headline(found: Evaluation) -> str:
    """What stands before the comparison with the best plan; empty where nothing does."""
    told = qualification((*found.warnings, *found.best_warnings))
    if not told and any(
        view is not None and view.matters
        for view in (found.second_opinion, found.second_opinion_of_best)
    ):
        told = "The two fits disagree"
    if not told and found.problem.tolerance < found.excess < LAW_ERROR * _loss(found.recipe):
        told = "Too close to call: within the law's error of the best plan"
    return told


def title(found: Evaluation) -> str:
    """The recipe in a line."""
    recipe = found.recipe
    return (
        f"Your recipe: {words.on_tokens(recipe.student)} tokens from a teacher of "
        f"{words.on_tokens(recipe.teacher)}{'' if recipe.teacher.tokens is None else ' tokens'}, "
        f"scenario {found.problem.scenario}"
    )


def verdict(found: Evaluation) -> str:
    """Prediction, distance to the optimum, and the first thing to change."""
    cost, loss = units.format_flops(found.cost), units.format_loss(_loss(found.recipe))
    text = f"The law predicts {loss} nats per token for {cost} FLOPs"
    if found.excess <= found.problem.tolerance:
        text += ", which no plan of that cost beats."
    else:
        text += (
            f", {found.excess:.4f} above the best plan of that cost; the same loss is possible "
            f"with {units.format_share(found.saved)} less compute."
        )
        if found.excess < LAW_ERROR * _loss(found.recipe):
            text += f" The distance is within the law's own error of about {LAW_ERROR:.0%}."
    first = found.first
    if first is not None:
        text += f" Change first: {first.variable}, {change(first)}, a gain of {first.gain:.4f}."
    direct = found.supervised
    if direct is not None and direct.model.cross_entropy < _loss(found.best) - 1e-5:
        gain = _loss(found.best) - direct.model.cross_entropy
        text += (
            f" Supervised training on that compute would reach "
            f"{units.format_loss(direct.model.cross_entropy)}, better than {_any(found)} by "
            f"{gain:.4f}"
        )
        text += (
            f", which is within the law's own error of about {LAW_ERROR:.0%}."
            if gain < LAW_ERROR * direct.model.cross_entropy
            else "."
        )
    return text


def _any(found: Evaluation) -> str:
    """What the optimum is the best of: a teacher that exists was not chosen."""
    if found.best.teacher.existing:
        return "any number of tokens from this teacher"
    return "any distillation of that cost"


def _warnings(found: Evaluation) -> tuple[str | Warning, ...]:
    """The recipe's own, then those of what it is compared with."""
    own = {each.text for each in found.warnings}
    lines: list[str | Warning] = [*found.warnings]
    lines += [
        f"Of the best plan that it is compared with: {each.text}"
        for each in found.best_warnings
        if each.text not in own
    ]
    lines += found.supervised_warnings
    view = found.second_opinion
    if view is not None and view.matters:
        lines.append(trust.other_view(view, _loss(found.recipe), "this recipe"))
    return tuple(lines)


def change(move: Move) -> str:
    """``from 7B to 2.79B``."""
    if move.variable == "teacher size and tokens":
        teacher = move.recipe.teacher
        return f"to {words.on_tokens(teacher)}"
    return f"from {units.format_count(move.old)} to {units.format_count(move.new)}"


def _loss(recipe: Recipe) -> float:
    return recipe.student.cross_entropy


def _models(found: Evaluation) -> Grid:
    recipe, best = found.recipe, found.best
    models = [recipe.student, recipe.teacher, best.student, best.teacher]
    head = ["Recipe", "Your student", "Your teacher", "Best student", "Best teacher"]
    if found.supervised is not None:
        models.append(found.supervised.model)
        head.append("Supervised")
    rows = tuple((label, *cells) for label, cells in words.model_rows(models)[:4])
    return Grid(
        f"At {units.format_flops(found.cost)} FLOPs", tuple(head), rows, strong=(len(rows) - 1,)
    )


def _flops(found: Evaluation) -> Grid:
    own, best = found.recipe.flops, found.best.flops
    rows = [
        (label, value, units.format_share(share), other, units.format_share(other_share))
        for (label, value, share), (_, other, other_share) in zip(
            words.flops_rows(own), words.flops_rows(best), strict=True
        )
    ]
    rows.append(("Total", units.format_flops(own.total), "", units.format_flops(best.total), ""))
    head = ("Compute", "Yours, FLOPs", "Share", "Best, FLOPs", "Share")
    return Grid("Compute by term", head, tuple(rows), strong=(len(rows) - 1,))


def _moves(found: Evaluation) -> Grid:
    rows = tuple(
        (
            move.variable,
            change(move),
            units.format_loss(_loss(move.recipe)),
            f"{max(move.gain, 0.0):.4f}",
            words.count(move.recipe.student.tokens),
        )
        for move in found.moves
    )
    strong = tuple(k for k, move in enumerate(found.moves) if move is found.first)
    head = ("Change alone", "Best move", "Loss", "Gain", "Student tokens then")
    return Grid(
        "One change at the same cost (the student's tokens take up the difference)",
        head, rows, strong, left=(1,),
    )  # fmt: skip


def _rules(found: Evaluation) -> Grid:
    best = _loss(found.best)
    rows: list[tuple[float, tuple[str, ...]]] = [
        (found.excess, ("your recipe", "", *_scored_cells(found.recipe, found.excess)))
    ]
    direct = found.supervised
    if direct is not None:
        away = direct.model.cross_entropy - best
        tokens = words.count(direct.model.tokens)
        loss = units.format_loss(direct.model.cross_entropy)
        cells = ("supervised", "no teacher", tokens, words.NOTHING, loss, words.signed(away))
        rows.append((away, cells))
    for each in found.rules:
        if each.recipe is None or each.excess is None:
            nothing = (each.name, each.summary, "not possible", *[words.NOTHING] * 3)
            rows.append((float("inf"), nothing))
        else:
            cells = (each.name, each.summary, *_scored_cells(each.recipe, each.excess))
            rows.append((each.excess, cells))
    rows.sort(key=lambda pair: pair[0])
    strong = tuple(k for k, (_, cells) in enumerate(rows) if cells[0] == "your recipe")
    head = ("Rule of thumb", "What it says", "Student tokens", "Teacher", "Loss", "vs best")
    return Grid("Rules of thumb at the same cost", head, tuple(c for _, c in rows), strong, (1,))


def _scored_cells(recipe: Recipe, excess: float) -> tuple[str, str, str, str]:
    return (
        words.count(recipe.student.tokens),
        words.on_tokens(recipe.teacher),
        units.format_loss(_loss(recipe)),
        words.signed(excess),
    )


def _notes(found: Evaluation) -> tuple[str, ...]:
    lines = [words.certificate(found.certificate)]
    views = (
        trust.other_view(view, _loss(recipe), what)
        for view, recipe, what in (
            (found.second_opinion, found.recipe, "this recipe"),
            (found.second_opinion_of_best, found.best, "the best plan"),
        )
    )
    lines += [line for line in views if line]
    if not found.moves:
        lines.append("The teacher exists and is kept as it is; only the student's tokens can move.")
    else:
        lines.append(
            "Every move and the optimum are certified; rules are scored by the law. Not possible: "
            "the budget cannot pay for it, or it leaves the bounds."
        )
    lines += [*found.recipe.notes]
    used = found.coefficients
    lines.append(f"Coefficients: {used.name}. Counted: {used.flop_convention}.")
    return tuple(lines)


def _rows(found: Evaluation) -> tuple[dict[str, Any], ...]:
    named = [("your recipe", found.recipe), ("best", found.best)]
    named += [(f"move: {move.variable}", move.recipe) for move in found.moves]
    named += [(f"rule: {r.name}", r.recipe) for r in found.rules if r.recipe is not None]
    return tuple(
        {
            "name": name,
            "cross_entropy": _loss(recipe),
            "above_best": _loss(recipe) - _loss(found.best),
            "student_parameters": recipe.student.parameters,
            "student_tokens": recipe.student.tokens,
            "teacher_parameters": recipe.teacher.parameters,
            "teacher_tokens": recipe.teacher.tokens,
            "teacher_cross_entropy": recipe.teacher.cross_entropy,
            "flops": recipe.flops.total,
            **resources_sheet.cells(found.resources, name),
        }
        for name, recipe in named
    )
