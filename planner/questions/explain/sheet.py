"""`explain` as a sheet: capacity gap, split of the budget, marginal values, what limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner import units
from planner.questions.explain.answer import MORE, Explanation, LossCurve
from planner.questions.plan.sheet import title
from planner.reports import words
from planner.reports.sheet import Grid, Sheet, first_only, sparkline


def sheet(found: Explanation) -> Sheet:
    """Everything around the plan."""
    plan = found.plan
    return Sheet(
        kind="explain",
        title=f"Why: {title(plan)}",
        verdict=verdict(found),
        method="undecided",
        grids=first_only((_parts(found), _limits(found), _marginals(found), _curves(found))),
        warnings=plan.warnings,
        details=_notes(found),
        rows=_rows(found),
    )


def verdict(found: Explanation) -> str:
    """What limits the student, and where its teacher stands on the U of the capacity gap."""
    plan, limit = found.plan, found.limit
    teacher = plan.recipe.teacher.cross_entropy
    text = (
        f"The student reaches {units.format_loss(plan.cross_entropy)}; what limits it most is "
        f"{_limit_words(limit.what)} (worth up to {limit.gain:.4f} nats). "
    )
    best = units.format_loss(found.best_teacher_loss)
    if abs(teacher - found.best_teacher_loss) < 5e-4:
        text += (
            f"Its teacher ({units.format_loss(teacher)}) is at the bottom of the capacity gap's U."
        )
    elif found.teacher_beyond_gap:
        text += (
            f"Its teacher ({units.format_loss(teacher)}) is stronger than the best one for this "
            f"student and tokens ({best}): the capacity gap costs "
            f"{plan.cross_entropy - found.best_student_loss:.4f}."
        )
    else:
        text += (
            f"A teacher of {best} would be the best for this student and tokens; the plan's "
            f"({units.format_loss(teacher)}) is weaker, since the budget pays for it."
            if plan.problem.charge_pretraining or plan.problem.charge_inference
            else f"A teacher of {best} would be the best; the plan's is weaker."
        )
    if teacher > found.supervised_loss:
        text += (
            " The teacher is weaker than the student would be on data alone "
            f"({units.format_loss(found.supervised_loss)}): weak-to-strong."
        )
    return text


def _limit_words(what: str) -> str:
    return {
        "student tokens": "its tokens",
        "best teacher": "its teacher",
        "student size": "its size",
    }[what]


def _parts(found: Explanation) -> Grid:
    total = found.plan.cross_entropy
    rows = [
        (part.what, units.format_loss(part.nats), units.format_share(part.nats / total))
        for part in found.parts
    ]
    rows.append(("student's cross-entropy", units.format_loss(total), ""))
    head = ("Part", "Nats", "Share")
    return Grid("What the loss is made of", head, tuple(rows), strong=(len(rows) - 1,))


def _limits(found: Explanation) -> Grid:
    rows = tuple((f"unlimited {each.what}", f"{each.gain:.4f}") for each in found.limits)
    rows = tuple((name.replace("unlimited best", "the best"), gain) for name, gain in rows)
    strong = tuple(k for k, each in enumerate(found.limits) if each is found.limit)
    return Grid("What limits the student: gain if all else stayed", ("If", "Gain"), rows, strong)


def _marginals(found: Explanation) -> Grid:
    rows = []
    for each in found.marginals:
        price = words.NOTHING if each.per_compute is None else f"{each.per_compute:.5f}"
        rows.append(
            (
                each.what,
                words.signed(each.loss_change),
                f"{100 * each.cost_change:+.1f}%".replace("-", "−"),
                price,
            )
        )
    head = ("10% more", "Loss", "FLOPs", "Gain per 1% of budget")
    return Grid(f"What {100 * (MORE - 1):.0f}% more is worth", head, tuple(rows))


def _curves(found: Explanation) -> Grid:
    rows = [("teacher's loss, tokens as planned", *_curve_cells(found.gap, units.format_loss))]
    if found.along_teacher.x.size:
        cells = _curve_cells(found.along_teacher, units.format_loss)
        rows.append(("teacher's loss, at this budget", *cells))
    share = _curve_cells(found.along_share, units.format_share)
    rows.append(("share of budget that trains the student", *share))
    head = ("Student loss along", "From", "Lower is better: ▁ low, █ high", "To", "Best at")
    return Grid("Around the plan", head, tuple(rows), left=(2,))


def _curve_cells(curve: LossCurve, show: Any) -> tuple[str, str, str, str]:
    known = np.isfinite(curve.loss)
    if not np.any(known):
        return (words.NOTHING, "", words.NOTHING, words.NOTHING)
    x, loss = curve.x[known], curve.loss[known]
    grid = np.linspace(x[0], x[-1], 32)
    drawn = np.interp(grid, x, loss)
    best = float(x[int(np.argmin(loss))])
    heights = [float(v) for v in drawn - drawn.min() + 1e-9]
    return (show(float(x[0])), sparkline(heights), show(float(x[-1])), show(best))


def _notes(found: Explanation) -> tuple[str, ...]:
    plan = found.plan
    return (
        f"On data alone this student would reach {units.format_loss(found.supervised_loss)} with "
        "the same tokens (L_sup); with a weaker teacher than that it is weak-to-strong.",
        "At an optimum away from bounds the gain per compute is the same for student tokens, "
        "teacher size and teacher tokens; a given student size may be worth more or less.",
        "Eq. 8 adds a positive term to L_T, so within the law no student beats its teacher; "
        "measured weak-to-strong students do, slightly.",
        words.certificate(plan.certificate),
        f"Coefficients: {plan.coefficients.name}. Counted: {plan.coefficients.flop_convention}.",
    )


def _named(found: Explanation) -> tuple[tuple[str, LossCurve], ...]:
    return (
        ("teacher_cross_entropy_at_fixed_tokens", found.gap),
        ("teacher_cross_entropy_at_fixed_budget", found.along_teacher),
        ("student_training_share", found.along_share),
    )


def _rows(found: Explanation) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"curve": name, "x": x, "cross_entropy": loss, "in_domain": bool(within)}
        for name, curve in _named(found)
        for x, loss, within in zip(curve.x, curve.loss, curve.inside, strict=True)
    )
