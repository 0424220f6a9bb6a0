"""A moved law as a document, a sheet and a coefficient set, with the cheapest next pilots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from coefficients import Domain
from laws._types import Array
from planner import units
from planner.calibrate.move import NOISE, RATE, REACH, Moved, all_runs
from planner.documents import Unwritten, unwritten
from planner.experiments.choose import choose_best
from planner.experiments.information import trust
from planner.fit.judge import Errors
from planner.fit.model import Block
from planner.fit.report import Coefficient
from planner.fit.rows import Rows, implausible
from planner.fit.runs import Runs
from planner.fit.write import Provenance, write
from planner.reports.report import Report
from planner.reports.sheet import Grid, Sheet
from planner.reports.words import NOTHING

Range = tuple[float, float]

_SCATTERED = 2.5  # scatter of the pilots over that expected of runs, from which it is a misfit
_STRAINED = 1.0  # mean squared departure from the prior, in variances
_PILOTS = 3
_RATIOS = (10.0, 20.0, 40.0, 80.0)  # tokens per parameter of candidates
_SIZES = 12
_NINETY = 1.645  # standard deviations of the half width of a 90% interval


@dataclass(frozen=True)
class Pilot:
    """A run that would sharpen the target.

    half_width: of the 90% interval of the law's relative error at the target, with this run and
    those before it, the misfit aside.
    """

    parameters: float
    tokens: float
    flops: float
    predicted: float
    half_width: float


@dataclass(frozen=True)
class Calibration(Report):
    """A known law moved to other runs.

    old: the set that was moved; law: "supervised" or "distillation". pilots: how many runs moved
    it. factor: of the pilots' losses over the old law's, in the middle; floor: E of the moved law;
    power: kappa, its gamma over the old one. noise: relative scatter of the pilots. tension: mean
    squared departure from the prior, in its variances. misfit_rate: half width of the 90% interval
    of the law's own error per factor of e beyond the pilots. errors: on the pilots; check: of the
    dearest third, predicted from the others. target: size and tokens that the next pilots are
    for; half_width: of its 90% interval now. remarks: warnings.
    """

    KIND: ClassVar[str] = "calibration"

    old: str
    law: str
    pilots: int
    factor: float
    floor: float
    power: float
    noise: float
    tension: float
    misfit_rate: float
    errors: Errors
    check: Errors | None
    coefficients: Mapping[str, Coefficient]
    target: tuple[float, float]
    predicted: float
    half_width: float
    next_pilots: tuple[Pilot, ...]
    remarks: tuple[str, ...]
    moved: Annotated[Moved, Unwritten()] = unwritten()

    def sheet(self) -> Sheet:
        """The move, the coefficients, and the next pilots."""
        size, tokens = (units.format_count(each) for each in self.target)
        move = [
            ("factor on all losses", f"{self.factor:.4f}"),
            ("irreducible loss E, nats per token", f"{self.floor:.4f}"),
            ("power kappa", f"{self.power:.3f}"),
            ("scatter of the pilots", f"{self.noise:.2%}"),
            ("departure from the prior, variances", f"{self.tension:.2f}"),
            ("misfit per factor of e beyond the pilots", f"{self.misfit_rate:.2%}"),
            ("mean error on the pilots", f"{self.errors.mean:.2%}"),
            (
                "mean error on the dearest third, left out",
                NOTHING if self.check is None else f"{self.check.mean:.2%}",
            ),
        ]
        values = tuple(
            (name, f"{each.value:.4g}", *_ends(each.interval))
            for name, each in self.coefficients.items()
        )
        runs = tuple(
            (
                units.format_count(each.parameters), units.format_count(each.tokens),
                units.format_flops(each.flops), f"{each.predicted:.4f}", f"{each.half_width:.2%}",
            )
            for each in self.next_pilots
        )  # fmt: skip
        return Sheet(
            kind=self.KIND,
            title=f"{self.old}, moved by {self.pilots} pilots",
            verdict=(
                f"{size} parameters on {tokens} tokens should reach {self.predicted:.4f} nats per "
                f"token, +/- {self.half_width:.2%} (90% of the law's value, the misfit aside)."
            ),
            grids=(
                Grid("The move", ("quantity", "value"), tuple(move)),
                Grid("Coefficients", ("name", "value", "low", "high"), values),
                Grid(
                    "Next pilots for at most what these cost, each after those above it",
                    ("parameters", "tokens", "FLOPs", "predicted", "then +/-"), runs,
                ),
            ),
            warnings=self.remarks,
            rows=tuple(
                {"coefficient": name, "value": each.value,
                 "low": None if each.interval is None else each.interval[0],
                 "high": None if each.interval is None else each.interval[1]}
                for name, each in self.coefficients.items()
            ),
        )  # fmt: skip


def _ends(interval: Range | None) -> tuple[str, str]:
    return (NOTHING, NOTHING) if interval is None else (f"{interval[0]:.4g}", f"{interval[1]:.4g}")


def doubts(moved: Moved) -> tuple[str, ...]:
    """Signs that the old law does not move to these runs, one sentence each."""
    found = []
    if moved.noise > _SCATTERED * NOISE:
        found.append(
            f"The pilots scatter by {moved.noise:.2%} about the moved law, where runs of one "
            f"recipe scatter by about {NOISE:.1%}: either they differ in more than size and "
            "tokens, or the old law does not move to this corpus."
        )
    if moved.tension > _STRAINED:
        found.append(
            "The pilots pull the law away from the old one by more than corpora usually differ "
            f"({moved.tension:.1f} prior variances per coordinate): predictions beyond them are "
            "doubtful; add pilots nearer to the target, or fit a law of your own."
        )
    if moved.misfit.flops_rate > RATE and moved.check is not None:
        found.append(
            f"Moved by the cheaper pilots, the law misses the dearest by {moved.check.mean:.2%} on "
            "average: expect such errors, and larger ones, beyond the pilots."
        )
    return tuple(found)


def calibration(
    moved: Moved, data: tuple[Runs, ...] = (), target: tuple[float, float] | None = None
) -> Calibration:
    """The report; target: parameters and tokens that the next pilots are chosen for, otherwise ten
    times the dearest pilot's."""
    runs = all_runs(moved.point.task)
    if target is None:
        dearest = int(np.argmax(runs.parameters * runs.tokens))
        target = REACH * float(runs.parameters[dearest]), REACH * float(runs.tokens[dearest])
    now, following = next_pilots(moved, target)
    said = [text for each in data for text in (*implausible(each.rows), *each.remarks)]
    return Calibration(
        old=moved.base.name,
        law=moved.point.task.form.kind,
        pilots=len(runs),
        factor=moved.factor,
        floor=float(moved.law.E),
        power=moved.power,
        noise=moved.noise,
        tension=moved.tension,
        misfit_rate=moved.misfit.flops_rate,
        errors=Errors.of(moved.point.residuals),
        check=moved.check,
        coefficients={
            name: Coefficient(value, moved.draws.interval(name), False, None)
            for name, value in moved.point.values.items()
        },
        target=target,
        predicted=float(moved.law.loss(*target)),
        half_width=now,
        next_pilots=following,
        remarks=(*dict.fromkeys(said), *doubts(moved)),
        moved=moved,
    )


def next_pilots(moved: Moved, target: tuple[float, float]) -> tuple[float, tuple[Pilot, ...]]:
    """Half width at the target now, and the supervised runs that lower it most for no more than the
    pilots cost together. Runs far from the target count for less in the choice, as in `planner
    experiments next`: no law holds over many orders of magnitude."""
    runs = all_runs(moved.point.task)
    goal = Rows(np.array([target[0]]), np.array([target[1]]), np.ones(1))
    sizes = np.geomspace(runs.parameters.min(), 3.0 * runs.parameters.max(), _SIZES)
    size, ratio = (each.ravel() for each in np.meshgrid(sizes, _RATIOS, indexing="ij"))
    pool = Rows(size, size * ratio, np.ones_like(size))
    costs = 3.0 * moved.base.flops(size) * pool.tokens
    budget = float((3.0 * moved.base.flops(runs.parameters) * runs.tokens).sum())
    cov, there, rows = _covariance(moved), _jacobian(moved, goal)[0], _jacobian(moved, pool)
    believed = rows * np.sqrt(trust(pool, goal))[:, None]
    picks = choose_best(believed, costs, cov, there[None], moved.noise, budget, most=_PILOTS)
    predicted = moved.law.loss(pool.parameters, pool.tokens)
    widths, found = [float(np.sqrt(there @ cov @ there))], []
    for pick in picks:
        row = rows[pick.index]
        spread = cov @ row
        cov = cov - np.outer(spread, spread) / (moved.noise**2 + row @ spread)
        widths.append(float(np.sqrt(there @ cov @ there)))
        found.append(
            Pilot(
                float(f"{pool.parameters[pick.index]:.3g}"),
                float(f"{pool.tokens[pick.index]:.3g}"),
                pick.cost, float(predicted[pick.index]), _NINETY * widths[-1],
            )
        )  # fmt: skip
    return _NINETY * widths[0], tuple(found)


def _covariance(moved: Moved) -> Array:
    """Of the coordinates after the pilots, to first order, (P, P)."""
    both = moved.prior.over(moved.point.model).evaluate(moved.point.theta[None])[1][0]
    return np.asarray(np.linalg.inv(both @ both.T / moved.noise**2))


def _jacobian(moved: Moved, rows: Rows) -> Array:
    """d log L / d coordinate of supervised runs, (n, P)."""
    task, model = moved.point.task, moved.point.model
    model = replace(model, distillation=None, supervised=Block.of(rows, task.origin))
    return np.asarray(model.evaluate(moved.point.theta[None])[1][0].T)


def save(path: Path, moved: Moved, provenance: Provenance) -> tuple[Path, ...]:
    """Write the moved law as a coefficient set, and return the files' paths."""
    told = replace(
        provenance,
        base=moved.base,
        misfit=moved.misfit,
        scatter=moved.scatter,
        domain=domain(moved),
        details={"moved_from": moved.base.name, "scatter_of_pilots": float(f"{moved.noise:.4g}")},
    )
    return write(path, moved.point, moved.draws, (), told)


def domain(moved: Moved) -> Domain:
    """Where the moved law holds: as far beyond the pilots as `REACH`, where the old law was
    measured."""
    task, old = moved.point.task, moved.base.domain
    if not task.joint:
        return Domain(
            parameters=_reach(task.rows.parameters, old.of("supervised_parameters")),
            tokens=_reach(task.rows.tokens, old.of("supervised_tokens")),
            student_tokens_per_parameter=old.student_tokens_per_parameter,
        )
    runs, teacher = all_runs(task), old.teacher_cross_entropy
    shifted = None if teacher is None else (teacher[0] * moved.factor, teacher[1] * moved.factor)
    return Domain(
        student_parameters=_reach(runs.parameters, old.of("student_parameters")),
        student_tokens=_reach(runs.tokens, old.of("student_tokens")),
        teacher_parameters=_reach(runs.parameters, old.of("teacher_parameters")),
        teacher_tokens=_reach(runs.tokens, old.of("teacher_tokens")),
        student_tokens_per_parameter=old.student_tokens_per_parameter,
        teacher_cross_entropy=shifted,
        teacher_to_supervised=old.teacher_to_supervised,
    )


def _reach(values: Array, old: Range | None) -> Range:
    low, high = float(values.min()), float(values.max())
    if old is not None:
        low, high = min(low, max(old[0], low / REACH)), max(high, min(old[1], high * REACH))
    return float(f"{low:.6g}"), float(f"{high:.6g}")
