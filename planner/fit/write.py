"""A fit as a coefficient set: values, intervals, domain and provenance, draws in .npz beside it.

The same fit writes the same bytes. Both files appear whole or not at all, the draws first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from coefficients import CoefficientSet, Domain, Misfit, Quality, Source, dumps
from coefficients.scatter import Scatter
from laws import Family
from laws.flops import two_n
from planner.errors import PlannerError
from planner.files import write_whole
from planner.fit.bootstrap import Bootstrap, save_arrays
from planner.fit.estimate import Fit, supervised_form
from planner.fit.identify import Unidentified
from planner.fit.judge import Coverage, scatter
from planner.fit.model import SUPERVISED, SUPERVISED_PREFIX
from planner.fit.rows import Rows
from planner.fit.runs import Runs

Range = tuple[float, float]


@dataclass(frozen=True)
class Provenance:
    """What a coefficient file says about where its numbers come from and how they were checked."""

    title: str = "Fit to measured runs"
    citation: str = ""
    location: str = ""
    notes: str = ""
    data: Runs | None = None
    supervised_data: Runs | None = None
    base: CoefficientSet | None = None
    coverage: Coverage | None = None
    coverage_sizes: Coverage | None = None
    misfit: Misfit | None = None
    domain: Domain | None = None  # instead of the ranges of the fitted runs
    scatter: Scatter | None = None  # instead of that of the fitted runs
    details: Mapping[str, Any] = field(default_factory=dict)


def write(
    path: Path,
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    provenance: Provenance,
) -> tuple[Path, ...]:
    """Write the set (and its draws) and return the files' paths."""
    _finite(point)
    written: tuple[Path, ...] = (path,)
    draws = None
    if boot is not None:
        draws = path.with_suffix(".npz")
        save_arrays(draws, **_draw_arrays(point, boot))
        written = (path, draws)
    text = document(path.stem, point, boot, open_ones, provenance, draws)
    write_whole(path, text)
    return written


HEADER = """\
# A scaling law fitted to measured runs. Parameters are non-embedding, cross-entropies
# are in nats per token; intervals are the central 90% of the bootstrap draws, with their
# mirror image about the fit.
"""


MOVED_HEADER = """\
# A known scaling law moved to other runs. Parameters are non-embedding, cross-entropies are in
# nats per token; intervals are the central 90% of the draws of the posterior.
"""


def document(
    name: str,
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    provenance: Provenance,
    draws: Path | None = None,
) -> str:
    """The TOML text."""
    header = HEADER if point.prior is None else MOVED_HEADER
    return header + dumps(fitted_set(name, point, boot, open_ones, provenance, draws))


def fitted_set(
    name: str,
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    provenance: Provenance,
    draws: Path | None = None,
) -> CoefficientSet:
    """The fit as a coefficient set; `draws` is the file that holds its resamples."""
    base = provenance.base
    return CoefficientSet(
        name=name,
        form=point.form,
        flops=two_n() if base is None else base.flops,
        distillation=point.distillation,
        architectures=Family() if base is None else base.architectures,
        domain=provenance.domain or domain(point, base),
        source=_source(point, boot, open_ones, provenance),
        quality=_quality(point, boot, open_ones),
        intervals=_intervals(point, boot, open_ones, base),
        draws_path=draws,
        draws_sha256=None if draws is None else sha256(draws.read_bytes()).hexdigest(),
        scatter=provenance.scatter or _scatter(point, provenance),
        misfit=provenance.misfit,
    )


def _intervals(
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    base: CoefficientSet | None,
) -> dict[str, Range]:
    """Of the fitted coefficients that the runs determine, and of a law that was held fixed."""
    task, found = point.task, {}
    if task.supervised_law is not None and base is not None:
        names = [f"supervised.{name}" for name in SUPERVISED]
        found = {name: base.intervals[name] for name in names if name in base.intervals}
    blank = {each.name for each in open_ones}
    if boot is None:
        return found
    written = {*_names(point.form)}  # of Kaplan's law others than those fitted
    for name in task.free:
        if name not in blank and (task.form.kind == "distillation" or name in written):
            own = name.removeprefix(SUPERVISED_PREFIX)
            kind = task.form.kind if own == name else "supervised"
            low, high = (float(f"{end:.6g}") for end in boot.interval(name))
            found[f"{kind}.{own}"] = (low, high)
    return found


def _quality(point: Fit, boot: Bootstrap | None, open_ones: Sequence[Unidentified]) -> Quality:
    errors = np.abs(np.expm1(point.residuals))
    found = Quality(
        converged=point.converged,
        mean_absolute_relative_error=float(f"{errors.mean():.6g}"),
        worst_relative_error=float(f"{errors.max():.6g}"),
        runs=len(point.residuals) if point.prior else len(point.task.rows),
        coefficients_fitted=None if point.prior else _own_coefficients(point),
        undetermined=_undetermined(open_ones),
    )
    if boot is None:
        return found
    return replace(
        found,
        resamples=boot.size,
        resampled_by=boot.by,
        resample_groups=None if boot.by == "run" or point.prior else boot.groups,
        resamples_converged=float(f"{boot.converged:.4g}"),
    )


def _undetermined(open_ones: Sequence[Unidentified]) -> tuple[str, ...]:
    """The families of coefficients of which no combination is determined."""
    none = [each.instead for each in open_ones if each.instead and not each.instead.combinations]
    return tuple(dict.fromkeys(", ".join(each.names) for each in none))


def _source(
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    provenance: Provenance,
) -> Source:
    found: dict[str, Any] = {
        "law": point.task.form.name,
        "protocol": point.protocol.name,
        "objective": point.protocol.describe(),
        "objective_value": float(f"{point.objective:.10g}"),
    }
    if point.task.supervised_rows is not None:
        found["supervised_runs"] = len(point.task.supervised_rows)
    for key, data in (("data", provenance.data), ("supervised_data", provenance.supervised_data)):
        if data is not None:
            found[f"{key}_file"] = Path(data.path).name
            found[f"{key}_sha256"] = data.sha256
    if provenance.base is not None and point.task.supervised_law is not None:
        found["supervised_from"] = provenance.base.name
    if point.task.fixed:
        found["held"] = [f"{name}={float(value)!r}" for name, value in point.task.fixed.items()]
    if point.task.bounds:
        found["bounded"] = [
            f"{name}={float(low)!r}:{float(high)!r}"
            for name, (low, high) in point.task.bounds.items()
        ]
    if point.at_bounds:
        found["at_bounds"] = list(point.at_bounds)
    if open_ones:
        found["not_identified"] = [each.name for each in open_ones]
    if boot is not None:
        found["seed"] = boot.seed
    found["software"] = f"distillation-planner {_version()}, numpy {np.__version__}"
    return Source(
        title=provenance.title,
        citation=provenance.citation,
        location=provenance.location,
        kind="fit",
        notes=provenance.notes,
        details={**found, **provenance.details},
    )


def _own_coefficients(point: Fit) -> int:
    """How many coefficients the runs of the form's own kind have to determine."""
    return len([name for name in point.task.free if "." not in name])


def _scatter(point: Fit, provenance: Provenance) -> Scatter:
    run, sizes = provenance.coverage, provenance.coverage_sizes
    return Scatter(
        quantiles=tuple(float(f"{q:.5g}") for q in scatter(point)),
        coverage=None if run is None else float(f"{run.run:.4g}"),
        coverage_law=None if run is None else float(f"{run.law:.4g}"),
        coverage_sizes=None if sizes is None else float(f"{sizes.run:.4g}"),
    )


def domain(point: Fit, base: CoefficientSet | None = None) -> Domain:
    """The ranges that the fitted runs cover; teachers' sizes and tokens from the base set."""
    task = point.task
    own = measured_domain(task.rows)
    if task.form.kind == "supervised":
        return own
    law = point.form
    assert task.rows.teacher_loss is not None
    ratio = task.rows.teacher_loss / law.loss(task.rows.parameters, task.rows.tokens)
    teachers: dict[str, Range | None] = {}
    if task.supervised_rows is not None:
        beside = measured_domain(task.supervised_rows)
        teachers = {"teacher_parameters": beside.parameters, "teacher_tokens": beside.tokens}
    elif base is not None:
        known = base.domain
        teachers = {n: known.of(n) for n in ("teacher_parameters", "teacher_tokens")}
    return Domain(
        student_parameters=own.parameters,
        student_tokens=own.tokens,
        student_tokens_per_parameter=own.student_tokens_per_parameter,
        teacher_cross_entropy=_range(task.rows.teacher_loss),
        teacher_to_supervised=_range(ratio),
        **teachers,
    )


def measured_domain(rows: Rows) -> Domain:
    """Sizes, tokens and tokens per parameter that runs cover."""
    return Domain(
        parameters=_range(rows.parameters),
        tokens=_range(rows.tokens),
        student_tokens_per_parameter=_range(rows.tokens / rows.parameters),
    )


def _range(values: Any) -> Range:
    return float(f"{values.min():.6g}"), float(f"{values.max():.6g}")


def _draw_arrays(point: Fit, boot: Bootstrap) -> dict[str, Any]:
    """The draws of the coefficients that each law has and the fit did not hold."""
    task, found = point.task, {}
    every: dict[str, Any] = {
        **{name: np.asarray(v) for name, v in point.values.items()},
        **boot.draws,
    }
    if task.form.kind == "distillation":
        found = {f"distillation.{n}": every[n] for n in task.form.coefficients if n in task.free}
    if task.supervised_law is None:
        form: Any = supervised_form(task, every)
        drawn = {name: getattr(form, name) for name in _names(form)}
        found |= {f"supervised.{n}": value for n, value in drawn.items() if np.ndim(value)}
    return found


def _names(law: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = type(law).COEFFICIENTS
    return names


def _finite(point: Fit) -> None:
    for name, value in point.values.items():
        if not np.isfinite(value):
            raise PlannerError(
                f"the fit ran off: {name} is {value}; hold or bound it with --fix or --bound, or "
                "add runs that determine it."
            )


def _version() -> str:
    try:
        return metadata.version("distillation-planner")
    except metadata.PackageNotFoundError:
        return "from source"
