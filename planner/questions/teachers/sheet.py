"""A ranking of existing teachers as a sheet."""

from __future__ import annotations

import math
from typing import Any

from planner import units
from planner.questions import resources_sheet
from planner.questions.teachers.answer import Candidate, Ranking
from planner.reports.sheet import Grid, Sheet
from planner.reports.words import NOTHING, count, signed
from planner.verdict import HEADLINES, LAW_ERROR


def sheet(ranking: Ranking) -> Sheet:
    """The ranking with its verdict."""
    head = ("Teacher", "Size", "Tokens", "Its loss", "Student on", "Loss", "Difference",
            "If stored", "Remark")  # fmt: skip
    rows = tuple(_cells(each, ranking) for each in ranking.candidates)
    return Sheet(
        kind="teachers",
        title=title(ranking),
        headline=headline(ranking),
        verdict=verdict(ranking),
        grids=(
            Grid("Teachers by the student's loss", head, rows, strong=(0,), left=(8,)),
            *resources_sheet.grids(ranking.resources),
        ),
        warnings=_warnings(ranking),
        details=(*_notes(ranking), *resources_sheet.notes(ranking.resources)),
        rows=tuple(
            _row(each, ranking) | resources_sheet.cells(ranking.resources, each.entry.name)
            for each in ranking.candidates
        ),
        method=method(ranking),
    )


def method(ranking: Ranking) -> str:
    """Distil, train without a teacher, or undecided within the law's error and outside its data."""
    if _close(ranking) or ranking.best.outside:
        return "undecided"
    return "distil" if _gain(ranking) > 0 else "supervised"


def headline(ranking: Ranking) -> str:
    """The choice with its qualification."""
    best = ranking.best
    if best.outside:
        return f"Not measured here: a student of {best.entry.name} extrapolates"
    if _close(ranking):
        return f"Too close to call between {best.entry.name} and no teacher"
    return f"Distil from {best.entry.name}" if _gain(ranking) > 0 else HEADLINES["supervised"]


def _close(ranking: Ranking) -> bool:
    return abs(_gain(ranking)) < LAW_ERROR * ranking.supervised.cross_entropy


def title(ranking: Ranking) -> str:
    """What was asked."""
    asked = ranking.problem
    student = (
        "a student of any size" if asked.student is None
        else f"a {units.format_count(asked.student)} student"
    )  # fmt: skip
    number = len(ranking.candidates)
    count = "1 teacher" if number == 1 else f"{number} teachers"
    return (
        f"{count} for {student} with "
        f"{units.format_flops(asked.budget)} FLOPs, {logits(asked.charge_inference)}"
    )


def logits(charge: float) -> str:
    """Who pays for the logits."""
    if charge == 0:
        return "logits stored already"
    return "logits paid" if charge == 1 else f"{charge:.4g} of the logits paid"


def verdict(ranking: Ranking) -> str:
    """The choice, whether it beats training directly, and what the strongest would do."""
    best, strongest, gain = ranking.best, ranking.strongest, _gain(ranking)
    if gain > 0:
        text = (
            f"Take {best.entry.name}: its student gets to {best.student_loss:.4f} nats, {gain:.4f} "
            "better than training directly."
        )
    else:
        text = (
            f"Train directly: even the best of these teachers, {best.entry.name}, makes a student "
            f"{-gain:.4f} nats worse than training directly ({best.student_loss:.4f})."
        )
    if _close(ranking):
        text += f" The difference is within the law's own error of about {LAW_ERROR:.0%}."
    if strongest is best:
        return text
    name = strongest.entry.name
    if not math.isfinite(strongest.student_loss):
        return f"{text} The strongest, {name}, does not fit the budget."
    lost = strongest.student_loss - best.student_loss
    return f"{text} The strongest, {name}, would cost {lost:.4f} nats: {_why(ranking)}."


def _why(ranking: Ranking) -> str:
    """How much of the strongest teacher's loss is the capacity gap, and how much its logits."""
    best, strongest = ranking.best, ranking.strongest
    if not strongest.capacity_gap:
        return "its logits cost too many of the student's tokens"
    lost = strongest.student_loss - best.student_loss
    gap = max(0.0, strongest.cached_loss - best.cached_loss)
    if ranking.problem.charge_inference == 0 or lost - gap <= 5e-5:
        return "it is too far ahead of this student (capacity gap)"
    if gap <= 5e-5:
        return "its logits cost too many of the student's tokens"
    return (
        f"{gap:.4f} because it is too far ahead of this student, even with free logits (capacity "
        f"gap), and {lost - gap:.4f} because its logits cost more"
    )


def _gain(ranking: Ranking) -> float:
    return ranking.supervised.cross_entropy - ranking.best.student_loss


def remark(each: Candidate) -> str:
    """What to know about a candidate, in a word or two."""
    if each.recipe is None:
        return "does not fit"
    parts = []
    if each.capacity_gap:
        parts.append("gap")
    if each.priced_out:
        parts.append("logits too costly")
    if each.outside:
        parts.append("outside")
    return ", ".join(parts)


def _cells(each: Candidate, ranking: Ranking) -> tuple[str, ...]:
    teacher, recipe, cached = each.entry.teacher, each.recipe, each.cached
    loss = units.format_loss(each.cross_entropy) + ("*" if each.entry.estimated else "")
    size = NOTHING
    if teacher.size is not None:
        size = count(teacher.size) + ("†" if each.entry.counts == "total" else "")
    if recipe is None:
        student, reached, against = NOTHING, NOTHING, NOTHING
    else:
        student = count(recipe.student.tokens)
        if ranking.problem.student is None:
            student = f"{count(recipe.student.parameters)} on {student}"
        reached = units.format_loss(recipe.student.cross_entropy)
        against = signed(recipe.student.cross_entropy - ranking.supervised.cross_entropy)
    stored = NOTHING if cached is None else units.format_loss(cached.student.cross_entropy)
    return (each.entry.name, size, count(teacher.tokens), loss, student, reached, against, stored,
            remark(each))  # fmt: skip


def _warnings(ranking: Ranking) -> tuple[str, ...]:
    outside = sum(bool(each.outside) for each in ranking.candidates)
    found = []
    if ranking.best.outside:
        names = ", ".join(each.replace("_", " ") for each in ranking.best.outside)
        found.append(f"The choice leaves the range where the law was measured ({names}).")
    if outside > bool(ranking.best.outside):
        found.append(f"{outside} of {len(ranking.candidates)} candidates leave that range.")
    return tuple(found)


def _notes(ranking: Ranking) -> tuple[str, ...]:
    notes = [
        f"Gap: for this student and its tokens the best teacher would have a loss of "
        f"{ranking.ideal:.4f}; a stronger one makes it worse."
    ]
    if any(each.entry.estimated for each in ranking.candidates):
        notes.append(
            "* The law's estimate from size and tokens, not a measurement: other data and another "
            "tokenizer shift it. Measure a teacher's loss on the student's data before betting."
        )
    if any(each.entry.counts == "total" for each in ranking.candidates):
        notes.append(
            "† Total parameters, embeddings included, as the source states them; the laws count "
            "non-embedding ones, so loss and cost are off by what the embeddings are."
        )
    notes += [
        'Teachers exist: their pretraining is sunk and not charged. "If stored" is the student\'s '
        "loss with free logits.",
        f"Supervised: {count(ranking.supervised.parameters)} on {count(ranking.supervised.tokens)} "
        f"tokens, {ranking.supervised.cross_entropy:.4f} nats.",
    ]
    return tuple(notes)


def _row(each: Candidate, ranking: Ranking) -> dict[str, Any]:
    teacher, recipe, cached = each.entry.teacher, each.recipe, each.cached
    loss = None if recipe is None else recipe.student.cross_entropy
    return {
        "name": each.entry.name,
        "teacher_parameters": teacher.size,
        "counts": each.entry.counts,
        "teacher_tokens": teacher.tokens,
        "teacher_cross_entropy": each.cross_entropy,
        "estimated": each.entry.estimated,
        "student_parameters": None if recipe is None else recipe.student.parameters,
        "student_tokens": None if recipe is None else recipe.student.tokens,
        "cross_entropy": loss,
        "difference": None if loss is None else loss - ranking.supervised.cross_entropy,
        "cross_entropy_if_stored": None if cached is None else cached.student.cross_entropy,
        "capacity_gap": each.capacity_gap,
        "priced_out": each.priced_out,
        "outside_domain": " ".join(each.outside),
        "source": each.entry.source,
    }
