"""What a limit on unique tokens does to a plan: how often it reads them, and what that costs.

The plan itself is found as if every token were new; it is judged here, not planned again.
"""

from __future__ import annotations

from laws.repetition import CAREFREE_EPOCHS, Repetition
from planner import units
from planner.results import Baseline, Recipe, Warning


def repetition_warnings(recipe: Recipe, baseline: Baseline, unique: float) -> tuple[Warning, ...]:
    """Warnings where a plan reads more tokens than there are; none where it does not.

    unique: tokens without repeats. The student and a planned teacher read from pools apart, which
    share them so that both repeat equally often.
    """
    student, teacher = recipe.student, recipe.teacher
    read = student.tokens + (0.0 if teacher.existing else teacher.tokens)
    found = []
    for who, tokens, epochs in (
        ("distillation", student.tokens, read / unique),
        ("supervised training", baseline.model.tokens, baseline.model.tokens / unique),
    ):
        if epochs > 1:
            found.append(_warning(who, tokens, epochs, unique, who == "distillation"))
    return tuple(found)


def _warning(who: str, tokens: float, epochs: float, unique: float, main: bool) -> Warning:
    law = Repetition(size_decay=None)  # its sizes were not fitted together with this plan's law
    worth = float(law.effective_tokens(tokens, tokens / epochs))
    low, high = law.DOMAIN["unique_tokens"]
    outside = "" if low <= unique <= high else ", outside the data it was fitted to"
    many = epochs > CAREFREE_EPOCHS
    advice = (
        "; lower --max-student-tokens and --max-teacher-tokens, or find more text"
        if many
        else f"; up to {CAREFREE_EPOCHS:g} epochs cost next to nothing"
    )
    model = "student's" if main else "supervised model's"
    return Warning(
        "repeated-data",
        f"{who} reads {units.format_count(unique)} unique tokens {units.format_ratio(epochs)} times"
        f"{', teacher and student from pools apart' if main else ''}: the {model} "
        f"{units.format_count(tokens)} are worth {units.format_count(worth)} new ones (Muennighoff "
        f"et al. 2023{outside}), which this plan does not count{advice}.",
        "epochs",
        epochs,
        (0.0, CAREFREE_EPOCHS),
        scope="recipe" if main else "baseline",
        alarm=many and main,
    )
