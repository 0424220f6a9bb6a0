"""Intervals, robust recipes, sensitivities and second opinions follow from the draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from coefficients import draws, load
from planner import PlannerError, Problem, load_coefficients, optimum, solve, solve_many
from planner.questions.plan import sheet as words
from planner.results import ALONE, WITH_OTHERS
from planner.uncertainty import interval, recipe_losses, reoptimise

REFIT = load_coefficients("busbridge2025-refit")
QUESTION = {"budget": "1e21", "student": "3B", "scenario": "teacher-inference"}
PUBLISHED = Problem.from_mapping({**QUESTION, "coefficients": "busbridge2025"})


def problem(**given: object) -> Problem:
    return Problem.from_mapping({**QUESTION, "coefficients": "busbridge2025-refit", **given})


def test_each_draw_is_reoptimised_as_if_alone() -> None:
    """The vectorised optimum over draws equals solving under one draw's coefficients."""
    laws = draws.load(REFIT, 5)
    many = reoptimise(problem(), laws)

    for i in range(5):
        one = draws.load(REFIT, 5)
        law = one.distillation
        assert law is not None
        single = _pick(one, i)
        recipe, _ = optimum(problem(), single)
        assert many.cross_entropy[i] == pytest.approx(recipe.student.cross_entropy, abs=1e-8)


def _pick(laws, i):  # type: ignore[no-untyped-def]
    form = type(laws.form)(*(float(getattr(laws.form, n)[i]) for n in laws.form.COEFFICIENTS))
    law = laws.distillation
    values = {n: float(getattr(law, n)[i]) for n in law.COEFFICIENTS}
    return replace(laws, form=form, distillation=type(law)(form, **values))


def test_existing_teachers_keep_their_draws_apart() -> None:
    """With several teachers and draws, each draw gets its own estimate of a teacher's loss."""
    question = problem(teachers=["size=7B,tokens=140B", "size=3B,loss=2.05"])

    many = reoptimise(question, draws.load(REFIT, 7))

    assert many.cross_entropy.shape == (7,)
    assert set(many.teacher) <= {0, 1}
    for i in range(7):
        recipe, _ = optimum(question, _pick(draws.load(REFIT, 7), i))
        assert many.cross_entropy[i] == pytest.approx(recipe.student.cross_entropy, abs=1e-8)


def test_probability_is_paired() -> None:
    """P(distilling wins) counts draws under which this recipe beats this draw's supervised loss."""
    plan = solve(problem())
    assert plan.uncertainty is not None

    losses = recipe_losses(plan.recipe, draws.load(REFIT, plan.uncertainty.draws))
    share = np.mean(losses < plan.supervised.model.cross_entropy)

    assert plan.uncertainty.probability == pytest.approx(share)
    assert plan.uncertainty.cross_entropy.low < plan.cross_entropy
    assert plan.uncertainty.cross_entropy.high > plan.cross_entropy
    assert plan.uncertainty.fixed == ("supervised law",)


@pytest.mark.parametrize("criterion", ["expected", "worst"])
def test_robust_recipe_beats_the_point_estimate_over_the_draws(criterion: str) -> None:
    """By its own criterion the robust recipe is no worse, and never below the bound."""
    plan = solve(problem(), robust=criterion)
    robust = plan.robust
    assert robust is not None

    view = next(view for view in robust.views if view.name == f"{criterion} over draws")

    assert robust.value <= view.loss[0] + 1e-12
    assert robust.value >= robust.lower_bound
    assert robust.value - robust.lower_bound < 0.01
    assert robust.recipe.flops.total <= plan.problem.budget


def test_published_recipe_is_risky_under_the_refit() -> None:
    """3B at 1e21 FLOPs, teacher inference: the published optimum loses tenths of a nat there."""
    plan = solve(PUBLISHED)
    opinion = plan.second_opinion
    assert opinion is not None
    assert opinion.regret is not None
    assert opinion.optimum is not None
    assert opinion.optimum.student.tokens is not None

    assert opinion.disagrees
    assert opinion.regret > 0.2
    assert 3e10 < opinion.optimum.student.tokens < 5e10
    assert any(warning.code == "second-opinion" for warning in plan.warnings)


def test_a_run_is_less_certain_than_the_law() -> None:
    """The interval for one run holds the law's and is far wider; text and JSON tell them apart."""
    plan = solve(problem(), replace(REFIT, misfit=None))
    found = plan.uncertainty
    assert found is not None
    assert found.new_run is not None

    assert found.new_run.low < found.cross_entropy.low
    assert found.new_run.high > found.cross_entropy.high
    width = found.new_run.high - found.new_run.low
    assert width > 2 * (found.cross_entropy.high - found.cross_entropy.low)
    said = " ".join(words.confidence(plan))
    assert "(90%, the law's value; one run of it: " in said
    assert "Of runs left out of the fit, 90% lay in their 90% intervals for one run, 84%" in said
    assert plan.to_dict()["uncertainty"]["new_run"]["low"] == found.new_run.low


def test_a_plan_beyond_the_runs_is_less_certain() -> None:
    """The error that the fit made when it extrapolated is in every interval of such a recipe, and
    in the chance that distilling is better; inside the runs it is nothing."""
    far, near = Problem(1e23, 1e10, 1.0, 0.0), Problem(6e20, 1e9, stay_in_domain=True)
    alone, whole, inside = (
        solve(asked, chosen)
        for asked, chosen in ((far, replace(REFIT, misfit=None)), (far, REFIT), (near, REFIT))
    )
    found, before, measured = whole.uncertainty, alone.uncertainty, inside.uncertainty
    assert found is not None and before is not None and measured is not None

    assert measured.misfit == 0.0
    assert before.misfit is None
    assert found.misfit is not None and found.misfit > 0.01
    loss = whole.decisive.recipe.student.cross_entropy
    width = found.cross_entropy.high - found.cross_entropy.low
    assert width == pytest.approx(2 * loss * found.misfit, rel=0.2)
    assert width > 3 * (before.cross_entropy.high - before.cross_entropy.low)
    assert min(found.probability, 1 - found.probability) >= min(
        before.probability, 1 - before.probability
    )
    assert "and extrapolation give" in whole.render("text")
    assert "and extrapolation give" not in alone.render("text") + inside.render("text")


def test_a_set_that_does_not_state_its_scatter_says_so() -> None:
    """Without the scatter of single runs an interval is called the law's, and no more."""
    plan = solve(problem(), replace(REFIT, scatter=None))
    assert plan.uncertainty is not None

    assert plan.uncertainty.new_run is None
    assert "this set does not say" in words.confidence(plan)[0]


def test_sensitivity_covers_every_coefficient_and_orders_by_pull() -> None:
    """All fifteen coefficients: the drawn ones by variance, then the held ones by what 1% does."""
    pulls = solve(problem(), sensitivity=True).sensitivity

    assert len(pulls) == len({pull.coefficient for pull in pulls}) == 15
    drawn = [pull for pull in pulls if pull.how == WITH_OTHERS]
    assert pulls[: len(drawn)] == tuple(drawn)
    assert {pull.coefficient.partition(".")[0] for pull in drawn} == {"distillation"}
    shares = [pull.recipe_share for pull in drawn]
    assert shares == sorted(shares, key=lambda share: -(share or 0.0))
    held = [pull for pull in pulls if pull.how == ALONE]
    assert all(pull.high / pull.low == pytest.approx(1.01 / 0.99) for pull in held)
    assert all(pull.recipe_share is None for pull in held)
    changes = [pull.recipe_change for pull in held]
    assert changes == sorted(changes, reverse=True)


def test_sensitivity_stays_within_what_the_draws_allow() -> None:
    """Correlated coefficients go together: none moves the plan by more than all draws spread it."""
    plan = solve(problem(), sensitivity=True)
    assert plan.uncertainty is not None

    for pull in plan.sensitivity:
        if pull.how == ALONE:
            continue
        for name in ("cross_entropy", "student_tokens", "teacher_parameters"):
            spread = plan.uncertainty.reoptimised[name]
            low, high = sorted(getattr(pull, name))
            assert high - low <= 1.15 * (spread.high - spread.low)


def test_sensitivity_is_the_conditional_mean_over_the_draws() -> None:
    """c0's effect agrees with the mean of the plan over draws near either end of its interval."""
    pull = next(
        pull
        for pull in solve(problem(), sensitivity=True).sensitivity
        if pull.coefficient == "distillation.c0"
    )
    laws = draws.load(REFIT)
    many, c0 = reoptimise(problem(), laws), np.ravel(laws.distillation.c0)

    for end, at, below in ((pull.low, 0, 0.02), (pull.high, 1, 0.02)):
        near = np.abs(c0 - end) < below
        assert near.sum() > 50
        expected = float(np.mean(many.cross_entropy[near]))
        assert pull.cross_entropy[at] == pytest.approx(expected, abs=1e-3)


def test_sensitivity_without_draws_moves_each_alone_and_says_so() -> None:
    """A set without draws gives 1% steps, labelled, instead of intervals it cannot pair."""
    pulls = solve(PUBLISHED, sensitivity=True).sensitivity

    assert {pull.how for pull in pulls} == {ALONE}
    first = next(pull for pull in pulls if pull.coefficient == "distillation.alpha")
    law = load("busbridge2025").distillation
    assert law is not None
    assert (first.low, first.high) == pytest.approx((0.99 * law.alpha, 1.01 * law.alpha))
    text = "\n".join(" ".join(row) for row in words.pull_rows(pulls))
    assert "±1% alone" in text


def test_robust_needs_draws() -> None:
    """A set without draws, and without a second opinion that has some, gets one clear sentence."""
    alone = replace(load_coefficients("busbridge2025"), second_opinion=None)

    with pytest.raises(PlannerError, match="has no draws"):
        solve(Problem(1e21, 1e9), alone, robust="expected")
    assert solve(PUBLISHED, robust="expected").robust is not None  # over its second opinion's


def test_robust_table_shows_what_each_view_risks() -> None:
    """Published optimum, refit optimum and robust recipe are judged by both sets and the draws."""
    robust = solve(PUBLISHED, robust="expected").robust
    assert robust is not None

    names = [each.name for each in robust.recipes]
    views = {view.name: view for view in robust.views}

    assert names == ["busbridge2025", "busbridge2025-refit", "robust (expected)"]
    assert views["busbridge2025"].regret[0] == pytest.approx(0.0, abs=1e-6)
    assert views["busbridge2025-refit"].regret[0] > 0.2
    assert views["busbridge2025-refit"].regret[1] == pytest.approx(0.0, abs=1e-6)


def test_interval_is_central() -> None:
    """The 90% interval leaves five percent on either side."""
    found = interval(np.arange(1001.0))

    assert (found.low, found.median, found.high) == pytest.approx((50.0, 500.0, 950.0))


def test_an_interval_over_draws_without_a_plan_is_open() -> None:
    """Values are NumPy's quantiles, in any order; what has no plan counts as infinite."""
    values = np.random.default_rng(3).normal(size=37)
    found = interval(values)
    open_ = interval(np.append(values[:9], np.inf))

    assert (found.low, found.median, found.high) == pytest.approx(
        tuple(np.quantile(values, [0.05, 0.5, 0.95])), abs=1e-14
    )
    assert np.isfinite([open_.low, open_.median]).all()
    assert open_.high == np.inf


def test_the_baseline_of_every_answer_is_the_same_inside_the_domain() -> None:
    """Verdict, arrays and draws compare with one supervised model, which the domain leaves free."""
    problem = Problem(1e22, 1e9, 0.0, 0.0, stay_in_domain=True, coefficients="busbridge2025-refit")
    plan = solve(problem)
    found = plan.uncertainty
    assert found is not None
    alone = plan.supervised.model.cross_entropy
    difference = plan.recipe.student.cross_entropy - alone
    assert found.supervised.low <= alone <= found.supervised.high
    assert found.difference.low <= difference <= found.difference.high
    assert solve_many([problem]).supervised_cross_entropy[0] == pytest.approx(alone, rel=1e-12)


def test_a_set_whose_fit_did_not_converge_warns() -> None:
    """The file says it, and so does every plan."""
    shipped = load("busbridge2025")
    quality = replace(shipped.quality, converged=False)
    warned = solve(Problem(1e21, 1e9), replace(shipped, quality=quality)).warnings
    assert [each.code for each in warned].count("fit-not-converged") == 1
    assert all(each.code != "fit-not-converged" for each in solve(Problem(1e21, 1e9)).warnings)


def test_robust_plans_are_not_rounded_and_say_so() -> None:
    """A size that cannot be built is not printed under --round-to-architecture."""
    with pytest.raises(PlannerError, match="leave out round_to_architecture"):
        solve(problem(round_to_architecture=True), robust="expected")
