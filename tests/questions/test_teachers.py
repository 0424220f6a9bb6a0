"""Existing teachers: the catalogue, files of one's own, the ranking and what it points out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coefficients import load
from planner import catalogue
from planner.catalogue import Entry
from planner.errors import DocumentError, InfeasibleError, ProblemError
from planner.optima import optimum
from planner.problem import Problem, Teacher
from planner.questions.teachers.answer import rank_teachers

LAW = load("busbridge2025")


def problem(budget: float = 1e21, charge: float = 1.0, student: float | None = 1e9) -> Problem:
    """A question about existing teachers."""
    return Problem(budget, student, charge, 0.0)


def entries(*teachers: Teacher) -> list[Entry]:
    """As from the command line."""
    return [Entry(each) for each in teachers]


def test_every_shipped_teacher_has_a_source_and_says_what_its_size_counts() -> None:
    """Facts without a source do not ship; losses are never stated, only estimated."""
    shipped = catalogue.catalogue()
    assert len(shipped) > 10
    assert len({entry.name for entry in shipped}) == len(shipped)
    for entry in shipped:
        assert entry.source
        assert entry.counts in catalogue.COUNTS
        assert entry.estimated
        assert entry.teacher.size is not None
        assert entry.teacher.tokens is not None


@pytest.mark.parametrize("charge", [0.0, 0.5, 1.0])
def test_the_ranking_is_the_law_at_the_tokens_the_budget_leaves(charge: float) -> None:
    """D_S = C / (3 F(N_S) + delta F(N_T)) and Eq. 8, one teacher at a time, in order."""
    law, forward = LAW.distillation, LAW.flops.per_token
    assert law is not None
    ranking = rank_teachers(problem(charge=charge), catalogue.catalogue(), LAW)
    losses = []
    for each in ranking.candidates:
        teacher = each.entry.teacher
        assert teacher.size is not None
        assert teacher.tokens is not None
        loss = float(LAW.supervised.loss(teacher.size, teacher.tokens))
        assert teacher.forward_flops is not None  # of its own shape
        tokens = 1e21 / float(3 * forward(1e9) + charge * teacher.forward_flops)
        expected = float(law.loss(1e9, tokens, loss))
        losses.append(expected)
        assert each.cross_entropy == pytest.approx(loss, abs=1e-12)
        assert each.student_loss == pytest.approx(expected, abs=1e-9)
    assert losses == sorted(losses)
    assert ranking.supervised.cross_entropy == pytest.approx(
        float(LAW.supervised.loss(1e9, 1e21 / (3 * forward(1e9))))
    )


def test_the_winner_is_the_planners_choice() -> None:
    """`plan` with the same teachers takes the same one."""
    teachers = (Teacher(7e9, 140e9, name="a"), Teacher(1.5e9, 300e9, name="b"))
    ranking = rank_teachers(problem(), entries(*teachers), LAW)
    recipe, _ = optimum(Problem(1e21, 1e9, 1.0, 0.0, teachers), LAW)

    assert ranking.best.entry.name == recipe.teacher.name
    assert ranking.best.student_loss == pytest.approx(recipe.student.cross_entropy, abs=1e-9)


def test_a_stronger_teacher_that_makes_a_worse_student_is_pointed_out() -> None:
    """Beyond the capacity gap with free logits; by price alone where the gap is not reached."""
    weak, good, far = (Teacher(2e9, loss=t) for t in (2.4, 2.0, 1.5))
    ranking = rank_teachers(problem(charge=0.0), entries(weak, good, far), LAW)
    found = {each.cross_entropy: each for each in ranking.candidates}

    assert ranking.best.cross_entropy == 2.0
    assert found[1.5].capacity_gap
    assert not found[1.5].priced_out
    assert not found[2.4].capacity_gap
    assert 1.5 < ranking.ideal < 2.4

    dear = rank_teachers(problem(), entries(Teacher(2e9, loss=2.1), Teacher(60e9, loss=2.05)), LAW)
    assert dear.strongest.priced_out
    assert not dear.strongest.capacity_gap
    assert dear.best is not dear.strongest


def test_the_best_teacher_loss_is_where_no_other_is_better() -> None:
    """The capacity gap named in the ranking is the minimum over teacher losses."""
    law = LAW.distillation
    assert law is not None
    ranking = rank_teachers(problem(charge=0.0), entries(Teacher(2e9, loss=2.0)), LAW)
    assert ranking.best.recipe is not None
    tokens = ranking.best.recipe.student.tokens
    grid = np.linspace(1.3, 3.0, 3401)
    losses = law.loss(1e9, float(tokens or 0), grid)

    assert ranking.ideal == pytest.approx(float(grid[np.argmin(losses)]), abs=1e-3)


def test_a_free_student_size_is_planned_for_each_teacher() -> None:
    """Every candidate has its own best size, none worse than a fixed one."""
    teachers = entries(Teacher(7e9, 140e9), Teacher(2e9, 300e9))
    free = rank_teachers(problem(student=None), teachers, LAW)
    fixed = {each.entry.name: each for each in rank_teachers(problem(), teachers, LAW).candidates}

    sizes = {each.recipe.student.parameters for each in free.candidates if each.recipe}
    assert len(sizes) == 2
    for each in free.candidates:
        assert each.student_loss <= fixed[each.entry.name].student_loss + 1e-6


def test_a_file_of_teachers_is_read(tmp_path: Path) -> None:
    """Words and numbers, measured losses and estimated ones."""
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[teacher]]\nname = "ours"\nsize = "7B"\nloss = 2.05\nsource = "our runs"\n'
        '[[teacher]]\nname = "theirs"\nsize = 13e9\ntokens = "2T"\ncounts = "total"\n'
    )
    ours, theirs = catalogue.load(str(path))

    assert (ours.teacher.size, ours.teacher.loss, ours.estimated) == (7e9, 2.05, False)
    assert (theirs.teacher.tokens, theirs.counts, theirs.estimated) == (2e12, "total", True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"\[\[teacher\]\] tables"),
        ("[teacher]\nsize = 1", r"\[\[teacher\]\] tables"),
        ("[[teacher]]\nsize = 1e9", "size and tokens"),
        ("[[teacher]]\nsize = 1e9\ntokens = 1e9\nparams = 3", "unknown key 'params'"),
        ("[[teacher]]\nsize = -1e9\ntokens = 1e9", "positive"),
        ("[[teacher]]\nsize = 1e9\ntokens = 1e9\ncounts = 'all'", "counts is 'all'"),
        ("[[teacher]]\nname='a'\nloss=2\n[[teacher]]\nname='a'\nloss=3", "is taken"),
        ("[[teacher", "not TOML"),
    ],
)
def test_a_wrong_file_is_answered_with_its_faults(text: str, words: str) -> None:
    """Every fault listed, each with what to do."""
    with pytest.raises(DocumentError, match=words):
        catalogue.parse(text, "'mine.toml'")


def test_an_absent_file_and_no_teachers_are_refused(tmp_path: Path) -> None:
    """One sentence, before any solving."""
    with pytest.raises(DocumentError, match="cannot read"):
        catalogue.load(str(tmp_path / "none.toml"))
    with pytest.raises(ProblemError, match="no teachers"):
        rank_teachers(problem(), [], LAW)
    with pytest.raises(InfeasibleError):
        rank_teachers(problem(1e10), entries(Teacher(7e9, 140e9)), LAW)
