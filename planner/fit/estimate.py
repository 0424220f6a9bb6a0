"""The point fit: screen starts, fit from all of them at once, keep the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laws import DistillationForm, SupervisedForm
from laws._types import Array, Real
from planner.errors import PlannerError, ProblemError
from planner.fit.determine import require_determined, undetermined_error
from planner.fit.model import SUPERVISED_PREFIX, Model, natural
from planner.fit.prior import Prior
from planner.fit.rows import Rows
from planner.fit.solver import (
    PROTOCOLS,
    Predictor,
    Protocol,
    Solution,
    minimise,
    scaled_objective,
    stages,
)
from planner.fit.starts import around, beside, encode, starts
from planner.fit.task import FORMS, Task

_SAME = 1e-4  # relative difference of objectives that counts as the same optimum
_SCALE_ROUNDS = 6
_FINALISTS = 8  # starts that are fitted to the last digit
_WIDEST, _WIDEST_SCALED = 25.0, 10.0  # a resample starts at the point fit: no need to start wide
_BESIDE = 5e-3  # first delta of the starts beside the best one


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    values: every coefficient, fixed ones too. theta: its coordinates, (P,). gradient_norm: largest
    derivative of the objective in a coordinate that is free to move. agreeing: share of the starts
    that ended at this optimum. at_bounds: coefficients that rest on a bound. scale: fitted scale of
    the scaled protocol, else None. prior: what was known before the runs, if anything.
    """

    task: Task
    protocol: Protocol
    values: Mapping[str, float]
    theta: Array
    objective: float
    gradient_norm: float
    converged: bool
    starts: int
    grid_points: int
    agreeing: float
    at_bounds: tuple[str, ...] = ()
    scale: float | None = None
    prior: Prior | None = None

    @property
    def model(self) -> Model:
        """The model of the fitted runs."""
        return self.task.model()

    @property
    def residuals(self) -> Array:
        """log L_pred - log L_obs, distillations first, (n,)."""
        return np.asarray(self.model.predict(self.theta[None])[0] - self.task.observed)

    @property
    def form(self) -> SupervisedForm:
        """The supervised law: fitted, or the fixed one of a distillation fit."""
        return supervised_form(self.task, self.values)

    @property
    def distillation(self) -> DistillationForm | None:
        """The fitted distillation law, None for a supervised fit."""
        if self.task.form.kind == "supervised":
            return None
        own = {name: self.values[name] for name in self.task.form.coefficients}
        law: DistillationForm = self.task.form.law(supervised=self.form.canonical(), **own)
        return law


def supervised_form(task: Task, values: Mapping[str, Real]) -> SupervisedForm:
    """The supervised law of coefficients, in the form that was asked for."""
    if task.supervised_law is not None:
        return task.supervised_law
    prefix = SUPERVISED_PREFIX if task.joint else ""
    form = FORMS["supervised"] if task.joint else task.form
    law: SupervisedForm = form.law(**{n: values[prefix + n] for n in form.coefficients})
    return law


def fit(
    task: Task,
    protocol: Protocol | str = "paper",
    start: Mapping[str, float] | None = None,
    density: int = 1,
    prior: Prior | None = None,
) -> Fit:
    """Fit a task from the published grid and from the data's own scale.

    start: coefficients to begin from instead of the grid (the data-scaled starts still take part,
    so that a start far from any law does no harm). density thins the grid. prior: what is known of
    the coordinates before the runs; the fit then starts from its mean and needs no more runs than
    there are. Raises UndeterminedError where the runs, without a prior, say nothing of what is
    free.
    """
    protocol = PROTOCOLS[protocol] if isinstance(protocol, str) else protocol
    if prior is None:
        _enough(task)
    elif protocol.scaled:
        raise ProblemError("a prior states the scatter of runs; choose an unscaled protocol.")
    model, observed = task.model(), task.observed
    solving: Predictor = model
    if prior is not None:
        solving, observed = prior.over(model), prior.beside(observed)
        begin, grid_points = prior.starts(), 0
    elif start is None:
        begin, grid_points = starts(task, model, density)
    else:
        given = {name: np.array([float(start[name])]) for name in task.free}
        begin = np.vstack([encode(task, model, given), beside(task, model)])
        grid_points = 0
    rough, _ = solve(solving, observed, begin, protocol, None, 1e-7, 80)
    if not np.isfinite(rough.objective).any():
        raise PlannerError("no start gave a finite objective; check the runs and the bounds.")
    bent = around(model, rough.theta[int(np.nanargmin(rough.objective))])
    second, _ = solve(solving, observed, bent, protocol, None, 1e-7, 80, _BESIDE)
    ends = np.concatenate([rough.theta, second.theta])
    order = np.argsort(np.concatenate([rough.objective, second.objective]), kind="stable")
    solution, scale = solve(
        solving, observed, ends[order[:_FINALISTS]], protocol, widest=protocol.delta
    )
    best = int(np.nanargmin(solution.objective))
    objective = float(solution.objective[best])
    spread = abs(objective) if not protocol.scaled else float(len(task.observed)) * 1e-2
    theta = solution.theta[best]
    if prior is None:
        require_determined(task, model, theta, bound_mask(model, theta[None])[0])
    return Fit(
        task=task,
        protocol=protocol,
        values=coefficients(task, model, theta),
        theta=theta,
        objective=objective,
        gradient_norm=float(solution.gradient_norm[best]),
        converged=bool(solution.converged[best]),
        starts=begin.shape[0],
        grid_points=grid_points,
        agreeing=float(np.mean(rough.objective <= objective + _SAME * spread)),
        at_bounds=at_bounds(task, model, theta),
        scale=None if scale is None else float(scale[best]),
        prior=prior,
    )


def solve(
    model: Predictor,
    observed: Array,
    begin: Array,
    protocol: Protocol,
    weights: Array | None = None,
    tolerance: float = 1e-15,
    iterations: int = 300,
    widest: float = 3e-2,
) -> tuple[Solution, Array | None]:
    """Fit from every row of `begin` under a protocol; the scales too where it has one."""
    multiples = [each / protocol.delta for each in stages(protocol.delta, widest)]
    first = minimise(
        model, observed, begin, protocol.delta, weights, multiples, tolerance, iterations
    )
    if not protocol.scaled:
        return first, None
    w = np.ones((begin.shape[0], observed.size)) if weights is None else weights
    theta, width = first.theta, np.full(begin.shape[0], protocol.delta)
    solution = first
    value, scale = np.empty(0), np.empty(0)
    for _ in range(_SCALE_ROUNDS):
        value, scale = scaled_objective(model.predict(theta) - observed, w, protocol.delta)
        width, before = protocol.delta * scale, width
        settled = np.all(np.abs(width - before) <= 1e-6 * width)
        if settled:
            break
        widths = stages(1.0, float((before / width).max()), 4.0)
        solution = minimise(model, observed, theta, width, w, widths, tolerance, iterations)
        theta = solution.theta
    value, scale = scaled_objective(model.predict(theta) - observed, w, protocol.delta)
    gradient = solution.gradient_norm / scale**2
    return Solution(theta, value, gradient, solution.converged, solution.iterations), scale


_NEARLY_ABSOLUTE = 1e-4
"""Delta, in mean absolute residuals, from which a smaller one changes a resample's log-likelihood
by less than 1e-2 (1e-3 on average), where sampling changes it by 1."""
_FOLLOWED = 1e-6  # how closely the stages on the way there are followed


def solve_resamples(fitted: Fit, weights: Array, tolerance: float, iterations: int) -> Solution:
    """Refits to weighted runs, (B, n), each from the point fit."""
    model, observed, protocol = fitted.model, fitted.task.observed, fitted.protocol
    begin = np.repeat(fitted.theta[None], weights.shape[0], axis=0)
    size = np.abs(fitted.residuals)
    absolute = _NEARLY_ABSOLUTE * (weights @ size) / weights.sum(axis=1)
    if fitted.scale is None or protocol.delta * fitted.scale > absolute.min():
        widest = protocol.delta * (_WIDEST_SCALED if protocol.scaled else _WIDEST)
        return solve(model, observed, begin, protocol, weights, tolerance, iterations, widest)[0]
    # Least absolute deviations in all but name: neither scale nor delta need be found exactly.
    multiples = stages(1.0, 1e-3 / float(absolute.max()), 10.0)
    return minimise(
        model, observed, begin, absolute, weights, multiples, tolerance, iterations,
        between=_FOLLOWED,
    )  # fmt: skip


def coefficients(task: Task, model: Model, theta: Array) -> dict[str, float]:
    """Coefficients as the laws name them, of one coordinate vector (P,)."""
    found = natural(model.decode(theta[None]), task.origin)
    return {name: float(found[name].ravel()[0]) for name in task.coefficients}


def coefficient_draws(task: Task, model: Model, theta: Array) -> dict[str, Array]:
    """Coefficients, (B,) each, of coordinates (B, P)."""
    found = natural(model.decode(theta), task.origin)
    return {
        name: np.broadcast_to(found[name], (theta.shape[0], 1))[:, 0].copy()
        for name in task.coefficients
    }


_BOUND_NAMES = {
    "eps": ("c1", "d1"), "K": ("c1",), "h": ("A", "B"), "s": ("A", "B"), "P": ("alpha",),
    "Q": ("beta",),
}  # fmt: skip


def at_bounds(task: Task, model: Model, theta: Array) -> tuple[str, ...]:
    """Coefficients whose coordinate rests on a bound."""
    resting = bound_mask(model, theta[None])[0]
    names = {} if task.form.plain else _BOUND_NAMES
    found: list[str] = []
    for each, rests in zip(model.coordinates, resting, strict=True):
        if rests:
            prefix, dot, own = each.name.rpartition(".")
            found += [prefix + dot + name for name in names.get(own, (own,))]
    return tuple(name for name in task.coefficients if name in found)


def bound_mask(model: Model, theta: Array) -> NDArray[np.bool_]:
    """Which coordinates rest on a bound, (B, P)."""
    margin = 1e-9 * (1.0 + np.abs(theta))
    return np.asarray((theta <= model.lower + margin) | (theta >= model.upper - margin))


def _enough(task: Task) -> None:
    task.require_free()
    _enough_places(task, task.rows, "")
    if task.supervised_rows is not None:
        _enough_places(task, task.supervised_rows, SUPERVISED_PREFIX)
    runs = {"runs": (len(task.rows), len([n for n in task.free if "." not in n]))}
    if task.supervised_rows is not None:
        own = len([n for n in task.free if n.startswith(SUPERVISED_PREFIX)])
        runs["supervised runs"] = (len(task.supervised_rows), own)
    for what, (have, need) in runs.items():
        if have <= need:
            raise undetermined_error(
                task,
                f"{have} {what} cannot determine {need} coefficients; add runs (at least "
                f"{need + 1}, better {5 * need}) or hold coefficients with --fix.",
            )


def _enough_places(task: Task, rows: Rows, prefix: str) -> None:
    """Runs of one size say nothing of alpha, and runs of one token count nothing of beta: a fit
    would carry on with wherever the coefficient began, and call it certain."""
    free, kind = task.free, "supervised runs" if prefix else "runs"
    floor = (
        [prefix + "E"] if prefix + "E" in free else []
    )  # it and the constant term are one number
    for name, values, what in (
        ("alpha", rows.parameters, "size"),
        ("beta", rows.tokens, "number of tokens"),
    ):
        if prefix + name in free and np.ptp(np.log(values)) < 1e-3:
            held = [prefix + name, *floor]
            wish = " ".join(f"--fix {each}=VALUE" for each in held)
            raise undetermined_error(
                task,
                f"all {kind} have one {what}, so nothing tells {' and '.join(held)}; add runs of "
                f"another {what}, or hold what they do not tell with {wish}.",
            )
