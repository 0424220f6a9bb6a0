"""Run plans: cost, buildable models, ratios, and what they identify."""

from __future__ import annotations

import csv
import io
import json

import pytest

from coefficients import load
from planner.errors import InfeasibleError, NoDistillationLawError, ProblemError
from planner.experiments import PROTOCOLS, design
from planner.experiments.report import Designs


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("budget", [1e20, 1e22])
def test_plans_cost_the_budget(protocol: str, budget: float) -> None:
    """A plan costs at most the budget and uses most of it; costs add up from the law's FLOPs."""
    chosen = load()
    found = design(protocol, budget, chosen)
    assert 0.75 * budget <= found.cost <= budget
    total = sum(float(chosen.flops.training(t.parameters, t.tokens)) for t in found.teachers)
    for run in found.students:
        assert run.teacher is not None
        teacher = found.teachers[run.teacher]
        total += float(chosen.flops.training(run.parameters, run.tokens))
        total += float(chosen.flops.per_token(teacher.parameters)) * run.tokens
    assert found.cost == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_models_are_buildable(protocol: str) -> None:
    """Every run names a member of the family with its exact parameter count, each run once."""
    chosen = load()
    found = design(protocol, 1e21, chosen)
    for run in (*found.teachers, *found.students):
        assert run.architecture == chosen.architectures.build(run.architecture.layers)
    runs = {(r.teacher, r.architecture.layers, r.tokens) for r in found.students}
    assert len(runs) == len(found.students)


def test_protocols_hold_what_they_say() -> None:
    """Fixed-M models have D/N in {20, ..., 320}; IsoFLOP profiles have one compute each."""
    chosen = load()
    fixed = design("fixed-m", 1e22, chosen)
    for run in fixed.students:
        ratio = run.tokens / run.parameters
        assert min(abs(ratio / m - 1) for m in (20, 40, 80, 160, 320)) < 1e-9
    iso = design("isoflop-teachers", 1e22, chosen)
    budgets = sorted(float(chosen.flops.training(t.parameters, t.tokens)) for t in iso.teachers)
    for k in range(0, 20, 5):
        assert budgets[k + 4] / budgets[k] < 1.15


def test_more_compute_identifies_better() -> None:
    """Predicted errors fall where larger runs see both terms of the law."""
    small, large = (design("fixed-m", budget, load()) for budget in (1e20, 1e23))
    assert large.errors["c0"] < 0.5
    assert set(small.errors) == {"A", "B", "alpha", "beta", "gamma", "c0", "c1", "d1", "f1"}
    assert sum(large.errors.values()) < sum(small.errors.values())


def test_impossible_designs() -> None:
    """A budget too small says what would do; unknown protocols and lawless sets are refused."""
    with pytest.raises(InfeasibleError) as caught:
        design("fixed-m", 1e12, load())
    assert caught.value.minimum_budget is not None
    assert design("fixed-m", caught.value.minimum_budget * 1.01, load()).students
    with pytest.raises(ProblemError, match="unknown protocol"):
        design("moon", 1e20, load())
    with pytest.raises(NoDistillationLawError):
        design("fixed-m", 1e20, load("hoffmann2022"))


@pytest.mark.parametrize("format_name", ["table", "json", "markdown", "csv", "toml"])
def test_reports(format_name: str) -> None:
    """Every format lists every run."""
    found = design("isoflop-teachers", 1e20, load())
    text = Designs.of((found,)).render(format_name)
    if format_name == "json":
        assert len(json.loads(text)["protocols"][0]["runs"]) == len(found.teachers) + len(
            found.students
        )
    else:
        assert len(text.splitlines()) > len(found.students)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_predicted_errors_stand_beside_the_prior(protocol: str) -> None:
    """Errors are never wider than the prior they contain, and the text names both and the noise."""
    found = design(protocol, 1e21, load())
    assert set(found.prior) == set(found.errors)
    assert all(error <= found.prior[name] for name, error in found.errors.items())
    assert list(found.sharpened.values()) == sorted(found.sharpened.values(), reverse=True)
    report = Designs.of((found,))
    sheet = report.sheet()
    for (name, error), row in zip(found.errors.items(), sheet.grids[1].rows, strict=True):
        assert row == (name, f"{error:.2g}", f"{found.prior[name]:.2g}")
    said = " ".join(sheet.notes)
    assert "0.3% of noise a run" in said
    hardly = said.partition("they hardly tell ")[2].partition(" one by one")[0].split(", ")
    assert hardly == [name for name, gain in found.sharpened.items() if gain < 2]
    assert report.to_dict()["protocols"][0]["prior_standard_errors"] == found.prior


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_absurd_budgets_are_refused_with_one_that_is_not(protocol: str) -> None:
    """A budget beyond any model that can be laid out is not spent on clones of the largest one."""
    with pytest.raises(ProblemError, match="give at most") as caught:
        design(protocol, 1e40, load())
    most = float(str(caught.value).rpartition("give at most ")[2].rstrip("."))
    assert design(protocol, 0.99 * most, load()).cost > 0.5 * most


def test_a_small_budget_says_what_it_does_to_the_plan() -> None:
    """Models that had to be enlarged to the smallest buildable are counted in a note."""
    found = design("fixed-m-teachers", 1e18, load())
    assert "were enlarged to it or merged" in " ".join(found.notes)
    assert found.notes[0] in " ".join(Designs.of((found,)).sheet().notes)
    assert design("fixed-m-teachers", 1e22, load()).notes == ()


def test_csv_keeps_every_digit() -> None:
    """What is read back from the pool is what was designed."""
    found = design("fixed-m", 1e21, load())
    rows = list(csv.DictReader(io.StringIO(Designs.of((found,)).render("csv"))))
    for row, run in zip(rows, found.students, strict=True):
        assert run.teacher is not None
        assert float(row["teacher_cross_entropy"]) == found.teachers[run.teacher].loss
        assert float(row["cost"]) == run.cost
        assert float(row["student_tokens"]) == run.tokens
