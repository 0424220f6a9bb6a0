"""A family: where the budget goes, what each student gains, and from how many on a teacher pays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from planner import units
from planner.plots import style
from planner.questions.family.answer import FamilyPlan
from planner.questions.family.growth import Growth
from planner.questions.family.sheet import verdict


def caption(plan: FamilyPlan) -> str:
    """The finding, as words under the picture."""
    return verdict(plan)


def draw(plan: FamilyPlan) -> Any:
    """Bars of the split and of the students' losses, and a line over their number."""
    growth = plan.growth
    with style.drawing():
        columns = 2 if growth is None else 3
        made, grid = style.figures(1, columns, 5.4 * columns, 5.6)
        split, students, *rest = grid[0]
        _split(split, plan)
        _students(students, plan)
        if growth is not None:
            _growth(rest[0], growth, plan.count)
        style.figure_title(made, _headline(plan, growth), _small(plan))
        return made


def _headline(plan: FamilyPlan, growth: Growth | None) -> str:
    if plan.by_targets:
        return f"All targets for {units.format_flops(plan.objective)} FLOPs"
    difference = abs(plan.direct - plan.objective)
    side = "better" if plan.worth_it else "worse"
    text = f"One teacher: {difference:.3f} nats {side} than training {plan.count} students directly"
    if growth is None:
        return text
    if growth.break_even is None:
        never = f"; no number up to {growth.most} changes that"
        return text if plan.worth_it else text + never
    text += f"; it pays from {growth.break_even} on"
    if growth.losses:
        text += f", but not at {', '.join(map(str, growth.losses))}"
    return text


def _small(plan: FamilyPlan) -> str:
    logits = "stored logits" if plan.cached else "logits computed per student"
    return (
        f"{units.format_flops(plan.flops.total)} FLOPs, {plan.problem.scenario}, {logits}, "
        f"coefficients {plan.problem.coefficients}"
        + ("; outside the measured range" if plan.warnings else "")
    )


def _split(axes: Any, plan: FamilyPlan) -> None:
    flops = plan.flops
    names = [
        f"{style.count(each.model.parameters or 0)}"
        + (f" × {each.member.copies}" if each.member.copies > 1 else "")
        for each in plan.students
    ]
    values = [each.flops for each in plan.students]
    colours = [style.TERMS["student_training"]] * len(values)
    for term, name in (("teacher_inference", "logits"), ("teacher_pretraining", "teacher")):
        names.append(name)
        values.append(getattr(flops, term))
        colours.append(style.TERMS[term])
    shares = np.array(values) / flops.total
    places = np.arange(len(names))[::-1]
    axes.barh(places, shares, color=colours, height=0.72)
    for place, share in zip(places, shares, strict=True):
        axes.annotate(units.format_share(share), (share, place), (6, 0), va="center",
                      textcoords="offset points", fontsize=11)  # fmt: skip
    axes.set_yticks(places, names)
    axes.set_xlim(0, max(shares) * 1.25)
    axes.set_xticks([])
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title("Where the budget goes", loc="left", fontsize=13)


def _students(axes: Any, plan: FamilyPlan) -> None:
    sizes = np.array([each.model.parameters or math.nan for each in plan.students])
    order = np.argsort(sizes)
    ours = np.array([each.model.cross_entropy for each in plan.students])
    direct = np.array([each.direct.cross_entropy if each.direct else math.nan
                       for each in plan.students])  # fmt: skip
    main = style.colour(plan.problem.scenario)
    teacher = plan.teacher.cross_entropy
    low, high = sizes.min() / 1.6, sizes.max() * 1.6
    axes.plot(sizes[order], direct[order], "o-", color=style.SUPERVISED, ms=8, mfc="white")
    axes.plot(sizes[order], ours[order], "o-", color=main, ms=8)
    axes.axhline(teacher, color=style.FAINT, lw=1.2, ls=(0, (4, 3)))
    every = np.concatenate([ours, direct[np.isfinite(direct)], [teacher]])
    pad = 0.08 * max(float(np.ptp(every)), 0.02)
    axes.set_ylim(every.min() - pad, every.max() + pad)
    style.log_axis(axes.xaxis, low, high, "Student parameters")
    axes.set_ylabel("Cross-entropy, nats per token")
    axes.set_title("What each student gets", loc="left", fontsize=13)
    last = order[-1]
    labels = [style.Label(sizes[last], ours[last], "distilled", main)]
    if math.isfinite(direct[last]):
        labels.append(style.Label(sizes[last], direct[last], "direct", style.SUPERVISED))
    labels.append(style.Label(high, teacher, "teacher", style.FAINT))
    style.label_lines(axes, labels)


def _growth(axes: Any, growth: Growth, asked: int) -> None:
    rows = [row for row in growth.rows if math.isfinite(row.cross_entropy)]
    x = np.array([row.students for row in rows], dtype=float)
    gain = np.array([row.gain for row in rows])
    scale = max(float(np.max(np.abs(gain))), 1e-3)
    axes.axhline(0, color=style.INK, lw=1.2)
    axes.plot(x, gain, color=style.colour("full"))
    axes.fill_between(x, 0, gain, where=gain > 0, color=style.colour("full"), alpha=0.15, lw=0)
    axes.set_ylim(min(gain.min(), 0) - 0.12 * scale, max(gain.max(), 0) + 0.18 * scale)
    style.log_axis(axes.xaxis, 0.9, x.max() * 1.1, "Number of students")
    ticks = [t for t in (1, 3, 10, 30, 100, 300, 1000) if t <= x.max()]
    axes.xaxis.set_ticks(ticks, [str(t) for t in ticks])
    axes.set_ylabel("Nats gained by the teacher")
    axes.set_title("How many students a teacher needs", loc="left", fontsize=13)
    here = next((row for row in rows if row.students == asked), None)
    if growth.break_even is not None and growth.break_even != asked:
        row = next(row for row in rows if row.students == growth.break_even)
        axes.annotate(
            f"pays from {growth.break_even}", (row.students, row.gain), (8, -22),
            textcoords="offset points", fontsize=11, color=style.colour("full"),
        )  # fmt: skip
        axes.plot([row.students], [row.gain], "o", ms=8, color=style.colour("full"))
    if here is not None:
        style.mark(axes, here.students, here.gain, "your family", (12, 12))
