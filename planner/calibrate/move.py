"""A known law moved to another corpus and tokenizer by a few runs.

Losses on two corpora follow a shifted power law (Brandfonbrener et al. 2024, arXiv 2411.12925),

    L_new = E_new + K (L_old - E_old)^kappa.

With Eq. 1 for L_old that is Eq. 1 again, with alpha, beta and the odds of size to data kept, and

    E' = E_new,   A' = A K^(1 / (gamma kappa)),   B' = B K^(1 / (gamma kappa)),
    gamma' = gamma kappa.

In the coordinates of `planner.fit.model` (value h and slopes P, Q of the power law at the middle
pilot, odds s, gamma) the move is nearly linear: E and h change freely, log P, log Q and log gamma
all by log kappa, and s not at all. So it is a Gaussian prior about the old law, wide along these
three directions and narrow across them (real corpora also differ a little in alpha, beta and odds),
and the moved law is the posterior mode of the one fitter, `planner.fit.fit`.

Eq. 8 is moved alike. It keeps its form exactly where all losses change by one factor c (then h
grows by c^(1 + c0), and the ratio of teacher to student does not notice); a change of E or kappa
is followed to first order: the student's excess over its teacher, a difference of losses, is
taken to change as the power law of Eq. 1 does. c0 and the capacity gap stay near the old law's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from coefficients import CoefficientSet, Misfit
from coefficients.scatter import Scatter
from laws import DistillationLaw, SupervisedLaw
from planner.errors import ProblemError
from planner.fit.bootstrap import Bootstrap
from planner.fit.estimate import Fit, bound_mask, coefficient_draws, fit
from planner.fit.judge import Errors
from planner.fit.model import SUPERVISED_PREFIX, internal
from planner.fit.prior import Prior
from planner.fit.rows import Rows
from planner.fit.solver import Protocol, minimise
from planner.fit.task import FORMS, Task

FEWEST = 3

NOISE = 0.003
"""Relative scatter of a run about a law before any pilot, as in `planner.experiments`."""
NOISE_RUNS = 4.0
"""How many runs that expectation counts for."""

LEVEL = 0.3
"""Prior standard deviation of the logarithm of one factor on all losses, beyond that of the
pilots' middle."""
FLOOR = 0.05
"""The same of E, as a share of the old law's loss at the middle pilot."""
POWER = 0.1
"""The same of log kappa."""
ACROSS: Mapping[str, float] = {
    "P": 0.05, "Q": 0.05, "s": 0.3, "gamma": 0.05, "h": 0.05, "c0": 0.1, "K": 0.2, "eps": 0.3,
    "f1": 0.1,
}  # fmt: skip
"""Prior standard deviations of the departures from a pure move, coordinate by coordinate."""

_TAIL = 3.0  # scatters beyond which a run counts by its distance alone
_ROUNDS = 8
_SETTLED = 1e-3
_SAME = 0.1  # spread of log compute below which pilots are all alike
_QUANTILES = 20
_LEVELS = 1.0  # largest logarithm of a factor on all losses that students alone may show
_DRAW_STEPS = 60


REACH = 10.0
"""How far beyond the pilots' sizes and tokens the moved law's domain reaches where the old law was
measured: a hundred times their compute."""

RATE = 0.006
"""Half width of the 90% interval of log(truth / law) per factor of e beyond the pilots' sizes,
tokens and FLOPs that no pilot can show: from public studies, see `scripts/bench_calibrate.py`."""


@dataclass(frozen=True)
class Moved:
    """A moved law: the fit with its prior, and draws of its posterior.

    factor: of the pilots' losses over the old law's, in the middle. noise: relative scatter of the
    pilots about the law. tension: mean squared departure from the prior, in standard deviations and
    per coordinate; about 1 where the old law moves as laws do. misfit: how far the law may be off
    beyond the pilots; check: errors of the dearest third of the pilots, predicted from the others,
    None where these are fewer than three.
    """

    base: CoefficientSet
    point: Fit
    draws: Bootstrap
    factor: float
    noise: float
    tension: float
    misfit: Misfit
    check: Errors | None

    @property
    def prior(self) -> Prior:
        """What the old law says of the coordinates."""
        assert self.point.prior is not None
        return self.point.prior

    @property
    def law(self) -> SupervisedLaw:
        """The moved supervised law."""
        return self.point.form.canonical()

    @property
    def power(self) -> float:
        """kappa: the moved gamma over the old one."""
        return float(self.law.gamma / self.base.supervised.gamma)

    @property
    def scatter(self) -> Scatter:
        """Quantiles of a single run about the law."""
        shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        normal = NormalDist(0.0, self.noise)
        return Scatter(tuple(float(f"{normal.inv_cdf(p):.5g}") for p in shares))


def move(base: CoefficientSet, task: Task, draws: int = 1024, seed: int = 0) -> Moved:
    """The old law of `base` moved to the runs of `task` (see `moving_task`).

    Raises ProblemError for fewer than three runs, or runs that are all of one size and length.
    """
    if seed < 0:
        raise ProblemError(f"the seed is {seed}; give a whole number from 0.")
    if draws < 2:
        raise ProblemError(f"--draws is {draws}; give at least 2.")
    count = len(task.observed)
    if count < FEWEST:
        raise ProblemError(
            f"{count} {'pilot' if count == 1 else 'pilots'} cannot move a law; run at least "
            f"{FEWEST} of different sizes and lengths, better 6."
        )
    every = all_runs(task)
    compute = every.parameters * every.tokens
    if float(np.ptp(np.log(compute))) < _SAME:
        raise ProblemError(
            "the pilots all have the same compute, so they show the level of the losses but not "
            "how they fall; add pilots of other sizes or lengths."
        )
    point, noise = _settled(base, task)
    assert point.prior is not None
    off = point.prior.whitening @ (point.theta - point.prior.mean)
    rate, check = _extrapolate(base, task)
    return Moved(
        base=base,
        point=point,
        draws=posterior_draws(point, point.prior, draws, seed),
        factor=level(base, task),
        noise=noise,
        tension=float(np.mean(off**2)),
        misfit=_misfit(every, rate),
        check=check,
    )


def all_runs(task: Task) -> Rows:
    """Sizes, tokens and losses of all runs of a task, distilled ones first."""
    parts = [task.rows] if task.supervised_rows is None else [task.rows, task.supervised_rows]
    columns = [[getattr(each, n) for each in parts] for n in ("parameters", "tokens", "loss")]
    return Rows(*map(np.concatenate, columns))


def _settled(base: CoefficientSet, task: Task) -> tuple[Fit, float]:
    """The posterior mode, and the scatter that it was found with and implies."""
    noise = NOISE
    for _ in range(_ROUNDS):
        prior = prior_of(base, task, noise)
        point = fit(task, _protocol(noise), prior=prior)
        found = _scatter(point, prior)
        if abs(math.log(found / noise)) < _SETTLED:
            break
        noise = found
    return point, prior.noise


def _extrapolate(base: CoefficientSet, task: Task) -> tuple[float, Errors | None]:
    """The rate of misfit that the pilots' own extrapolation asks for, RATE at least, and its
    errors: the cheaper two thirds of the supervised runs predict the others."""
    beside = task.supervised_rows if task.joint else task.rows
    assert beside is not None
    order = np.argsort(beside.parameters * beside.tokens, kind="stable")
    kept, rest = beside.take(np.sort(order[: len(order) * 2 // 3])), order[len(order) * 2 // 3 :]
    if len(kept) < FEWEST:
        return RATE, None
    inner = Task(FORMS["supervised"], kept)
    out, (point, noise) = beside.take(rest), _settled(replace(base, distillation=None), inner)
    residuals = inner.model(out).predict(point.theta[None])[0] - out.log_loss
    compute = out.parameters * out.tokens / float((kept.parameters * kept.tokens).max())
    way = np.maximum(np.log(compute), 1.0)  # a nearer run says no more of the rate
    asked = np.sqrt(np.maximum(residuals**2 - (_TAIL * noise) ** 2, 0.0)) / way
    return max(RATE, float(asked.max())), Errors.of(residuals)


def _misfit(rows: Rows, rate: float) -> Misfit:
    """The same rate for every way outside: pilots are too few to tell them apart."""
    compute = rows.parameters * rows.tokens
    parameters, tokens, flops = (
        (float(f"{each.min():.6g}"), float(f"{each.max():.6g}"))
        for each in (rows.parameters, rows.tokens, compute)
    )
    rate = float(f"{rate:.4g}")
    return Misfit(parameters, tokens, flops, rate, rate, rate, splits=1)


def moving_task(base: CoefficientSet, supervised: Rows | None, distilled: Rows | None) -> Task:
    """What is fitted: Eq. 1 for a supervised set, Eq. 1 and Eq. 8 together for the others."""
    if base.distillation is None:
        if distilled is not None:
            raise ProblemError(
                f"set '{base.name}' has no distillation law to move; leave the teachers' losses "
                "out, or choose a set that has one."
            )
        assert supervised is not None
        return Task(FORMS["supervised"], supervised)
    if not isinstance(base.distillation, DistillationLaw):
        raise ProblemError(f"the distillation law of set '{base.name}' is not Eq. 8.")
    none = np.empty(0)
    return Task(
        FORMS["distillation"],
        Rows(none, none, none, none) if distilled is None else distilled,
        supervised_rows=Rows(none, none, none) if supervised is None else supervised,
    )


def _protocol(noise: float) -> Protocol:
    return Protocol("posterior", _TAIL * noise, citation="Gaussian prior, Huber's tails")


def prior_of(base: CoefficientSet, task: Task, noise: float) -> Prior:
    """The old law with every loss times the pilots' middle factor, free to move."""
    names, factor = task.model().names, level(base, task)
    mean, spread = np.zeros(len(names)), np.zeros((len(names), 3))
    middle = float(base.form.loss(*np.exp(task.origin))) * factor
    values = old_coordinates(base, task, names)
    across = np.zeros(len(names))
    for place, (name, each) in enumerate(zip(names, task.model().coordinates, strict=True)):
        own = name.removeprefix(SUPERVISED_PREFIX)
        value = values[name]
        if own == "E":
            value = max(value * factor, each.bounds[0])
            spread[place, :2] = value * LEVEL, middle * FLOOR
        elif own == "h":
            grows = 1.0 if name != own or not task.joint else 1.0 + values["c0"]
            value += grows * math.log(factor)
            spread[place, 0] = grows * LEVEL
        elif own in ("P", "Q", "gamma"):
            spread[place, 2] = POWER
        mean[place] = float(each.encode(np.clip(value, *each.bounds)))
        across[place] = ACROSS.get(own, 0.0)
    if not task.joint:
        across[names.index("h")] = 0.0
    covariance = spread @ spread.T + np.diag(np.maximum(across, 1e-4) ** 2)
    return Prior(mean, covariance, noise)


def old_coordinates(base: CoefficientSet, task: Task, names: tuple[str, ...]) -> dict[str, float]:
    """The old law's coordinates at the middle pilot."""
    law = base.supervised
    own: dict[str, Any] = {}
    prefix = SUPERVISED_PREFIX if task.joint else ""
    own |= {prefix + name: getattr(law, name) for name in law.COEFFICIENTS}
    if task.joint:
        taught: Any = base.distillation
        own |= {name: getattr(taught, name) for name in taught.COEFFICIENTS}
    return {name: float(v) for name, v in internal(own, names, task.origin).items()}


def level(base: CoefficientSet, task: Task) -> float:
    """The factor c on all losses that suits the middle pilot: of supervised runs where there are
    any, else of students, whose teachers' losses it changes as well, ``c L_S(N, D, L_T / c)``."""
    beside = task.supervised_rows if task.joint else task.rows
    if beside is not None and len(beside):
        old = base.form.loss(beside.parameters, beside.tokens)
        return float(np.exp(np.median(np.log(beside.loss / old))))
    rows, law = task.rows, base.distillation
    assert law is not None
    assert rows.teacher_loss is not None
    tried = np.exp(np.linspace(-_LEVELS, _LEVELS, 401))[:, None]
    found = tried * law.loss(rows.parameters, rows.tokens, rows.teacher_loss / tried)
    return float(tried[np.argmin(np.median(np.abs(np.log(found / rows.loss)), axis=1)), 0])


def _scatter(point: Fit, prior: Prior) -> float:
    """Scatter of the runs, from their residuals and what is expected of runs in general.

    Every run counts for the share of it that the fit did not follow.
    """
    residuals = point.residuals
    jacobian = prior.over(point.model).evaluate(point.theta[None])[1][0].T
    runs = jacobian[: residuals.size]
    followed = float(np.trace(runs @ np.linalg.solve(jacobian.T @ jacobian, runs.T)))
    left = max(residuals.size - followed, 0.0)
    total = NOISE_RUNS * NOISE**2 + float(np.sum(residuals**2))
    return math.sqrt(total / (NOISE_RUNS + left))


def posterior_draws(point: Fit, prior: Prior, count: int, seed: int) -> Bootstrap:
    """Draws of the posterior: refits to runs and prior with noise of their own added.

    That is exact for a law linear in its coordinates (randomise, then optimise). The scatter is
    drawn as well, from the runs that speak of it.
    """
    random = np.random.default_rng(seed)
    observed = prior.beside(point.task.observed)
    runs = point.task.observed.size
    degrees = NOISE_RUNS + runs / 2.0
    scatter = np.sqrt(degrees / random.chisquare(degrees, size=count))
    scale = np.ones((count, observed.size))
    scale[:, :runs] = scatter[:, None]
    moved = observed + prior.noise * scale * random.standard_normal(scale.shape)
    begin = np.repeat(point.theta[None], count, axis=0)
    solution = minimise(
        prior.over(point.model), moved, begin, 10.0 * _TAIL * prior.noise, scale**-2.0,
        tolerance=1e-9, iterations=_DRAW_STEPS,
    )  # fmt: skip
    hits = bound_mask(point.model, solution.theta).mean(axis=0)
    return Bootstrap(
        draws=coefficient_draws(point.task, point.model, solution.theta),
        theta=solution.theta,
        seed=seed,
        by="posterior",
        converged=float(solution.converged.mean()),
        bound_hits=dict(zip(point.model.names, map(float, hits), strict=True)),
        groups=runs,
    )
