"""The lifetime question: with a load and a free size, `target` and `plan` choose the student's size
for training and serving together, with and without a teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coefficients import load
from planner.questions import ask

LAW = load("busbridge2025")
LOAD = {"requests": "10M", "prompt": 1000, "completion": 250, "months": 24}
SERVED = 1e7 * 1250 * 24
TEACHER_SIZE, TEACHER_LOSS = 8e9, 2.05
TEACHER = ["size=8B,loss=2.05"]
SET: dict[str, Any] = {"coefficients": "busbridge2025", "bounds": "paper"}
SIZES = np.geomspace(1e8, 1e11, 20_001)


def taught(sizes: Any, loss: float) -> Any:
    """FLOPs of a lifetime by size: distilled with the teacher's logits paid, then served."""
    assert LAW.distillation is not None
    tokens = LAW.distillation.tokens_for_loss(sizes, np.asarray(TEACHER_LOSS), loss)
    forward, teacher = LAW.flops.per_token(sizes), LAW.flops.per_token(TEACHER_SIZE)
    return tokens * (3 * forward + teacher) + forward * SERVED


def direct(sizes: Any, loss: float) -> Any:
    """The same for supervised training."""
    forward = LAW.flops.per_token(sizes)
    return 3 * forward * LAW.supervised.tokens_for_loss(sizes, loss) + forward * SERVED


@pytest.mark.parametrize("loss", [2.15, 2.25, 2.4])
def test_the_cheapest_lifetime_at_a_loss_is_that_of_every_size(loss: float) -> None:
    """Budget and size of both methods against 20,001 sizes tried one by one."""
    found = ask("target", loss=loss, teachers=TEACHER, **LOAD, **SET)
    paid, alone = found.way("teacher-inference"), found.way("supervised")
    for budget, model, costs in (
        (paid.budget, paid.recipe.student, taught(SIZES, loss)),
        (alone.budget, alone.baseline.model, direct(SIZES, loss)),
    ):
        best = int(np.argmin(costs))
        assert budget == pytest.approx(costs[best], rel=2e-4)
        assert model.parameters == pytest.approx(SIZES[best], rel=0.05)
    assert paid.recipe.flops.serving == pytest.approx(
        float(LAW.flops.per_token(paid.recipe.student.parameters)) * SERVED
    )


def test_serving_makes_the_student_smaller() -> None:
    """At the same loss, and its training longer."""
    served = ask("target", loss=2.25, teachers=TEACHER, **LOAD, **SET).way("teacher-inference")
    unserved = ask("target", loss=2.25, teachers=TEACHER, **SET).way("teacher-inference")
    assert served.recipe.student.parameters < unserved.recipe.student.parameters
    assert served.recipe.student.tokens > unserved.recipe.student.tokens


def test_the_least_loss_at_a_lifetime_budget_is_the_dual() -> None:
    """`plan` with the budget that `target` found reaches the loss, and so does no size with less:
    by bisection over the sizes tried one by one."""
    reached = ask("target", loss=2.25, teachers=TEACHER, **LOAD, **SET)
    budget = reached.way("teacher-inference").budget
    found = ask(
        "plan", budget=budget, teachers=TEACHER, scenario="teacher-inference", **LOAD, **SET
    )
    assert found.recipe.student.cross_entropy == pytest.approx(2.25, abs=1e-4)
    for method, costs in (
        (found.recipe.student.cross_entropy, taught),
        (found.supervised.model.cross_entropy, direct),
    ):
        low, high = 2.0, 3.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if costs(SIZES, middle).min() <= budget else (middle, high)
        assert method == pytest.approx(high, abs=1e-5)


def test_the_size_can_be_chosen_by_hours() -> None:
    """The tokens that the assumptions name weigh serving by its device time: planned with them, a
    student costs the fewest device-hours of all, by every size tried."""
    devices = {"accelerator": "H100", "utilisation": "40%", "decode_utilisation": "5%"}
    found = ask("target", loss=2.25, teachers=TEACHER, **devices, **LOAD, **SET)
    [said] = {
        each
        for part in found.resources
        for each in part.assumptions
        if "--serving-tokens" in each
    }  # fmt: skip
    weighed = 1e7 * 24 * (1000 + 250 * 8)
    assert f"--serving-tokens {weighed:.4g} " in said

    by_hours = ask("target", loss=2.25, teachers=TEACHER, serving_tokens=weighed, **SET)
    forward = LAW.flops.per_token(SIZES)
    hours = taught(SIZES, 2.25) + forward * (weighed - SERVED)  # at training's utilisation
    size = by_hours.way("teacher-inference").recipe.student.parameters
    assert size == pytest.approx(SIZES[int(np.argmin(hours))], rel=0.05)
    assert size < found.way("teacher-inference").recipe.student.parameters
