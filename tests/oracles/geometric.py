"""Geometric programs of the planning problem in cvxpy: variables, posynomials, one solve at a time.

cvxpy is imported where a program is built, so that `import planner` stays light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from laws import ForwardFlops, SupervisedLaw
from planner.errors import ProblemError, UnreachableError
from planner.posynomial import Posynomial
from planner.problem import Bounds

SLACK = 1e-6
"""Relative allowance for the convex solver's own tolerance (1e-8) on tokens and on the loss."""


@dataclass(frozen=True)
class Optimum:
    """Values of the variables a program chose, by name, and what it minimised or maximised."""

    values: Mapping[str, float]
    objective: float


class Program:
    """Positive variables within their bounds, constraints, and one solve at a time."""

    def __init__(self, bounds: Bounds, chosen: Sequence[str]) -> None:
        import cvxpy as cp

        self._variables: dict[str, Any] = {
            name: cp.Variable(pos=True, name=name) for name in chosen
        }
        self.constraints: list[Any] = []
        for name, variable in self._variables.items():
            low, high = getattr(bounds, name)
            self.constraints += [variable >= low, variable <= high]

    def __getitem__(self, name: str) -> Any:
        return self._variables[name]

    def constrain(
        self, constraints: Sequence[Posynomial], fixed: Mapping[str, float] | None = None
    ) -> None:
        """Add posynomials; variables that are not chosen here take their fixed values."""
        known = {**(fixed or {}), **self._variables}
        for constraint in constraints:
            if unknown := constraint.variables - set(known):
                raise ProblemError(
                    f"constraint '{constraint}' uses {', '.join(sorted(unknown))}, which this "
                    f"question does not choose; it may use {', '.join(sorted(known))}."
                )
            left = constraint.value(known)
            self.constraints.append(left / constraint.limit <= 1.0)

    def minimise(self, objective: Any) -> float | None:
        """The least value, or None where nothing satisfies the constraints."""
        import cvxpy as cp

        return _solve(cp.Problem(cp.Minimize(objective), self.constraints))

    def values(self) -> dict[str, float]:
        """What the last solve chose."""
        return {name: float(variable.value) for name, variable in self._variables.items()}


class BesideTeacher:
    """D*(t): compiled once, solved for one teacher's loss after another (a DPP parameter)."""

    CHOSEN = ("teacher_size", "teacher_tokens", "student_tokens")

    def __init__(
        self,
        law: SupervisedLaw,
        flops: ForwardFlops,
        student: float,
        budget: float,
        charges: tuple[float, float],
        bounds: Bounds,
        serving_tokens: float,
        constraints: Sequence[Posynomial],
    ) -> None:
        import cvxpy as cp

        self._law, self._bounds = law, bounds
        self._program = program = Program(bounds, self.CHOSEN)
        size, tokens, self._tokens = (program[name] for name in self.CHOSEN)
        cost = 3.0 * float(flops(student)) * self._tokens
        if any(charges):
            cost += teacher_cost(flops, size, tokens, self._tokens, *charges)
        if serving_tokens:
            cost += serving_tokens * float(flops(student))
        program.constraints.append(cost / budget <= 1.0)
        program.constrain(constraints, {"student_size": student})
        self._reach = reach(law, size, tokens)
        self._threshold, self._enough = cp.Parameter(pos=True), cp.Parameter(pos=True)
        within = [*program.constraints, self._reach <= self._threshold]
        self._most = cp.Problem(cp.Maximize(self._tokens), within)
        training = teacher_cost(flops, size, tokens, self._tokens, 0.0, 1.0)
        self._cheapest = cp.Problem(cp.Minimize(training), [*within, self._tokens >= self._enough])

    def lowest_loss(self) -> float | None:
        """A teacher's loss that no feasible plan goes below; None where no plan is feasible."""
        least = self._program.minimise(self._reach)
        if least is None:
            return None
        return float(self._law.E + (least * (1 - SLACK)) ** self._law.gamma)

    def highest_loss(self) -> float:
        """The loss of the smallest teacher on the fewest tokens."""
        sizes, tokens = self._bounds.teacher_size, self._bounds.teacher_tokens
        return float(self._law.loss(sizes[0], tokens[0]))

    def most(self, loss: float) -> Optimum | None:
        """The most student tokens beside a teacher of at most this loss.

        Where stronger teachers leave as many tokens (nothing charged), the cheapest to train.
        """
        self._threshold.value = threshold(self._law, loss)
        most = _solve(self._most)
        if most is None:
            return None
        plan = Optimum(self._program.values(), most)
        if self.teacher_loss(plan) < loss - SLACK:
            self._enough.value = most * (1 - SLACK)
            if _solve(self._cheapest) is not None:
                plan = Optimum(self._program.values(), most)
        return plan

    def teacher_loss(self, plan: Optimum) -> float:
        """The loss of a plan's teacher."""
        return float(self._law.loss(plan.values["teacher_size"], plan.values["teacher_tokens"]))


def _solve(program: Any) -> float | None:
    """Optimal value by Clarabel; None where the constraints contradict each other."""
    import cvxpy as cp

    try:
        value = program.solve(gp=True, solver=cp.CLARABEL)
    except cp.error.SolverError as error:
        raise ProblemError(f"the geometric program was not solved: {error}") from error
    if program.status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
        return None
    if program.status != cp.OPTIMAL:
        raise ProblemError(f"the geometric program was not solved: {program.status}.")
    return float(value)


def forward(flops: ForwardFlops, size: Any) -> Any:
    """F(N) as a posynomial; terms that the convention lacks are left out."""
    powers = ((flops.parameter, 1.0), (flops.attention, 2 / 3), (flops.head, 1 / 3))
    return sum(float(factor) * size**power for factor, power in powers if float(factor))


def teacher_cost(
    flops: ForwardFlops,
    size: Any,
    tokens: Any,
    student_tokens: Any,
    inference: float,
    pretraining: float,
) -> Any:
    served = [inference * student_tokens] if inference else []
    trained = [3.0 * pretraining * tokens] if pretraining else []
    return forward(flops, size) * sum(served + trained)


def reach(law: SupervisedLaw, size: Any, tokens: Any) -> Any:
    return float(law.A) * size ** -float(law.alpha) + float(law.B) * tokens ** -float(law.beta)


def threshold(law: SupervisedLaw, loss: float) -> float:
    """``(t - E)^(1/gamma)``; raises UnreachableError at or below the law's floor."""
    if loss <= law.E:
        raise UnreachableError(
            f"a teacher of {loss:.4f} nats is at or below the law's floor, {law.E:.4f}.",
            float(law.E),
        )
    return float(np.exp(law.log_reach_of_loss(loss)))
