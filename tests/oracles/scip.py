"""The planning problem as SCIP sees it: a mixed model in log variables, solved to a proven gap.

Written from Eq. 1, 8, 9 and 69 of arXiv 2502.08606 alone, with the coefficients of Table 6. It
takes plain numbers and shares no code with the planner, so that agreement means something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Range = tuple[float, float]
Term = tuple[float, tuple[float, float, float, float], str]
"""A factor, powers of (N_S, D_S, N_T, D_T), and whose F(N) it holds: "", "student" or "teacher"."""

SUPERVISED = {"E": 1.220, "A": 3355.0, "B": 18186.0, "a": 0.408, "b": 0.431, "g": 0.452}
DISTILLED = {"A": 2243.0, "B": 24181.0, "a": 0.321, "b": 0.637, "g": 0.764}
GAP = {"c0": 2.549, "c1": 522.6, "d1": 1.315, "f1": 0.090}
# F(N) = 2N + 2 s1 n_ctx N^(2/3) + 2 s2 n_vocab N^(1/3), omega = 12, rho = 128 (Eq. 69)
FLOPS = (
    (2.0, 1.0),
    (2.0 * 4096 * (128 * 12.0**2) ** (-1 / 3), 2 / 3),
    (2.0 * 32_168 * (128 / 12) ** (1 / 3), 1 / 3),
)
PAPER: Range = (1e6, 1e17)


@dataclass(frozen=True)
class Instance:
    """A planning problem in plain numbers; `student` None leaves the size to choose."""

    budget: float
    student: float | None
    inference: float
    pretraining: float
    student_size: Range = PAPER
    student_tokens: Range = PAPER
    teacher_size: Range = PAPER
    teacher_tokens: Range = PAPER
    serving: float = 0.0
    constraints: tuple[tuple[Term, ...], ...] = ()


@dataclass(frozen=True)
class Answer:
    """SCIP's incumbent and proven bound in nats; None and inf where it proves infeasibility."""

    incumbent: float | None
    bound: float
    student_size: float = math.nan
    student_tokens: float = math.nan
    teacher_size: float = math.nan
    teacher_tokens: float = math.nan
    seconds: float = math.nan


def solve(instance: Instance, gap: float = 1e-4, seconds: float = 30.0) -> Answer:
    """Minimise Eq. 8 under Eq. 9 to an absolute gap in nats, or as far as the time allows.

    SCIP's feasibility tolerance is 1e-6 relative to the budget and to each equation, so that its
    incumbent may lie up to about 2e-6 nats below the true optimum.
    """
    from pyscipopt import Model, exp, log

    model = Model()
    model.hideOutput()
    model.setParam("limits/absgap", gap)
    model.setParam("limits/gap", 0.0)
    model.setParam("limits/time", seconds)

    def variable(name: str, low: float, high: float) -> Any:
        return model.addVar(name, lb=low, ub=high)

    def log_variable(name: str, bounds: Range) -> Any:
        return variable(name, math.log(bounds[0]), math.log(bounds[1]))

    size = (instance.student, instance.student) if instance.student else instance.student_size
    n_s = log_variable("log student size", size)
    d_s = log_variable("log student tokens", instance.student_tokens)
    n_t = log_variable("log teacher size", instance.teacher_size)
    d_t = log_variable("log teacher tokens", instance.teacher_tokens)

    def flops(size: Any, tokens: Any, factor: float) -> Any:
        terms = (exp(math.log(factor * c / instance.budget) + p * size + tokens) for c, p in FLOPS)
        return sum(terms)

    spent = flops(n_s, d_s, 3.0)
    if instance.inference > 0:
        spent += flops(n_t, d_s, instance.inference)
    if instance.pretraining > 0:
        spent += flops(n_t, d_t, 3.0 * instance.pretraining)
    if instance.serving > 0:
        spent += flops(n_s, 0.0, instance.serving)
    model.addCons(spent <= 1.0)
    logs = (n_s, d_s, n_t, d_t)
    for terms in instance.constraints:
        parts = []
        for factor, powers, whose in terms:
            power = sum(
                (float(p) * each for p, each in zip(powers, logs, strict=True) if p), start=0.0
            )
            if whose:
                model_size = n_s if whose == "student" else n_t
                for c, k in FLOPS:
                    parts.append(exp(math.log(factor * c) + k * model_size + power))
            else:
                parts.append(exp(math.log(factor) + power))
        model.addCons(sum(parts) <= 1.0)

    def power_law(
        name: str, law: dict[str, float], n: Any, d: Any, n_range: Range, d_range: Range
    ) -> Any:
        """A variable equal to gamma log(A / N^a + B / D^b), with its exact range."""
        low, high = (
            law["g"] * math.log(law["A"] / ns ** law["a"] + law["B"] / ds ** law["b"])
            for ns, ds in ((n_range[1], d_range[1]), (n_range[0], d_range[0]))
        )
        value = variable(name, low - 1e-9, high + 1e-9)
        terms = exp(math.log(law["A"]) - law["a"] * n) + exp(math.log(law["B"]) - law["b"] * d)
        model.addCons(value == law["g"] * log(terms))
        return value

    def supervised(name: str, n: Any, d: Any, n_range: Range, d_range: Range) -> Any:
        """A variable equal to log(E + exp(power law))."""
        power = power_law(f"power of {name}", SUPERVISED, n, d, n_range, d_range)
        low, high = (
            math.log(SUPERVISED["E"] + math.exp(x))
            for x in (power.getLbOriginal(), power.getUbOriginal())
        )
        value = variable(name, low, high)
        model.addCons(value == log(SUPERVISED["E"] + exp(power)))
        return value

    log_t = supervised("log teacher loss", n_t, d_t, instance.teacher_size, instance.teacher_tokens)
    log_s = supervised("log supervised loss", n_s, d_s, size, instance.student_tokens)
    power = power_law("capacity", DISTILLED, n_s, d_s, size, instance.student_tokens)
    ratio = (log_t - log_s - math.log(GAP["d1"])) / GAP["f1"]
    excess = exp(power - GAP["c0"] * log_t - GAP["c1"] * GAP["f1"] * log(1.0 + exp(ratio)))
    loss = variable("loss", 0.0, 1e3)
    model.addCons(loss >= exp(log_t) + excess)
    model.setObjective(loss, "minimize")
    model.optimize()

    took = float(model.getSolvingTime())
    if model.getStatus() == "infeasible":
        return Answer(None, math.inf, seconds=took)
    if model.getNSols() == 0:
        return Answer(None, float(model.getDualbound()), seconds=took)
    best = model.getBestSol()
    values = [math.exp(model.getSolVal(best, v)) for v in (n_s, d_s, n_t, d_t)]
    return Answer(float(model.getObjVal()), float(model.getDualbound()), *values, seconds=took)
