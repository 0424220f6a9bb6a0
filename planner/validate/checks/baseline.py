"""The supervised baseline, found again by golden section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from coefficients import CoefficientSet
from planner.problem import Problem
from planner.validate.checks.compare import CLOSE, Check, Ledger
from planner.validate.checks.recipes import TERMS, ends, flops_check, model_shape

Part = Mapping[str, Any]


def baseline_check(baseline: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """The best supervised model of the budget, found again by golden section."""
    ledger = Ledger("the supervised baseline of the same budget")
    size, tokens = baseline["parameters"], baseline["tokens"]
    model_shape(ledger, "baseline", baseline, coefficients)
    value = float(coefficients.supervised.loss(size, tokens))
    ledger.near("its cross-entropy (Eq. 1)", value, baseline["cross_entropy"])
    per_token = float(coefficients.flops.per_token(size))
    charged = dict.fromkeys(TERMS, 0.0)
    charged["student_training"] = 3.0 * per_token * tokens
    charged["serving"] = per_token * problem.serving_tokens
    flops_check(ledger, charged, 0.0, baseline["flops"])
    best_size, best_loss = best_supervised(problem, coefficients)
    ledger.near("its size", float(best_size), size, rel=1e-3)
    affordable = float(_supervised_tokens(np.asarray(size), problem, coefficients))
    ledger.near("the tokens that the budget pays", affordable, tokens)
    ledger.near("the least supervised cross-entropy", float(best_loss), value, room=1e-9)
    bounds = problem.bounds
    rests = ends("student-tokens", tokens, bounds.student_tokens)
    if problem.student is None:
        rests += ends("student-size", size, bounds.student_size)
    ledger.same("binding", rests, list(baseline["binding"]))
    return ledger.check()


def _supervised_tokens(size: Any, problem: Problem, coefficients: CoefficientSet) -> Any:
    paid = problem.budget / coefficients.flops.per_token(size) - problem.serving_tokens
    return np.minimum(paid / 3.0, problem.bounds.student_tokens[1])


def best_supervised(problem: Problem, coefficients: CoefficientSet) -> tuple[Any, Any]:
    """(size, loss) of the best supervised model; arrays under a batch of laws."""
    low, high = (np.log(np.asarray(end)) for end in problem.size_range)
    least = problem.bounds.student_tokens[0]

    def loss(u: Any) -> Any:
        tokens = _supervised_tokens(np.exp(u), problem, coefficients)
        reached = coefficients.supervised.loss(np.exp(u), np.maximum(tokens, least))
        # where the budget is short the loss goes on rising, so that the search turns back
        return np.where(tokens >= least * (1 - CLOSE), reached, 1e3 + u)

    shape = np.broadcast_shapes(np.shape(low), np.shape(coefficients.supervised.E))
    low, high = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    for _ in range(90 if problem.student is None else 0):
        left, right = high - golden * (high - low), low + golden * (high - low)
        down = loss(left) <= loss(right)
        low, high = np.where(down, low, left), np.where(down, right, high)
    middle = 0.5 * (low + high)
    edges = [np.broadcast_to(np.log(end), shape) for end in problem.size_range]
    choices = np.stack([middle, *edges])
    losses = np.stack([loss(each) for each in choices])
    pick = np.argmin(losses, axis=0)
    return (
        np.exp(np.take_along_axis(choices, pick[None], 0)[0]),
        np.take_along_axis(losses, pick[None], 0)[0],
    )
