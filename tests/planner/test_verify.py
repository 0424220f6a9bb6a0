"""A plan's document is recomputed without the solver, and a changed number in it is found."""

from __future__ import annotations

import copy
import csv
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
import tomli_w
from click.testing import CliRunner

from planner import Problem, load_coefficients, optimum, solve, verify_bound
from planner import verify as verifying
from planner.cli import plan, planner
from planner.documents import completed
from planner.errors import InfeasibleError, PlannerError
from planner.questions.plan.answer import Plan
from planner.reports.toml import without_none
from planner.verify import Check, verify
from planner.verify_bound import second_bound
from tests.fit.simulated import distillations
from tests.oracles import instances

Document = dict[str, Any]
Path_ = tuple[str | int, ...]

QUESTIONS: dict[str, dict[str, Any]] = {
    "full": {"budget": "1e21", "student": "1B"},
    "outside the domain": {"budget": "1e21", "student": "3B", "scenario": "teacher-inference"},
    "existing teachers": {
        "budget": "1e21",
        "student": "1B",
        "teachers": ["size=7B,tokens=140B", "size=3B,loss=2.05,name=house"],
    },
    "loss alone": {
        "budget": "1e21", "student": "1B", "scenario": "best-case", "teachers": ["loss=2.0"],
    },
    "any size": {"budget": "1e21"},
    "buildable": {"budget": "1e21", "student": "1B", "round_to_architecture": True},
    "buildable, any size": {"budget": "1e21", "round_to_architecture": True},
    "inside the domain": {"budget": "1e21", "stay_in_domain": True},
    "capped": {
        "budget": "1e22", "student": "1B", "max_student_tokens": "50B", "scenario": "full",
    },
    "draws": {"budget": "1e21", "coefficients": "busbridge2025-refit"},
    "serving": {"budget": "1e21", "student": "500M", "serving_tokens": "100B"},
    "a fraction": {
        "budget": "1e21", "student": "1B", "charge_inference": 0.5, "charge_pretraining": 0.25,
    },
}  # fmt: skip


def read(written: Any) -> Document:
    """A document checked and completed, as `Plan.read_document` gives it back from a file."""
    found: Document = completed(written, Plan.from_document(written).to_dict())
    return found


@cache
def _solved(name: str) -> Document:
    problem = Problem.from_mapping(QUESTIONS[name])
    found = solve(problem, robust="expected" if name == "outside the domain" else None)
    written = tomli_w.dumps(without_none(found.to_dict()))
    return read(tomli.loads(written))


def document(name: str) -> Document:
    """The question's document as a TOML file gives it back; solved once, one copy per test."""
    return copy.deepcopy(_solved(name))


def failed(checks: tuple[Check, ...]) -> list[str]:
    """Names of the checks that did not hold."""
    return [check.name for check in checks if not check.passed]


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_plan_passes_its_own_checks(name: str) -> None:
    """What the solver writes agrees with a recomputation that does not use the solver."""
    checks = verify(document(name))

    assert failed(checks) == []
    assert len(checks) >= 8


FREE = {
    "notes", "binding", "text", "headline", "reasons", "reason", "boxes", "source", "bounds",
    "parameter_convention",
}  # fmt: skip
"""Keys whose values are not checked: texts, and bounds that a plan need not rest on."""

PARTS = ("recipe", "certificate", "supervised", "scenarios", "in_domain", "problem", "scenario")


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every checked leaf with its path."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in FREE:
                yield from leaves(each, (*path, key))
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from leaves(each, (*path, position))
    else:
        yield path, value


def changed(whole: Document, path: Path_, value: Any) -> Document:
    """A copy with one leaf replaced."""
    made = copy.deepcopy(whole)
    where: Any = made
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    return made


def noticed(whole: Document) -> list[str]:
    """What the reader or the checks say against a document; empty if nothing."""
    try:
        return failed(verify(read(whole)))
    except PlannerError as error:
        return [str(error)]


def is_noticed(whole: Document) -> bool:
    """Whether any check fails; those after the first failure are not run."""
    try:
        document = read(whole)
        problem = Problem.from_mapping(document["problem"])
        checks = verifying._checks(document, problem, load_coefficients(problem.coefficients))
        return not all(check.passed for check in checks)
    except PlannerError:
        return True


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    kept: dict[bytes, Any] = {}

    def ask(*args: Any) -> Any:
        key = pickle.dumps(args)
        if key not in kept:
            kept[key] = function(*args)
        return kept[key]

    return ask


@pytest.mark.parametrize(
    "name", ["full", "outside the domain", "existing teachers", "inside the domain", "serving"]
)
def test_every_changed_number_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number a tenth off, and each flag flipped: a check fails."""
    monkeypatch.setattr(verifying, "second_bound", _remembering(second_bound))
    whole = document(name)
    assert noticed(whole) == []
    missed, tried = [], 0
    for position, (path, value) in enumerate(leaves({key: whole[key] for key in PARTS})):
        if path[0] == "scenarios" and position % 3:
            continue  # four recipes, all alike
        if isinstance(value, bool):
            other: Any = not value
        elif isinstance(value, int | float):
            other = value * (1.1, 0.9)[position % 2] if value else 0.5
            other = int(other) + 1 if isinstance(value, int) else other
        else:
            continue
        tried += 1
        if not is_noticed(changed(whole, path, other)):
            missed.append((".".join(map(str, path)), value, other))

    unaffected = {"problem.stay_in_domain", "problem.round_to_architecture"}
    assert [each for each in missed if each[0] not in unaffected] == []
    assert tried >= 60


def _worse(whole: Document) -> Document:
    """A plan about 0.1 nats worse, with all its numbers made to fit and a false certificate."""
    law = load_coefficients()
    recipe, per_token = whole["recipe"], law.flops.per_token
    student, teacher, flops = recipe["student"], recipe["teacher"], recipe["flops"]
    for model, tokens in ((teacher, 20e9), (student, 30e9)):
        model["tokens"], model["tokens_per_parameter"] = tokens, tokens / model["parameters"]
    teacher["cross_entropy"] = float(law.supervised.loss(teacher["parameters"], 20e9))
    assert law.distillation is not None
    loss = float(law.distillation.loss(student["parameters"], 30e9, teacher["cross_entropy"]))
    student["cross_entropy"] = loss
    running = float(per_token(teacher["parameters"]))
    flops["student_training"] = 3 * float(per_token(student["parameters"])) * 30e9
    flops["teacher_inference"], flops["teacher_pretraining"] = running * 30e9, 3 * running * 20e9
    flops["total"] = sum(flops[term] for term in flops["shares"])
    flops["shares"] = {term: flops[term] / flops["total"] for term in flops["shares"]}
    bound = loss - 1e-7
    whole["certificate"] |= {"lower_bound": bound, "gap": loss - bound, "proven": True}
    return whole


@pytest.mark.parametrize("flag", [None, "round_to_architecture", "stay_in_domain"])
def test_a_worse_plan_called_optimal_is_found(flag: str | None) -> None:
    """The independent bound covers buildable plans and plans inside the domain as well."""
    whole = _worse(document("buildable" if flag == "round_to_architecture" else "full"))
    if flag:
        whole["problem"][flag] = True

    assert "certificate: independent bound" in noticed(whole)


def test_a_wide_tolerance_does_not_hide_a_better_plan() -> None:
    """A certificate with a tolerance of half a nat proves nothing."""
    whole = _worse(document("full"))
    loss = whole["recipe"]["student"]["cross_entropy"]
    whole["problem"]["tolerance"] = 0.5
    whole["certificate"] |= {
        "tolerance": 0.5, "lower_bound": 2.2978, "gap": loss - 2.2978, "proven": True,
    }  # fmt: skip

    assert "certificate: independent bound" in noticed(whole)


@pytest.mark.parametrize("name", ["full", "any size"])
@pytest.mark.parametrize("key", ["tokens", "parameters"])
def test_a_weakened_baseline_is_found(key: str, name: str) -> None:
    """The supervised model spends the whole budget, at the given or the best size."""
    whole, law = document(name), load_coefficients()
    baseline = whole["supervised"]["model"]
    baseline[key] /= 3
    baseline["cross_entropy"] = float(
        law.supervised.loss(baseline["parameters"], baseline["tokens"])
    )

    assert "supervised baseline" in noticed(whole)


def test_a_missing_domain_warning_is_found() -> None:
    """A document that leaves the domain silently does not pass."""
    whole = document("outside the domain")
    whole["warnings"] = [each for each in whole["warnings"] if each["code"] != "outside-domain"]

    assert "domain of validity" in failed(verify(whole))


def test_the_method_follows_from_the_losses() -> None:
    """A verdict for the method of larger loss is found; its text is not read."""
    whole = document("full")
    assert whole["verdict"]["method"] == "supervised"
    whole["verdict"]["text"] = ""
    assert failed(verify(whole)) == []
    whole["verdict"]["method"] = "distil"

    assert failed(verify(whole)) == [
        "verdict: the method follows from the losses",
        "recommendation: the method's recipe",
    ]


@pytest.mark.parametrize("kind", instances.KINDS)
def test_the_bound_agrees_with_the_solver(kind: str) -> None:
    """On random problems the independent bound ends just below the solver's optimum."""
    rng, compared = np.random.default_rng(11), 0
    while compared < 4:
        problem = instances.to_problem(instances.draw(kind, rng))
        try:
            recipe, certificate = optimum(problem)
        except InfeasibleError:
            continue
        compared += 1
        loss = recipe.student.cross_entropy
        bound = second_bound(problem, problem.coefficient_set(), loss)
        assert certificate.lower_bound <= bound.best + 1e-9
        assert loss - 1.01e-4 <= bound.lower <= loss + 1e-9, problem
        alone = second_bound(problem, problem.coefficient_set(), loss + 0.1, 1e-3)
        assert alone.lower <= loss <= alone.best + 1e-9
        assert alone.best <= loss + 0.02, problem  # a plan 0.1 nats worse is found out


def test_the_bound_says_where_nothing_fits() -> None:
    """No rectangle is left, and no plan was met."""
    problem = Problem.from_mapping({"budget": "1e20", "student": "1B", "min_student_tokens": "1T"})

    found = second_bound(problem, load_coefficients())

    assert found.lower == found.best == float("inf")


def test_a_failed_program_loosens_the_bound_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planes hold at any teacher and multiplier, so wrong answers of cvxpy are harmless."""
    problem = Problem.from_mapping(QUESTIONS["full"])
    loss = _solved("full")["recipe"]["student"]["cross_entropy"]

    def wrong(self: Any, given: Any, r: float) -> tuple[float, float, float]:
        n, d = np.mean(self.sides, axis=1)
        return float(n), float(d), 0.7

    monkeypatch.setattr(verify_bound._Program, "solve", wrong)

    assert second_bound(problem, problem.coefficient_set(), loss).lower <= loss


@pytest.mark.parametrize("form", ["toml", "json"])
def test_a_plan_from_a_small_fit_is_checked(tmp_path: Path, form: str) -> None:
    """Sets fitted to few runs have warnings of their own and no coverage: no reason to fail."""
    rows = distillations(runs=24)
    with (tmp_path / "runs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["student_parameters", "student_tokens", "teacher_cross_entropy",
             "student_cross_entropy"]
        )  # fmt: skip
        assert rows.teacher_loss is not None
        columns = (rows.parameters, rows.tokens, rows.teacher_loss, rows.loss)
        writer.writerows(zip(*columns, strict=True))
    recipe, mine = str(tmp_path / f"recipe.{form}"), str(tmp_path / "mine.toml")
    run = CliRunner().invoke
    fit = ["fit", str(tmp_path / "runs.csv"), "--law", "distillation", "--bootstrap", "64"]
    run(planner, [*fit, "--output", mine], catch_exceptions=False)
    asked = ["--budget", "1e21", "--student", "1B", "--coefficients", mine, "--format", form]
    run(plan, [*asked, "--output", recipe], catch_exceptions=False)

    found = run(planner, ["validate", recipe, "--check-only"], catch_exceptions=False)

    assert found.exit_code == 0, found.output
    assert "warnings about the fit" in found.output  # among what is not checked
