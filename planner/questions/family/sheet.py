"""A family plan as a sheet: the split, the students, the proof, and the number of students."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from planner import units
from planner.questions import resources_sheet
from planner.questions.family.answer import FamilyPlan, Student
from planner.questions.family.growth import Growth
from planner.reports.sheet import Grid, Sheet, first_only
from planner.reports.words import NOTHING, TERM_WORDS, count, ratio, signed
from planner.verdict import LAW_ERROR


def sheet(plan: FamilyPlan) -> Sheet:
    """Everything about the plan, and how it changes with the number of students."""
    growth = plan.growth
    grids = [*first_only([_students(plan), _split(plan)])]
    if growth is not None:
        grids.append(_growth(growth, plan.count))
    return Sheet(
        kind="family",
        title=title(plan),
        headline=headline(plan),
        verdict=verdict(plan),
        grids=(*grids, *resources_sheet.grids(plan.resources)),
        warnings=plan.warnings,
        details=(*_notes(plan, growth), *resources_sheet.notes(plan.resources)),
        rows=tuple(
            _row(student) | resources_sheet.cells(plan.resources, "one teacher")
            for student in plan.students
        ),
        method=method(plan),
    )


def title(plan: FamilyPlan) -> str:
    """What was asked."""
    logits = "stored logits" if plan.cached else "logits computed for each student"
    if plan.by_targets:
        return f"Smallest budget for {plan.count} students and their targets, {logits}"
    budget = units.format_flops(plan.problem.budget)
    return f"One teacher for {plan.count} students with {budget} FLOPs, {logits}"


def method(plan: FamilyPlan) -> str:
    """``distil``, ``supervised``, or ``undecided`` where the plan was not measured or the methods
    differ by less than the law can tell."""
    if _outside(plan) or _within_error(plan):
        return "undecided"
    return "distil" if plan.worth_it else "supervised"


def headline(plan: FamilyPlan) -> str:
    """What to do, with what stands against it."""
    leads = "one teacher for all" if plan.worth_it else "training without a teacher"
    if _outside(plan):
        return f"Not measured here: {leads} leads by extrapolation"
    if _within_error(plan):
        return f"Undecided: {leads} leads within the law's own error of about {LAW_ERROR:.0%}"
    return "Distil from one teacher" if plan.worth_it else "Train without a teacher"


def _outside(plan: FamilyPlan) -> bool:
    return any(each.code == "outside-domain" for each in plan.warnings)


def _within_error(plan: FamilyPlan) -> bool:
    return not plan.by_targets and abs(plan.direct - plan.objective) < LAW_ERROR * plan.direct


def verdict(plan: FamilyPlan) -> str:
    """Whether the teacher pays, in a sentence or two."""
    if plan.by_targets:
        budget, direct = units.format_flops(plan.objective), plan.direct
        if not math.isfinite(direct):
            return (
                f"{budget} FLOPs reach every target with one teacher; without a teacher some are "
                "out of reach within the bounds."
            )
        if plan.worth_it:
            saved = units.format_share(1 - plan.objective / direct)
            return (
                f"{budget} FLOPs reach every target with one teacher, {saved} less than the "
                f"{units.format_flops(direct)} without one."
            )
        return (
            f"Every target costs {units.format_flops(direct)} FLOPs without a teacher and {budget} "
            "with one."
        )
    than = "better" if plan.worth_it else "worse"
    text = (
        f"With one teacher, {_teacher(plan)}, the {_students_words(plan.count)} "
        f"{'is' if plan.count == 1 else 'are'} {abs(plan.direct - plan.objective):.4f} "
        f"nats {than} on average than without, on the same total budget."
    )
    return text if plan.growth is None else f"{text} {break_even(plan.growth)}"


def break_even(growth: Growth) -> str:
    """From how many students on a teacher pays."""
    each = "sharing this budget" if growth.fixed_total else "each bringing its share of the budget"
    if growth.break_even is None:
        return f"No number of students up to {growth.most}, {each}, makes a teacher pay."
    if growth.losses:
        last = max(growth.losses)
        again = [row.students for row in growth.rows if row.students > last]
        rest = (
            f"from {min(again)} on it pays at every number tried up to {growth.most}"
            if again
            else f"none up to {growth.most} is certain to"
        )
        return (
            f"A teacher pays first with {_students_words(growth.break_even)}, {each}, but not with "
            f"every larger number ({_listed(growth.losses)} lose); {rest}."
        )
    if growth.break_even == 1:
        return (
            f"A teacher pays from the first student on, {each} (numbers tried up to {growth.most})."
        )
    return (
        f"A teacher pays from {growth.break_even} students on, {each} (numbers tried up to "
        f"{growth.most})."
    )


def _students_words(number: int) -> str:
    return "1 student" if number == 1 else f"{number} students"


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(each) for each in numbers[:4])
    return shown if len(numbers) <= 4 else f"{shown}, ..."


def proof(plan: FamilyPlan) -> str:
    """What is proven."""
    if plan.by_targets:
        state = "Proven" if plan.proven else "NOT PROVEN to the tolerance"
        return (
            f"{state}: no plan reaches every target below "
            f"{units.format_flops(plan.lower_bound, 6)} FLOPs; this one costs at most "
            f"{100 * plan.gap:.3f}% more ({plan.boxes:,} boxes)."
        )
    if plan.proven:
        return (
            f"Proven optimum: no split gets the weighted mean below {plan.lower_bound:.7f} nats; "
            f"this one is within {plan.gap:.1e} of that ({plan.boxes:,} boxes)."
        )
    return (
        f"NOT PROVEN: a split up to {plan.gap:.1e} nats better may exist (asked for "
        f"{plan.tolerance:.1e}; lower bound {plan.lower_bound:.7f}; {plan.boxes:,} boxes)."
    )


def _teacher(plan: FamilyPlan) -> str:
    """Like ``7.2B on 140B tokens``, its name before it where it has one."""
    teacher = plan.teacher
    name = [teacher.name] if teacher.name else []
    size = [] if teacher.parameters is None else [count(teacher.parameters)]
    tokens = "" if teacher.tokens is None else f" on {count(teacher.tokens)} tokens"
    return (", ".join(name + size) or "of unstated size") + tokens


def _students(plan: FamilyPlan) -> Grid:
    last = "Target" if plan.by_targets else "Weight"
    rows = []
    for each in plan.students:
        member, model, rival = each.member, each.model, each.direct
        copies = f" × {member.copies}" if member.copies > 1 else ""
        goal = units.format_loss(member.target) if member.target else f"{member.weight:g}"
        rows.append(
            (
                f"{count(model.parameters)}{copies}",
                count(model.tokens),
                ratio(model.tokens_per_parameter),
                units.format_loss(model.cross_entropy),
                count(rival.tokens) if rival else NOTHING,
                units.format_loss(rival.cross_entropy) if rival else NOTHING,
                signed(model.cross_entropy - rival.cross_entropy) if rival else NOTHING,
                goal,
            )
        )
    head = ("Student", "Tokens", "Per param.", "Loss", "Direct tokens", "Direct loss",
            "Difference", last)  # fmt: skip
    return Grid("Students, and each trained directly", head, tuple(rows))


def _split(plan: FamilyPlan) -> Grid:
    flops = plan.flops
    total = flops.total
    rows = [
        (
            f"Training {count(each.model.parameters)}"
            + (f" × {each.member.copies}" if each.member.copies > 1 else ""),
            units.format_flops(each.flops),
            units.format_share(each.flops / total),
        )
        for each in plan.students
    ]
    for term in ("teacher_inference", "teacher_pretraining"):
        value = getattr(flops, term)
        rows.append(
            (TERM_WORDS[term], units.format_flops(value), units.format_share(value / total))
        )
    rows.append(
        ("Total", units.format_flops(total), units.format_share(total / plan.problem.budget))
    )
    loss = units.format_loss(plan.teacher.cross_entropy)
    title = f"The budget under one teacher, {_teacher(plan)} (loss {loss})"
    return Grid(title, ("Term", "FLOPs", "Share"), tuple(rows), strong=(len(rows) - 1,))


def _growth(growth: Growth, asked: int) -> Grid:
    rows, strong = [], []
    for position, each in enumerate(growth.rows):
        if each.students in (asked, growth.break_even):
            strong.append(position)
        feasible = math.isfinite(each.cross_entropy)
        rows.append(
            (
                f"{each.students:,}",
                units.format_flops(each.budget),
                count(each.teacher_parameters) if feasible else NOTHING,
                count(each.teacher_tokens) if feasible else NOTHING,
                units.format_share(each.teacher_share) if feasible else NOTHING,
                units.format_loss(each.cross_entropy) if feasible else NOTHING,
                units.format_loss(each.direct),
                signed(-each.gain) if feasible else NOTHING,
            )
        )
    head = ("Students", "Budget", "Teacher", "Its tokens", "Its share", "Mean loss", "Direct",
            "Difference")  # fmt: skip
    return Grid(
        "How the plan changes with the number of students", head, tuple(rows), tuple(strong)
    )


def _notes(plan: FamilyPlan, growth: Growth | None) -> tuple[str, ...]:
    notes = [proof(plan)]
    if plan.cached:
        notes.append(
            "Logits are computed once, over the longest run, and stored; every student reads from "
            "them, so all students see the same tokens."
        )
    if plan.teacher.existing:
        notes.append("The teacher exists: its pretraining is sunk and not charged.")
    if growth is not None:
        notes.append(
            "Students are taken from the list in turn and again from its start; every row is "
            "proven to 1e-5 nats. Means over different students are not comparable down the table; "
            "the difference in each row is."
        )
    return tuple(notes)


def _row(student: Student) -> dict[str, Any]:
    model, rival = student.model, student.direct
    return {
        "student_parameters": model.parameters,
        "copies": student.member.copies,
        "weight": student.member.weight,
        "target": student.member.target,
        "student_tokens": model.tokens,
        "cross_entropy": model.cross_entropy,
        "training_flops": student.flops,
        "direct_tokens": rival.tokens if rival else None,
        "direct_cross_entropy": rival.cross_entropy if rival else None,
    }
