"""The sensitivities of a plan again: optima by another search, conditional means by ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coefficients import CoefficientSet, draws
from planner.errors import require
from planner.problem import Problem
from planner.results import ALONE, WITH_OTHERS
from planner.sensitivity import RELATIVE
from planner.uncertainty import DRAWS, LEVEL
from planner.validate.checks.compare import Check, Ledger
from planner.validate.optima import best_plans

Part = Mapping[str, Any]
Array = NDArray[np.float64]

PLAN = ("cross_entropy", "student_tokens", "teacher_parameters", "teacher_tokens")
RECIPE = ("student_parameters", "student_tokens", "teacher_parameters", "teacher_tokens")
NATS = 3e-5
FLAT = 0.03
"""Relative room for an optimum's sizes and tokens: valleys are flat, losses agree far better."""

SHARE = 0.02
"""Relative room for a share of the variance."""

BANDWIDTH = 0.35
"""Standard deviations over which draws count as having the same coefficient."""

VARIES = 1e-6
"""Relative range of a coefficient from which the draws vary it."""


def sensitivity_check(document: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """The plan at both ends of every coefficient's way."""
    stated, ledger = document["sensitivity"], Ledger("the sensitivities")
    keys = _keys(coefficients)
    ledger.same("the coefficients", sorted(keys), sorted(each["coefficient"] for each in stated))
    together = [each for each in stated if each["how"] == WITH_OTHERS]
    alone = [each for each in stated if each["how"] == ALONE]
    ledger.same("how they were moved", len(stated), len(together) + len(alone))
    varied = set()
    if coefficients.draws_path is not None:
        varied = _with_others(ledger, together, problem, coefficients, keys)
    ledger.same("what the draws vary", sorted(varied), sorted(e["coefficient"] for e in together))
    _each_alone(ledger, alone, problem, coefficients, [key for key in keys if key not in varied])
    return ledger.check()


def _keys(coefficients: CoefficientSet) -> list[str]:
    law = coefficients.distillation
    assert law is not None
    keys = [f"supervised.{name}" for name in coefficients.supervised.COEFFICIENTS]
    return [*keys, *(f"distillation.{name}" for name in law.COEFFICIENTS)]


def _value(coefficients: CoefficientSet, key: str) -> Array:
    table, _, name = key.partition(".")
    holder = coefficients.supervised if table == "supervised" else coefficients.distillation
    return np.ravel(np.asarray(getattr(holder, name), dtype=float))


def _with_others(
    ledger: Ledger, stated: Sequence[Part], problem: Problem, coefficients: CoefficientSet,
    keys: Sequence[str],
) -> set[str]:  # fmt: skip
    """Compare what is stated of the coefficients that the draws vary; their names."""
    laws = draws.load(coefficients, DRAWS, trailing=1)
    found = best_plans(problem, laws)
    kept = np.isfinite(found.cross_entropy)
    values = {key: _value(laws, key)[kept] for key in keys}
    varied = {
        key for key, each in values.items() if np.ptp(each) > VARIES * abs(float(np.median(each)))
    }
    recipe = [
        np.log(column) for name in RECIPE if np.isfinite(column := getattr(found, name)[kept]).all()
    ]
    for each in stated:
        key = each["coefficient"]
        if key not in varied:
            continue
        scores, tail = _scores(values[key]), 50.0 * (1.0 - LEVEL)
        ends = np.percentile(values[key], [tail, 100.0 - tail])
        for side, name in enumerate(("low", "high")):
            ledger.near(f"{key}: {name}", float(ends[side]), each[name])
        flat = bool(np.any(found.flat[kept]))  # then the planner's optimum is one of many
        for name in PLAN[:1] if flat else PLAN:
            ours = _at_the_ends(scores, getattr(found, name)[kept])
            _pair(ledger, key, name, ours, each)
        shares = {"loss_share": [found.cross_entropy[kept]]}
        for name, columns in (shares if flat else shares | {"recipe_share": recipe}).items():
            ledger.near(f"{key}: {name}", _share(scores, columns), each[name], SHARE, 1e-4)
    return varied


def _scores(values: Array) -> Array:
    """Normal scores of the ranks, ties sharing theirs."""
    stats = require("scipy.stats", extra="fit")
    return np.asarray(stats.norm.ppf((stats.rankdata(values) - 0.5) / values.size))


def _means(scores: Array, column: Array, at: Array) -> Array:
    """The column's mean given each of the scores `at`."""
    weights = np.exp(-0.5 * ((scores - at[:, None]) / BANDWIDTH) ** 2)
    return np.asarray(weights @ column / weights.sum(axis=1))


def _at_the_ends(scores: Array, column: Array) -> tuple[float, float]:
    """Geometric means given the coefficient at both ends of its interval."""
    if not np.isfinite(column).all():
        return np.nan, np.nan
    end = float(require("scipy.stats", extra="fit").norm.ppf(0.5 + 0.5 * LEVEL))
    low, high = np.exp(_means(scores, np.log(column), np.array([-end, end])))
    return float(low), float(high)


def _share(scores: Array, columns: Sequence[Array]) -> float:
    total = sum(float(np.var(column)) for column in columns)
    if total <= VARIES**2 * len(columns):
        return 0.0
    known = (_means(scores, column, scores) for column in columns)
    return sum(float(np.var(each)) for each in known) / total


def _each_alone(
    ledger: Ledger, stated: Sequence[Part], problem: Problem, coefficients: CoefficientSet,
    keys: Sequence[str],
) -> None:  # fmt: skip
    """Compare the coefficients that were moved by one percent while the rest stayed."""
    if not keys:
        return
    found = best_plans(problem, _bent(coefficients, keys))
    for each in stated:
        key = each["coefficient"]
        if key not in keys:
            continue
        value, rows = float(_value(coefficients, key)[0]), 2 * keys.index(key)
        for name, factor in (("low", 1.0 - RELATIVE), ("high", 1.0 + RELATIVE)):
            ledger.near(f"{key}: {name}", value * factor, each[name])
        flat = bool(np.any(found.flat[rows : rows + 2]))
        for name in PLAN[:1] if flat else PLAN:
            low, high = getattr(found, name)[rows : rows + 2]
            _pair(ledger, key, name, (float(low), float(high)), each)
        ledger.same(f"{key}: its share", [None, None], [each["recipe_share"], each["loss_share"]])


def _pair(ledger: Ledger, key: str, name: str, ours: tuple[float, float], stated: Part) -> None:
    rel, room = (0.0, NATS) if name == "cross_entropy" else (FLAT, 0.0)
    for side in (0, 1):
        ledger.near(f"{key}: {name}", ours[side], stated[name][side], rel, room)


def _bent(coefficients: CoefficientSet, keys: Sequence[str]) -> CoefficientSet:
    """Two laws for every key: the coefficient one percent down, and up."""
    columns = {
        key: np.full((2 * len(keys), 1), float(_value(coefficients, key)[0]))
        for key in _keys(coefficients)
    }
    for k, key in enumerate(keys):
        columns[key][2 * k : 2 * k + 2, 0] *= (1.0 - RELATIVE, 1.0 + RELATIVE)

    def own(table: str) -> dict[str, Array]:
        prefix = f"{table}."
        return {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}

    law = coefficients.distillation
    assert law is not None
    supervised = replace(coefficients.supervised, **own("supervised"))
    distillation = replace(law, supervised=supervised, **own("distillation"))
    return replace(coefficients, form=supervised, distillation=distillation)
