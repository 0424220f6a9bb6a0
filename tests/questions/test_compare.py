"""Crossovers, gains and ratios against brute force and against each other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InfeasibleError, ProblemError
from planner.optima import solve_many
from planner.problem import BOUNDS, Bounds, Problem, Teacher
from planner.questions.compare import answer as module
from planner.questions.compare.answer import TIGHT, budget_grid, compare, compare_supervised, signs
from planner.questions.compare.curves import Comparison
from planner.questions.compare.sheet import headline
from planner.questions.target.answer import smallest_budgets
from tests.examples import examples
from tests.questions import brute

ANY = 1e21  # the budget of a template is replaced

OWN = Bounds(student_tokens=(1e6, 2.0001e13))
"""A bound of the user's own: what it does to a comparison is what was asked for, and is found."""


@pytest.fixture(scope="module")
def usual() -> list[Comparison]:
    """Four students over the usual range."""
    return compare(
        Problem(ANY, coefficients="busbridge2025", bounds=OWN),
        budget_grid(1e19, 1e26, None),
        [3e8, 1e9, 3e9, 1e10],
    )


@pytest.mark.parametrize(
    ("row", "scenario"),
    [(1, "teacher-inference"), (1, "best-case"), (2, "best-case"), (2, "teacher-inference")],
)
def test_crossovers_agree_with_brute_force(
    usual: list[Comparison], row: int, scenario: str
) -> None:
    """A dense grid over teachers changes its mind about the better method where we say."""
    found = usual[row]
    [crossing] = found.curve(scenario).crossovers
    below, above = (
        replace(found.problem, budget=crossing.budget * factor).with_charges(
            *found.curve(scenario).charges
        )
        for factor in (0.98, 1.02)
    )
    better = [brute.best_loss(each) < brute.supervised_loss(each) for each in (below, above)]

    assert better == ([True, False] if crossing.better_above == "supervised" else [False, True])


def test_crossovers_are_found_to_a_tenth_of_a_per_cent(usual: list[Comparison]) -> None:
    """Every bracket is narrow and its ends have proven, opposite signs."""
    checked = 0
    for found in usual:
        for curve in found.curves:
            for crossing in curve.crossovers:
                assert crossing.low <= crossing.budget <= crossing.high
                assert math.log(crossing.high / crossing.low) <= 1e-3
                ends = [
                    replace(found.problem, budget=b, tolerance=TIGHT).with_charges(*curve.charges)
                    for b in (crossing.low, crossing.high)
                ]
                plans = solve_many(ends)
                difference = plans.cross_entropy - plans.supervised_cross_entropy
                sides = signs(difference, plans.gap).tolist()
                up = 1 if crossing.better_above == "supervised" else -1
                assert sides == [-up, up]
                checked += 1
    assert checked >= 12


def test_several_crossovers_are_found_even_on_a_coarse_grid(usual: list[Comparison]) -> None:
    """300M under teacher inference loses only between two budgets; two points a decade see it."""
    fine = usual[0].curve("teacher-inference").crossovers
    [coarse_run] = compare(
        Problem(ANY, coefficients="busbridge2025", bounds=OWN), budget_grid(1e19, 1e26, 15), [3e8]
    )
    coarse = coarse_run.curve("teacher-inference").crossovers

    assert [c.better_above for c in fine] == ["supervised", "distil"]
    assert [c.budget for c in coarse] == pytest.approx([c.budget for c in fine], rel=1e-3)


def test_two_crossings_within_one_step_of_the_grid_are_found(usual: list[Comparison]) -> None:
    """All grid points are on one side, the stretch on the other hides between two of them."""
    known = usual[0].curve("teacher-inference").crossovers
    grid = np.array([1e21, 0.97 * known[0].budget, 1.03 * known[1].budget, 1e24])
    [found] = compare(Problem(ANY, coefficients="busbridge2025", bounds=OWN), grid, [3e8])
    curve = found.curve("teacher-inference")

    assert curve.sign.tolist() == [-1, -1, -1, -1]
    assert [c.budget for c in curve.crossovers] == pytest.approx(
        [c.budget for c in known], rel=1e-3
    )


def test_no_crossover_where_one_method_is_always_better(usual: list[Comparison]) -> None:
    """A 1B student that pays for its teacher in full never catches up between 1e19 and 1e26."""
    curve = usual[1].curve("full")

    assert curve.crossovers == ()
    assert set(curve.sign.tolist()) == {1}
    assert curve.largest_gain is None


def test_differences_within_the_gap_have_no_sign() -> None:
    """Only a lower bound above the supervised loss proves that supervised is better."""
    difference = np.array([1e-3, 5e-7, 0.0, -5e-7, -1e-3, np.nan])
    gap = np.full(6, 1e-6)

    assert signs(difference, gap).tolist() == [1, 0, 0, -1, -1, 0]


@pytest.mark.parametrize(
    ("levels", "crossings"),
    [([1, 0, 0, 1], 0), ([0, 0, 0, 0], 0), ([-1, 0, 0, 0], 0), ([0, 0, 1, 1], 0)],
)
def test_touching_zero_is_no_crossover(levels: list[int], crossings: int) -> None:
    """A curve that rests on zero and does not come out on the other side never crosses."""
    [found] = compare(
        Problem(ANY, coefficients="busbridge2025", bounds=OWN), np.geomspace(1e22, 1e24, 4), [1e9]
    )
    values = np.array(levels, dtype=float)
    curves = tuple(
        replace(curve, difference=values, sign=values.astype(int)) for curve in found.curves
    )
    [again] = module._with_crossovers([replace(found, curves=curves)], brute.law())

    assert [len(curve.crossovers) for curve in again.curves] == [crossings] * 4


def test_the_largest_gain_is_the_largest(usual: list[Comparison]) -> None:
    """No budget of the grid has a larger one; inside the domain it is not larger than overall."""
    for found in usual:
        curve = found.curve("best-case")
        gain = curve.largest_gain
        assert gain is not None
        assert gain.nats == pytest.approx(-np.nanmin(curve.difference))
        inside = curve.largest_gain_in_domain
        assert inside is None or inside.nats <= gain.nats


def test_several_students_are_each_as_alone(usual: list[Comparison]) -> None:
    """One batch gives what four calls give."""
    [alone] = compare(
        Problem(ANY, coefficients="busbridge2025", bounds=OWN), usual[2].budgets, [3e9]
    )

    for one, other in zip(alone.curves, usual[2].curves, strict=True):
        assert one.difference == pytest.approx(other.difference, abs=2e-6)
        assert len(one.crossovers) == len(other.crossovers)


@examples(15)
@given(
    size=st.floats(2e8, 2e10),
    budget=st.floats(19.5, 24.0),
    charges=st.sampled_from([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.3, 0.1)]),
)
def test_compute_ratios_are_inverse_when_roles_swap(
    size: float, budget: float, charges: tuple[float, float]
) -> None:
    """Distillation over supervised at a plan's loss, times supervised over distillation at the same
    loss from the smallest budget of distillation, is one."""
    problem = Problem(10**budget, size, *charges)
    [found] = compare_supervised(problem, [problem.budget]).comparisons
    curve = next(each for each in found.curves if each.charges == charges)
    assert curve.ratios is not None
    ratio = float(curve.ratios.compute[0])
    if not ratio > 0:
        return
    direct = replace(problem, budget=float(curve.ratios.supervised_flops[0]))
    loss = brute.supervised_loss(direct)
    swapped = smallest_budgets([problem], np.array([loss]), brute.law())
    assert loss == pytest.approx(float(curve.plans.cross_entropy[0]), abs=1e-9)
    if loss < float(swapped.floor[0]) + 1e-5:
        return  # flat: many budgets share the loss

    assert ratio * (direct.budget / float(swapped.budget[0])) == pytest.approx(1, rel=5e-3)


def test_data_ratio_counts_the_teachers_tokens_by_their_share() -> None:
    """Eq. 34: D_S + delta_pretraining D_T over what supervised training needs for the loss."""
    [found] = compare_supervised(Problem(1e21, 1e9), [1e21]).comparisons
    for curve in found.curves:
        assert curve.ratios is not None
        plans = curve.plans
        data = float(plans.student_tokens[0])
        if curve.charge_pretraining:
            data += curve.charge_pretraining * float(plans.teacher_tokens[0])
        alone = float(brute.law().supervised.tokens_for_loss(1e9, plans.cross_entropy[0]))
        assert float(curve.ratios.data[0]) == pytest.approx(data / alone, rel=1e-9)


def test_custom_charges_are_compared_beside_the_scenarios() -> None:
    """A teacher shared by four students is a fifth curve between best case and full."""
    [found] = compare(Problem(1e21, 1e9, 1.0, 0.25), [1e21])
    by_name = {curve.scenario: float(curve.difference[0]) for curve in found.curves}

    assert len(found.curves) == 5
    assert by_name["best-case"] < by_name["custom"] < by_name["full"]


def test_existing_teachers_leave_the_scenarios_that_mean_something() -> None:
    """Their pretraining is sunk, and without a size their inference has no cost."""
    sized = Problem(1e21, 1e9, teachers=(Teacher(size=7e9, loss=2.0),))
    unsized = Problem(1e21, 1e9, 0.0, 0.0, teachers=(Teacher(loss=2.0),))

    assert sized.comparable_charges() == [(0.0, 0.0), (1.0, 0.0)]
    assert unsized.comparable_charges() == [(0.0, 0.0)]


def test_an_empty_grid_is_refused() -> None:
    """No budgets, no answer."""
    with pytest.raises(ProblemError, match="empty"):
        compare(Problem(ANY, coefficients="busbridge2025", bounds=OWN), [], [1e9])


def test_budgets_too_small_for_anything_say_what_would_do() -> None:
    """The error carries the smallest feasible budget."""
    with pytest.raises(InfeasibleError) as caught:
        compare(Problem(ANY, coefficients="busbridge2025", bounds=OWN), [1e10, 1e11], [1e9])
    assert caught.value.minimum_budget is not None
    assert caught.value.minimum_budget > 1e11


def test_a_cap_is_no_finding() -> None:
    """The paper's claims 1 and 2 agree under the default bounds: no crossover comes from a cap.

    Where the default bound on tokens holds the supervised model nothing is compared; below it the
    signs are those under the paper's bounds, under which paying for the teacher never pays.
    """
    asked = Problem(1e22, coefficients="busbridge2025")
    budgets, sizes = np.geomspace(1e22, 1e26, 9), (300e6, 1e9, 3e9, 10e9)
    usual = compare(asked, budgets, sizes)
    wide = compare(replace(asked, bounds=BOUNDS["paper"]), budgets, sizes)
    for capped, free in zip(usual, wide, strict=True):
        for ours, theirs in zip(capped.curves, free.curves, strict=True):
            assert not np.any(theirs.held)
            assert ours.held_from is not None
            assert ours.found.size < ours.sign.size
            assert np.array_equal(ours.sign[~ours.held], theirs.sign[~ours.held])
            assert len(ours.crossovers) <= len(theirs.crossovers)
            assert all(each.budget < ours.held_from for each in ours.crossovers)
        assert np.all(capped.curve("full").found > 0)
    smallest = wide[0].curve("best-case").crossovers
    assert [each.better_above for each in smallest] == ["supervised"]
    assert 5e22 < smallest[0].budget < 2e23


@pytest.mark.parametrize(
    ("budgets", "size", "says"),
    [
        ([1e21], 1e9, "Inside the measured range: supervised training is better"),
        ([1e22, 1e23, 1e26], 300e6, "Not measured here: every plan extrapolates"),
        ([1e25, 1e26], 300e6, "Held by a cap: --max-student-tokens 20T"),
    ],
)
def test_the_headline_claims_no_more_than_was_measured(
    budgets: list[float], size: float, says: str
) -> None:
    """Only plans inside the measured range speak, and only beyond the law's error; a cap says
    nothing."""
    found = compare_supervised(Problem(1e22), budgets, [size])
    assert headline(found).startswith(says)
    inside = [c.inside[k] & ~c.held[k] & (abs(c.difference[k]) > 0.01 * each.supervised[k])
              for each in found.comparisons for c in each.curves for k in range(len(budgets))
              if c.sign[k] > 0]  # fmt: skip
    assert any(inside) is ("supervised training is better" in says)
    assert found.sheet().headline == headline(found)
