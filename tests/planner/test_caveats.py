"""Every comparison carries the doubts that the main verdict carries, and the second opinion."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from coefficients import Quality, dumps, load
from planner import Problem, Teacher, solve
from planner.catalogue import Entry
from planner.cli import plan as command
from planner.questions.evaluate import sheet as evaluation
from planner.questions.evaluate.answer import evaluate
from planner.questions.family import sheet as family
from planner.questions.family.growth import Count, Growth
from planner.questions.teachers import sheet as teachers
from planner.questions.teachers.answer import rank_teachers
from planner.reports import Screen
from planner.reports.sheet import Sheet, texts

LAW = load()


def test_a_counterfactual_within_the_laws_error_is_undecided() -> None:
    """An existing teacher that would be better by less than the law can tell is not promised."""
    said = [solve(Problem(1e21, size)).verdict.text for size in (1e9, 3e9)]
    close, clear = (text.partition("already existed, ")[2] for text in said)

    assert close.startswith("distilling would be 0.01")  # of 2.22 nats, with an error of 1%
    assert close.endswith("outside the measured range and within the law's error.")
    assert clear.startswith("distilling would be 0.02")
    assert clear.endswith("better, outside the measured range.")


def _growth(gains: dict[int, float], break_even: int | None) -> Growth:
    rows = tuple(
        Count(k, 1e21 * k, 2.3 - gain, 2.3 - gain - 1e-6, 2.3, 1e9, 2e10, 2.2, 0.3)
        for k, gain in gains.items()
    )
    return Growth(rows, break_even, 256, fixed_total=False)


def test_a_family_that_loses_again_after_its_break_even_says_so() -> None:
    """The first number that gains is no threshold if a larger one loses."""
    mixed = _growth({1: -0.1, 2: 0.1, 3: -0.01, 4: 0.2, 6: 0.3}, 2)
    clean = _growth({1: -0.1, 2: 0.1, 3: 0.15}, 2)

    assert mixed.losses == (3,)
    assert "not with every larger number (3 lose); from 4 on" in family.break_even(mixed)
    assert "from 2 students on" in family.break_even(clean)
    assert clean.losses == ()


def test_counts_beyond_the_break_even_are_tried() -> None:
    """As many as there are different students, so that each has been the next in turn."""
    from planner.questions.family.answer import Member
    from planner.questions.family.growth import family_growth

    members = [Member(1e8), Member(1e9), Member(3e9)]
    found = family_growth(Problem(3e21, None, 0.0, 1.0), members, coefficients=LAW, most=64)
    tried = {row.students for row in found.rows}

    assert found.break_even is not None
    assert {found.break_even + k for k in (1, 2, 3)} <= tried


def _evaluated(student: float, tokens: float, teacher: Teacher, inference: float = 1.0) -> Sheet:
    problem = Problem(1.0, student, charge_inference=inference)
    return evaluation.sheet(evaluate(problem, tokens, teacher, LAW))


def test_evaluate_warns_of_the_reference_too() -> None:
    """A recipe inside the domain beside an optimum outside it: the second is said as well."""
    found = evaluate(Problem(1.0, 3e9, 1.0, 0.0), 75e9, Teacher(size=3e9, tokens=60e9), LAW)
    sheet = evaluation.sheet(found)

    assert not found.warnings
    assert found.best_warnings
    assert any("best plan that it is compared with" in each for each in texts(sheet.warnings))
    assert found.to_dict()["best_warnings"]


def test_evaluate_claims_nothing_of_other_teachers() -> None:
    """Beside a teacher given by its loss only its own distillations were compared."""
    text = _evaluated(1e9, 40e9, Teacher(size=30e9, loss=2.2)).verdict

    assert "Supervised training on that compute" in text
    assert "any distillation" not in text
    assert "any number of tokens from this teacher" in text


def test_teachers_tell_the_gap_from_the_price_of_logits() -> None:
    """The two parts of what the strongest teacher loses add up to the whole."""
    entries = [Entry(Teacher(size=size, loss=loss)) for size, loss in ((2e9, 2.05), (30e9, 1.7))]
    ranking = rank_teachers(Problem(1e21, 1e9, 1.0, 0.0), entries, LAW)
    text = teachers.verdict(ranking)
    parts = text.partition("would cost ")[2].split()
    total = float(parts[0])
    gap, price = (float(text.partition(mark)[0].split()[-1]) for mark in (
        " because it is too far", " because its logits",
    ))  # fmt: skip

    assert gap > 0.001 and price > 0.001
    assert gap + price == pytest.approx(total, abs=1.1e-4)
    free = rank_teachers(Problem(1e21, 1e9, 0.0, 0.0), entries, LAW)
    assert "capacity gap" in teachers.verdict(free) and "logits cost" not in teachers.verdict(free)


@pytest.mark.parametrize(
    ("inference", "words"), [(1.0, "its logits are computed"), (0.0, "logits are stored")]
)
def test_headings_of_existing_teachers_do_not_train_them(inference: float, words: str) -> None:
    """The default scenario trains a teacher; one that exists is not trained in the heading."""
    found = solve(Problem(1e21, 1e9, inference, teachers=(Teacher(size=3e9, loss=2.1),)))
    brief, full = (
        found.render("table", Screen(width=100, details=details)) for details in (False, True)
    )

    for text in (brief, full):
        assert "is trained" not in text
        assert "scenario full" not in text
        assert "Teacher (existing)" in text
    assert f"the teacher exists, {words}" in full


def test_csv_marks_every_scenario_outside_the_domain() -> None:
    """Rows beside the chosen one carry their own domain and warnings."""
    rows = list(csv.DictReader(io.StringIO(solve(Problem(1e21, 3e9)).render("csv"))))
    others = {row["scenario"]: row for row in rows if row["chosen"] == "false"}

    assert others["teacher-inference"]["outside_domain"] == "true"
    assert "outside-domain" in others["teacher-inference"]["warnings"]


def test_csv_marks_every_scenario_of_a_poor_fit() -> None:
    """What is wrong with the coefficients is wrong with every scenario, whatever the warning."""
    poor = replace(LAW, quality=Quality(undetermined=("A, B",), runs=12, coefficients_fitted=9))
    plan = solve(Problem(1e21, 3e9), poor)
    rows = list(csv.DictReader(io.StringIO(plan.render("csv"))))

    assert len(rows) == 4
    for row in rows:
        assert {"fit-undetermined", "fit-few-runs"} <= set(row["warnings"].split())


@pytest.mark.parametrize(
    "words",
    [
        ["target", "--loss", "2.2", "--student", "1B"],
        ["evaluate", "--student", "3B", "--student-tokens", "5B",
         "--teacher", "size=80B,tokens=20T", "--scenario", "teacher-inference"],
        ["compare-supervised", "--student", "3B", "--budget", "1e21"],
    ],
)  # fmt: skip
def test_other_commands_carry_the_second_opinion(words: list[str], tmp_path: Path) -> None:
    """One line among the details and a field for machines, where the set names another."""
    alone = tmp_path / "alone.toml"
    alone.write_text(dumps(replace(load("busbridge2025"), second_opinion=None)), encoding="utf-8")
    run = CliRunner(env={"COLUMNS": "200"}).invoke

    for name, other in (("busbridge2025-refit", "busbridge2025"), (str(alone), None)):
        asked = [*words, "--coefficients", name]
        table = run(command, [*asked, "--details"], catch_exceptions=False).stdout
        document = run(command, [*asked, "--format", "json"], catch_exceptions=False).stdout

        found = [each for each in _opinions(json.loads(document)) if each is not None]
        assert bool(found) == bool(other)
        assert (f"Second opinion, {other}" in table) == bool(other)


def _opinions(document: Any) -> Iterator[Any]:
    """Every value of a key ``second_opinion``."""
    if isinstance(document, dict):
        if "second_opinion" in document:
            yield document["second_opinion"]
        document = list(document.values())
    if isinstance(document, list):
        for each in document:
            yield from _opinions(each)


def test_evaluate_warns_where_the_sets_disagree() -> None:
    """A recipe that another fit judges 0.1 nats worse is a warning, not a footnote."""
    sheet = _evaluated(3e9, 5e9, Teacher(size=80e9, tokens=20e12))

    assert any("the coefficients disagree" in each for each in texts(sheet.warnings))
    alone = replace(LAW, second_opinion=None)
    found = evaluate(Problem(1.0, 3e9), 5e9, Teacher(size=80e9, tokens=20e12), alone)
    assert not any("disagree" in each for each in texts(evaluation.sheet(found).warnings))


def test_a_robust_choice_among_teachers_speaks_of_one_set() -> None:
    """Its loss and its bound belong to the set of the draws, inside that set's domain too."""
    teachers = (Teacher(size=1e9, loss=1.7), Teacher(size=1.4e9, tokens=1.8e11))
    for inside in (False, True):
        problem = Problem(6e22, 1.8e9, 0.0, 1.0, teachers, stay_in_domain=inside)
        found = solve(problem, robust="expected").robust
        assert found is not None
        law = load("busbridge2025-refit").distillation
        assert law is not None
        student, teacher = found.recipe.student, found.recipe.teacher
        expected = law.loss(student.parameters, student.tokens, teacher.cross_entropy)
        assert student.cross_entropy == pytest.approx(float(expected), rel=1e-9)
        assert found.lower_bound <= found.value
