"""Eq. 9 and its inverses, on numbers and on arrays."""

from __future__ import annotations

import numpy as np
import pytest

from laws import Cost, affordable_size
from laws.flops import transformer, two_n

FLOPS = transformer()
COSTS = [
    Cost.of(FLOPS, 1e9),
    Cost.of(FLOPS, 1e9, 7e9, 1.0, 1.0),
    Cost.of(FLOPS, 3e8, 7e9, 0.25, 0.5, serving_tokens=1e12),
    Cost.of(two_n(), 3e8, 7e9, 1.0, 0.0, serving_tokens=1e12),
]


@pytest.mark.parametrize("cost", COSTS)
def test_the_terms_sum_to_the_total(cost: Cost) -> None:
    """No FLOP is lost between the terms and the sum."""
    terms = vars(cost.terms(2e10, 1e11)).values()
    assert float(cost.total(2e10, 1e11)) == pytest.approx(float(sum(terms)), rel=1e-14)


@pytest.mark.parametrize("cost", COSTS)
def test_the_tokens_left_spend_the_budget(cost: Cost) -> None:
    """Student and teacher tokens that a budget leaves cost just that budget."""
    budget = 3e22
    student = cost.student_tokens(budget, 1e11)
    assert float(cost.total(student, 1e11)) == pytest.approx(budget, rel=1e-14)
    teacher = cost.teacher_tokens(budget, 2e10)
    if cost.charge_pretraining:
        assert float(cost.total(2e10, teacher)) == pytest.approx(budget, rel=1e-14)
    else:
        assert teacher == np.inf
        assert cost.teacher_tokens(1.0, 2e10) == -np.inf


def test_6nd_and_the_charges_are_those_of_the_paper() -> None:
    """With F = 2N the terms are 6 N_S D_S, 2 N_T D_S and 6 N_T D_T."""
    terms = Cost.of(two_n(), 1e9, 7e9, 1.0, 1.0, 5e10).terms(2e10, 1e11)
    assert float(terms.student_training) == pytest.approx(6 * 1e9 * 2e10)
    assert float(terms.teacher_inference) == pytest.approx(2 * 7e9 * 2e10)
    assert float(terms.teacher_pretraining) == pytest.approx(6 * 7e9 * 1e11)
    assert float(terms.serving) == pytest.approx(2 * 1e9 * 5e10)


def test_charged_and_uncharged_make_the_whole_teacher() -> None:
    """What is not charged is the rest of the teacher's cost."""
    part, whole = Cost(3.0, 7.0, 0.25, 0.5), Cost(3.0, 7.0, 1.0, 1.0)
    paid = part.terms(10.0, 100.0)
    theirs = float(paid.teacher_inference) + float(paid.teacher_pretraining)
    everything = float(whole.total(10.0, 100.0)) - float(whole.terms(10.0).student_training)
    assert theirs + float(part.uncharged(10.0, 100.0)) == pytest.approx(everything)
    assert whole.uncharged(10.0, 100.0) == 0.0


def test_arrays_broadcast() -> None:
    """Sizes along one axis, budgets along another."""
    sizes, budgets = np.array([1e8, 1e9, 1e10]), np.array([[1e20], [1e21]])
    tokens = Cost.of(FLOPS, sizes, 7e9, 1.0, 1.0).student_tokens(budgets, 1e9)
    assert np.shape(tokens) == (2, 3)
    assert tokens[1, 2] == Cost.of(FLOPS, 1e10, 7e9, 1.0, 1.0).student_tokens(1e21, 1e9)  # type: ignore[index]


def test_the_affordable_size_spends_the_budget() -> None:
    """The largest size for given tokens costs the budget, with serving."""
    size = affordable_size(FLOPS, 1e21, 2e10, 1e11)
    assert float(Cost.of(FLOPS, size, serving_tokens=1e11).total(2e10)) == pytest.approx(1e21)
