"""No number, flag or choice of a document can be changed without a check that says so."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from planner.reports.read import check_recipe

from planner import Problem, load_coefficients, solve
from tests.validate import mutate

Document = dict[str, Any]

FREE = {
    "boxes": "the effort of a proof, not its result; `unchecked` says so",
    "min_student_size": "a bound that nothing rests on: the plan answers the changed question too",
    "max_student_size": "as above",
    "min_student_tokens": "as above",
    "max_student_tokens": "as above",
    "min_teacher_size": "as above",
    "max_teacher_size": "as above",
    "min_teacher_tokens": "as above",
    "max_teacher_tokens": "as above",
}
"""The only keys that may change unnoticed, with the reason."""

TRUST = ("second_opinion", "uncertainty", "robust", "sensitivity", "in_domain", "warnings")

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "full": ({"budget": "1e21", "student": "1B"}, {}, ()),
    "existing teachers": (
        {"budget": "1e21", "student": "1B",
         "teachers": ["size=7B,tokens=140B", "size=3B,loss=2.05,name=house"]}, {}, (),
    ),
    "a known loss": (
        {"budget": "1e21", "student": "1B", "scenario": "best-case", "teachers": ["loss=2.0"]},
        {}, (),
    ),
    "buildable": (
        {"budget": "1e21", "student": "1B", "round_to_architecture": True},
        {}, ("recipe", "certificate", "problem", "verdict"),
    ),
    "inside the domain": (
        {"budget": "1e21", "student": "1B", "scenario": "teacher-inference",
         "stay_in_domain": True, "serving_tokens": "1B"},
        {}, ("recipe", "certificate", "problem", "verdict", "supervised"),
    ),
    "a risky bet": (
        {"budget": "1e21", "student": "3B", "scenario": "teacher-inference"},
        {"robust": "expected"}, TRUST,
    ),
    "draws": (
        {"budget": "1e21", "student": "1B", "coefficients": "busbridge2025-refit",
         "charge_inference": 0.5, "charge_pretraining": 0.25},
        {"sensitivity": True}, ("uncertainty", "sensitivity", "scenario"),
    ),
}  # fmt: skip


@cache
def _solved(name: str) -> Document:
    question, options, _ = CASES[name]
    return check_recipe(solve(Problem.from_mapping(question), **options).to_dict())


def document(name: str) -> Document:
    """A document of its own for every test."""
    return copy.deepcopy(_solved(name))


@pytest.mark.parametrize("name", CASES)
def test_every_changed_leaf_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number a tenth off, each flag flipped, each choice another: a check fails."""
    mutate.remember(monkeypatch)
    whole, parts = document(name), CASES[name][2]
    assert mutate.noticed(whole) == []
    missed, tried = [], 0
    for position, (path, value) in enumerate(mutate.leaves(whole)):
        if path[-1] in FREE or (parts and path[0] not in parts):
            continue
        if path[0] == "sensitivity" and position % 4:
            continue  # fifteen coefficients, all alike
        others = mutate.mutants(path, value)
        for other in others[position % 2 :][:1] or others[:1]:
            tried += 1
            if not mutate.noticed(mutate.changed(whole, path, other)):
                missed.append((".".join(map(str, path)), value, other))

    assert missed in ([], [("problem.stay_in_domain", False, True)])  # a plan inside stays one
    assert tried >= 25


def _worse(changed: Document) -> Document:
    """A plan about 0.1 nats worse, with all its numbers made to fit and a false certificate."""
    law = load_coefficients()
    recipe, per_token = changed["recipe"], law.flops.per_token
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
    changed["certificate"] |= {"lower_bound": bound, "gap": loss - bound, "proven": True}
    return changed


@pytest.mark.parametrize("flag", [None, "round_to_architecture", "stay_in_domain"])
def test_a_worse_plan_called_optimal_is_noticed(flag: str | None) -> None:
    """The second proof is about buildable plans and plans inside the domain as well."""
    name = {"round_to_architecture": "buildable"}.get(flag or "", "full")
    changed = _worse(document(name))
    if flag:
        changed["problem"][flag] = True

    assert "the recipe: a second proof from monotonicity" in mutate.noticed(changed)


def test_a_wide_tolerance_does_not_hide_a_better_plan() -> None:
    """A certificate that asks for half a nat proves nothing, and the checks say what it hides."""
    changed = _worse(document("full"))
    loss = changed["recipe"]["student"]["cross_entropy"]
    changed["problem"]["tolerance"] = 0.5
    changed["certificate"] |= {
        "tolerance": 0.5, "lower_bound": 2.2978, "gap": loss - 2.2978, "proven": True,
    }  # fmt: skip

    assert "the recipe: a second proof from monotonicity" in mutate.noticed(changed)


@pytest.mark.parametrize("key", ["tokens", "parameters"])
def test_a_weakened_baseline_is_noticed(key: str) -> None:
    """The supervised model spends the whole budget on the student's own size."""
    changed, law = document("full"), load_coefficients()
    baseline = changed["supervised"]
    baseline[key] /= 3
    baseline["cross_entropy"] = float(
        law.supervised.loss(baseline["parameters"], baseline["tokens"])
    )

    assert "the supervised baseline of the same budget" in mutate.noticed(changed)


def test_another_verdict_is_noticed() -> None:
    """Method and sentence follow from the losses."""
    changed = document("full")
    changed["verdict"] = {"method": "distil", "text": "Distil: it is much better."}

    assert "the verdict follows from the numbers" in mutate.noticed(changed)
