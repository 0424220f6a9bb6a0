"""Designs and choices of runs as documents and sheets. Renders, never computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from planner import units
from planner.documents import unwritten
from planner.experiments.design import NOISE, Design, Run
from planner.experiments.next_runs import Choice
from planner.reports.report import Report
from planner.reports.sheet import Grid, Sheet
from planner.reports.words import NOTHING

_TOLD = 2.0  # sharpening below which the prior says as much as the runs


@dataclass(frozen=True)
class PlannedRun:
    """One run of a design; `run` is its name, T1 or S1, `teacher` its teacher's."""

    run: str
    kind: str
    layers: int
    d_model: int
    parameters: int
    tokens: float
    teacher: str | None
    flops: float
    expected_cross_entropy: float
    identifies: tuple[str, ...]


@dataclass(frozen=True)
class Protocol:
    """The runs of one protocol.

    standard_errors: of the logarithm of each coefficient (of c0 itself) from these runs and the
    prior, prior_standard_errors: from the prior alone; noise: relative, of a run's loss.
    """

    protocol: str
    summary: str
    flops: float
    standard_errors: dict[str, float]
    prior_standard_errors: dict[str, float]
    sharpened: dict[str, float]
    noise: float
    notes: tuple[str, ...]
    runs: tuple[PlannedRun, ...]


@dataclass(frozen=True)
class Designs(Report):
    """Run plans for a budget, one per protocol."""

    KIND: ClassVar[str] = "design"

    protocols: tuple[Protocol, ...]
    designs: tuple[Design, ...] = unwritten()

    @classmethod
    def of(cls, designs: tuple[Design, ...]) -> Designs:
        """The report of designs."""
        return cls(tuple(map(_protocol, designs)), designs)

    def sheet(self) -> Sheet:
        """One table of runs and one of errors per protocol; CSV is the students as a pool."""
        grids: list[Grid] = []
        notes: list[str] = []
        for each in self.protocols:
            grids += [_runs_grid(each), _errors_grid(each)]
            notes += [f"{each.protocol}: {note}" for note in (*each.notes, _sharpened(each))]
        notes.append(
            f"The errors assume {NOISE:.1%} of noise a run, a known supervised law and a plain "
            "prior; where they are close to the prior's, the runs tell little. Train every teacher "
            "once and keep its loss: the teachers are supervised runs too."
        )
        counted = [
            f"{each.protocol}: {units.format_flops(each.flops)} FLOPs" for each in self.protocols
        ]
        return Sheet(
            kind=self.KIND,
            title="Runs to make",
            verdict="; ".join(counted) + ".",
            grids=tuple(grids),
            notes=tuple(notes),
            rows=tuple(row for each in self.designs for row in _pool(each)),
        )


@dataclass(frozen=True)
class NextRun:
    """A chosen candidate. `row`: its row in the pool's file; target_after: the target's standard
    deviation after it and those before it; sharpens: what it tells most about."""

    row: int
    parameters: float
    tokens: float
    teacher_cross_entropy: float | None
    flops: float
    target_after: float
    sharpens: tuple[str, ...]


@dataclass(frozen=True)
class NextRuns(Report):
    """The next runs, best first; before, after, whole_pool: standard deviation of the target."""

    KIND: ClassVar[str] = "next"

    target: str
    before: float
    after: float
    whole_pool: float
    flops: float
    pool_flops: float
    runs: tuple[NextRun, ...]
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, found: Choice, lines: list[int], target: str, remarks: tuple[str, ...] = ()
    ) -> NextRuns:
        """The report of a choice; `lines` are the pool's rows in its file."""
        pool, runs = found.pool, []
        for pick, after, told in zip(found.picks, found.deviations, found.sharpens, strict=True):
            k = pick.index
            teacher = None if pool.teacher_loss is None else float(pool.teacher_loss[k])
            size, tokens = float(pool.parameters[k]), float(pool.tokens[k])
            runs.append(NextRun(lines[k], size, tokens, teacher, pick.cost, after, told))
        return cls(
            target, found.before, found.after, found.everything, found.cost,
            float(found.costs.sum()), tuple(runs), remarks,
        )  # fmt: skip

    def sheet(self) -> Sheet:
        """The runs; CSV has them under the names that runs and pools are read by."""
        left = (self.before - self.after) / max(self.before - self.whole_pool, 1e-300)
        cells = tuple(
            (
                str(each.row),
                units.format_count(each.parameters),
                units.format_count(each.tokens),
                NOTHING
                if each.teacher_cross_entropy is None
                else units.format_loss(each.teacher_cross_entropy),
                units.format_flops(each.flops),
                f"{each.target_after:.3g}",
                " ".join(each.sharpens),
            )
            for each in self.runs
        )
        head = ("row", "parameters", "tokens", "teacher's loss", "FLOPs", "target sd after",
                "sharpens")  # fmt: skip
        return Sheet(
            kind=self.KIND,
            title=f"Next runs; target: {self.target}",
            verdict=(
                f"Standard deviation now {self.before:.3g}, after these {len(self.runs)} runs "
                f"{self.after:.3g}; the whole pool would give {self.whole_pool:.3g}. They cost "
                f"{units.format_flops(self.flops)} FLOPs, {self.flops / self.pool_flops:.1%} of "
                f"the pool's, and bring {left:.0%} of what the pool can bring."
            ),
            grids=(Grid("", head, cells, left=(6,)),),
            warnings=self.remarks,
            notes=(
                "Refit after these runs before choosing again: the choice is made to first order.",
            ),
            rows=tuple(map(_pick, self.runs)),
        )


def _protocol(found: Design) -> Protocol:
    runs = [_run(f"T{k + 1}", run, ()) for k, run in enumerate(found.teachers)]
    runs += [
        _run(f"S{k + 1}", run, told)
        for k, (run, told) in enumerate(zip(found.students, found.identifies, strict=True))
    ]
    return Protocol(
        found.protocol, found.summary, found.cost, found.errors, found.prior, found.sharpened,
        NOISE, found.notes, tuple(runs),
    )  # fmt: skip


def _run(name: str, run: Run, told: tuple[str, ...]) -> PlannedRun:
    shape = run.architecture
    teacher = None if run.teacher is None else f"T{run.teacher + 1}"
    return PlannedRun(
        name, run.kind, shape.layers, shape.d_model, shape.parameters, run.tokens, teacher,
        run.cost, run.loss, told,
    )  # fmt: skip


def _runs_grid(found: Protocol) -> Grid:
    cells = tuple(
        (
            each.run,
            str(each.layers),
            units.format_count(each.parameters),
            units.format_count(each.tokens),
            each.teacher or "",
            units.format_flops(each.flops),
            units.format_loss(each.expected_cross_entropy),
            ", ".join(each.identifies),
        )
        for each in found.runs
    )
    head = ("run", "layers", "parameters", "tokens", "teacher", "FLOPs", "loss",
            "tells most about")  # fmt: skip
    return Grid(f"Protocol {found.protocol}: {found.summary}", head, cells, left=(7,))


def _errors_grid(found: Protocol) -> Grid:
    cells = tuple(
        (name, f"{error:.2g}", f"{found.prior_standard_errors[name]:.2g}")
        for name, error in found.standard_errors.items()
    )
    head = ("coefficient", "with these runs", "prior alone")
    return Grid("Predicted standard errors of the logarithm (of c0 itself)", head, cells)


def _sharpened(found: Protocol) -> str:
    """What the whole design tells most about, beyond the prior."""
    known = [f"{name} {gain:.2g}×" for name, gain in found.sharpened.items() if gain >= _TOLD]
    rest = [name for name, gain in found.sharpened.items() if gain < _TOLD]
    told = f"beyond the prior all runs together sharpen {', '.join(known)}" if known else ""
    if not rest:
        return f"{told}."
    hardly = f"they hardly tell {', '.join(rest)} one by one"
    return f"{told}; {hardly}." if known else f"as to the coefficients, {hardly}."


def _pool(found: Design) -> list[dict[str, Any]]:
    """The students as the pool that `planner experiments next` reads, with every digit."""
    return [
        {
            "student_parameters": run.architecture.parameters,
            "student_tokens": run.tokens,
            "teacher_cross_entropy": found.teachers[run.teacher or 0].loss,
            "cost": run.cost,
        }
        for run in found.students
    ]


def _pick(run: NextRun) -> dict[str, Any]:
    found: dict[str, Any] = {
        "row": run.row,
        "student_parameters": run.parameters,
        "student_tokens": run.tokens,
    }
    if run.teacher_cross_entropy is not None:
        found["teacher_cross_entropy"] = run.teacher_cross_entropy
    told = " ".join(run.sharpens)
    return {**found, "cost": run.flops, "target_sd_after": run.target_after, "sharpens": told}
