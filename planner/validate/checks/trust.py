"""How sure the plan says it is: second opinion, intervals over draws, robust recipe.

Every law is applied again to the recipe; optima under other laws are found by another search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, draws, load
from planner.problem import Problem
from planner.robust import DRAWS as ROBUST_DRAWS
from planner.uncertainty import DRAWS, LEVEL
from planner.validate.bound import second_bound
from planner.validate.checks.baseline import best_supervised
from planner.validate.checks.compare import Check, Ledger
from planner.validate.checks.proofs import SECOND_TOLERANCE
from planner.validate.checks.recipes import recipe_check
from planner.validate.optima import best_plans

Part = Mapping[str, Any]
Array = NDArray[np.float64]

NATS = 3e-5
"""Room for a loss over draws: each draw's own optimum is solved to 1e-5 by the planner."""

FLAT = 0.03
"""Relative room for an optimum's sizes and tokens: valleys are flat, losses agree far better."""


def losses(recipe: Part, coefficients: CoefficientSet) -> Array:
    """The student's cross-entropy under every law of a batch, shape (laws,)."""
    student, teacher = recipe["student"], recipe["teacher"]
    law = coefficients.distillation
    assert law is not None
    loss = teacher["cross_entropy"]
    if teacher["parameters"] and teacher["tokens"] and not teacher["existing"]:
        loss = coefficients.supervised.loss(teacher["parameters"], teacher["tokens"])
    return np.ravel(law.loss(student["parameters"], student["tokens"], loss))


def opinion_checks(
    document: Part, problem: Problem, coefficients: CoefficientSet
) -> Iterator[Check]:
    """The other set's view of the recipe, recomputed with that set."""
    opinion, name = document["second_opinion"], coefficients.second_opinion
    ledger = Ledger("the second opinion")
    ledger.same("whether there is one", name is not None, opinion is not None)
    if name is None or opinion is None:
        yield ledger.check("the set names none")
        return
    other, recipe, baseline = load(name), document["recipe"], document["supervised"]
    ledger.same("its source", other.name, opinion["source"])
    theirs = float(losses(recipe, other)[0])
    ledger.near("its cross-entropy", theirs, opinion["cross_entropy"])
    direct = float(other.supervised.loss(baseline["parameters"], baseline["tokens"]))
    ledger.near("its supervised cross-entropy", direct, opinion["supervised"])
    spread = _spread(recipe, other)
    _interval(ledger, "its interval", spread, opinion["interval"])
    own = _spread(recipe, coefficients)
    ours = recipe["student"]["cross_entropy"]
    low, high = (own[0], own[2]) if own else (ours, ours)
    its_low, its_high = (spread[0], spread[2]) if spread else (theirs, theirs)
    apart = low > its_high or its_low > high
    ledger.same("whether they disagree", bool(apart), opinion["disagrees"])
    second = second_bound(problem, other, np.inf, SECOND_TOLERANCE)
    found = opinion["optimum"]
    ledger.same("whether it has a plan", bool(np.isfinite(second.best)), found is not None)
    if found is None:
        ledger.same("its regret", None, opinion["regret"])
        yield ledger.check()
        return
    best = found["student"]["cross_entropy"]
    ledger.near("its optimum's cross-entropy", second.best, best, room=problem.tolerance + 1e-6)
    ledger.near("the recipe's regret", theirs - best, opinion["regret"], room=1e-9)
    yield ledger.check()
    yield recipe_check("the second opinion's own recipe", found, problem, other)


def uncertainty_check(document: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """Intervals over the set's draws, and the share of draws under which distilling wins."""
    stated, ledger = document["uncertainty"], Ledger("intervals over the draws")
    known = coefficients.draws_path is not None
    ledger.same("whether there are any", known, stated is not None)
    if not known or stated is None:
        return ledger.check("the set has no draws")
    laws = draws.load(coefficients, DRAWS, trailing=1)
    own = losses(document["recipe"], laws)
    supervised = np.ravel(best_supervised(problem, laws)[1])
    ledger.same("their source", coefficients.name, stated["source"])
    ledger.same("the number of draws", own.size, stated["draws"])
    ledger.same("the level", LEVEL, stated["level"])
    _interval(ledger, "cross-entropy", _central(own), stated["cross_entropy"])
    _interval(ledger, "supervised", _central(supervised), stated["supervised"], NATS)
    _interval(ledger, "difference", _central(own - supervised), stated["difference"], NATS)
    ledger.near("the probability", float(np.mean(own < supervised)), stated["probability"],
                room=1.5 / own.size)  # fmt: skip
    fixed = ["supervised law"] if np.ptp(laws.supervised.A) == 0 else []
    ledger.same("what is held fixed", fixed, list(stated["fixed"]))
    _new_run(ledger, own, stated, coefficients)
    again = best_plans(problem, laws)
    found = {key: values for key, values in vars(again).items() if key != "flat"}
    finite = {key for key, values in found.items() if np.all(np.isfinite(values))}
    ledger.same("what is reoptimised", sorted(finite), sorted(stated["reoptimised"]))
    for key in sorted(finite & set(stated["reoptimised"])):
        if key != "cross_entropy" and np.any(again.flat):
            continue  # its own optimum is one of many
        room = NATS if "cross_entropy" in key else 0.0
        rel = 1e-4 if "cross_entropy" in key else FLAT
        spread = _central(getattr(again, key))
        _interval(ledger, f"optimum's {key}", spread, stated["reoptimised"][key], room, rel)
    return ledger.check()


def _new_run(ledger: Ledger, own: Array, stated: Part, coefficients: CoefficientSet) -> None:
    """The interval of one run of the recipe: every draw's loss with a deviation of the runs."""
    scatter = coefficients.scatter
    spread = None if scatter is None else _central(scatter.spread(own))
    _interval(ledger, "new_run", spread, stated["new_run"])
    for name in ("coverage", "coverage_sizes"):
        ledger.same(f"the {name}", getattr(scatter, name, None), stated[name])


def robust_checks(
    document: Part, problem: Problem, coefficients: CoefficientSet
) -> Iterator[Check]:
    """The risk table: every recipe under every view, and what no recipe can beat."""
    stated = document["robust"]
    if stated is None:
        return
    other = load(coefficients.second_opinion) if coefficients.second_opinion else None
    sets = [coefficients, *([other] if other else [])]
    drawn = next((each for each in sets if each.draws_path is not None), coefficients)
    laws = draws.load(drawn, ROBUST_DRAWS, trailing=1)
    reduce: dict[str, Callable[[Array], Any]] = {"expected": np.mean, "worst": np.max}
    ledger = Ledger("the robust recipe and the risk table")
    rows = [each["recipe"] for each in stated["recipes"]]
    names, criterion = [each["name"] for each in stated["recipes"]], stated["criterion"]
    _risk_rows(ledger, document, coefficients, names, rows)
    ledger.tree("the last row", stated["recipe"], rows[-1], rel=0.0)
    optima = best_plans(problem, laws).cross_entropy
    value = float(reduce[criterion](losses(stated["recipe"], laws)))
    least = {name: float(each(optima)) for name, each in reduce.items()}
    ledger.near("its criterion", value, stated["value"])
    ledger.near("the lower bound", least[criterion], stated["lower_bound"], 0.0, NATS)
    ledger.holds("the lower bound is above the criterion", stated["lower_bound"] <= value)
    every = [(each.name, losses_of(rows, each), _free_best(problem, each)) for each in sets]
    for name, criterion_of in reduce.items():
        over = [float(criterion_of(losses(row, laws))) for row in rows]
        every.append((f"{name} over draws", over, least[name]))
    ledger.same("the views", [name for name, *_ in every], [v["name"] for v in stated["views"]])
    for (name, mine, best), view in zip(every, stated["views"], strict=False):
        ledger.near(f"{name}: its best", best, view["best"], 0.0, NATS)
        ledger.tree(f"{name}: losses", mine, view["losses"])
        for loss, regret in zip(mine, view["regrets"], strict=False):
            ledger.near(f"{name}: a regret", loss - view["best"], regret, room=1e-9)
        ledger.same(f"{name}: the number of regrets", len(mine), len(view["regrets"]))
    yield ledger.check()
    yield recipe_check("the robust recipe", stated["recipe"], problem, drawn)


def _risk_rows(
    ledger: Ledger,
    document: Part,
    coefficients: CoefficientSet,
    names: Sequence[str],
    rows: Sequence[Part],
) -> None:
    """The rows above the robust recipe are recipes that stand elsewhere in the document."""
    opinion, inside = document["second_opinion"], document["in_domain"]
    known = {coefficients.name: document["recipe"]}
    if opinion is not None and opinion["optimum"] is not None:
        known[opinion["source"]] = opinion["optimum"]
    if inside is not None and inside["recipe"] is not None:
        known["inside the domain"] = inside["recipe"]
    criterion = document["robust"]["criterion"]
    ledger.same("the rows", [*known, f"robust ({criterion})"], list(names))
    for name, row in zip(names, rows, strict=True):
        if name in known:
            ledger.tree(f"the row '{name}'", known[name], row, rel=0.0)


def losses_of(rows: Sequence[Part], coefficients: CoefficientSet) -> list[float]:
    """Every recipe's loss under one set."""
    return [float(losses(row, coefficients)[0]) for row in rows]


def _free_best(problem: Problem, coefficients: CoefficientSet) -> float:
    free = replace(problem, stay_in_domain=False)
    return float(second_bound(free, coefficients, np.inf, SECOND_TOLERANCE).best)


def _spread(recipe: Part, coefficients: CoefficientSet) -> tuple[float, float, float] | None:
    if coefficients.draws_path is None:
        return None
    return _central(losses(recipe, draws.load(coefficients, DRAWS)))


def _central(values: Array) -> tuple[float, float, float]:
    """Low, median and high of the central interval."""
    tail = 50.0 * (1.0 - LEVEL)
    low, median, high = np.percentile(values, [tail, 50.0, 100.0 - tail])
    return float(low), float(median), float(high)


def _interval(
    ledger: Ledger,
    what: str,
    ours: tuple[float, float, float] | None,
    theirs: Part | None,
    room: float = 0.0,
    rel: float = 1e-9,
) -> None:
    ledger.same(f"{what}: whether it is there", ours is not None, theirs is not None)
    if ours is None or theirs is None:
        return
    for name, value in zip(("low", "median", "high"), ours, strict=True):
        ledger.near(f"{what}: {name}", value, theirs[name], rel, room)
