"""A certificate's arithmetic and its second proof; the proof that nothing fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from coefficients import CoefficientSet
from planner.problem import Problem
from planner.validate.bound import SecondBound, second_bound
from planner.validate.checks.compare import CLOSE, Check, Ledger

Part = Mapping[str, Any]

SECOND_TOLERANCE = 1e-4
"""Nats that the second proof may leave open; the plan's own certificate is tighter."""

LOOSEST = 1e-3
"""Nats by which another plan may beat the recipe, however large a tolerance was asked for."""


def proof_checks(
    name: str,
    recipe: Part,
    certificate: Part,
    problem: Problem,
    coefficients: CoefficientSet,
    built: bool = False,
) -> Iterator[Check]:
    """The certificate's arithmetic, and a second proof that does without the optimiser."""
    loss, lower = recipe["student"]["cross_entropy"], certificate["lower_bound"]
    ledger = Ledger(f"{name}: the certificate's numbers")
    if lower is None or certificate["gap"] is None:
        ledger.holds("nothing is proven: there is no lower bound", False)
        yield ledger.check()
        return
    ledger.same("the tolerance", problem.tolerance, certificate["tolerance"])
    ledger.near("the gap", loss - lower, certificate["gap"], room=1e-15)
    proven = certificate["gap"] <= certificate["tolerance"]
    ledger.same("whether it is proven", proven, certificate["proven"])
    tolerance = certificate["tolerance"]
    ledger.holds(f"the gap of {loss - lower:.1e} is above {tolerance:.1e}", proven)
    yield ledger.check(f"within {certificate['gap']:.1e} of the bound, asked for {tolerance:.1e}")
    second = second_bound(problem, coefficients, loss, SECOND_TOLERANCE, built)
    ledger = Ledger(f"{name}: a second proof from monotonicity")
    ledger.holds(
        f"a plan of {second.best:.7f} nats is below the lower bound {lower:.7f}",
        lower <= second.best + CLOSE,
    )
    ledger.holds(
        f"no plan gets below {second.lower:.7f}, the recipe claims {loss:.7f}",
        second.lower <= loss + CLOSE,
    )
    room = min(max(certificate["tolerance"], SECOND_TOLERANCE), LOOSEST)
    ledger.holds(
        f"a plan of {second.best:.7f} nats is {loss - second.best:.1e} better",
        loss <= second.best + room,
    )
    yield ledger.check(_second_words(second, loss))


def _second_words(second: SecondBound, loss: float) -> str:
    return (
        f"no plan below {second.lower:.5f} ({loss - second.lower:.1e} under the recipe), the best "
        f"met among {second.boxes:,} boxes has {second.best:.5f}"
    )


def nothing_fits(name: str, problem: Problem, coefficients: CoefficientSet) -> Check:
    """That no plan exists where the document has none."""
    second = second_bound(problem, coefficients, np.inf, SECOND_TOLERANCE)
    ledger = Ledger(name)
    ledger.holds(f"a plan of {second.best:.5f} nats fits the budget", not np.isfinite(second.best))
    return ledger.check("no plan fits")
