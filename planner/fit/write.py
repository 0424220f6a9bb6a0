"""Coefficient files: values, intervals, domain and provenance in TOML, draws in .npz beside it.

The same fit writes the same bytes. Both files appear whole or not at all, the draws first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from coefficients import CoefficientSet, Domain
from laws import Family, ForwardFlops
from laws.flops import parameters_per_layer_width
from planner.errors import PlannerError
from planner.files import write_whole
from planner.fit.bootstrap import Bootstrap, save_arrays
from planner.fit.combinations import undetermined
from planner.fit.coordinates import SUPERVISED, SUPERVISED_PREFIX
from planner.fit.estimate import Fit
from planner.fit.identify import Unidentified
from planner.fit.judge import Coverage, scatter
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


def document(
    name: str,
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    provenance: Provenance,
    draws: Path | None = None,
) -> str:
    """The TOML text."""
    task = point.task
    lines = [
        "# A scaling law fitted to measured runs. Parameters are non-embedding, cross-entropies",
        "# are in nats per token; intervals are the central 90% of the bootstrap draws, with their",
        "# mirror image about the fit.",
        f"name = {_text(name)}",
    ]
    if draws is not None:
        lines.append(f"draws = {_text(draws.name)}")
        lines.append(f"draws_sha256 = {_text(sha256(draws.read_bytes()).hexdigest())}")
    lines += ["", "[source]", *_pairs(_source(point, boot, open_ones, provenance))]
    lines += ["", *_supervised(point, boot, open_ones, provenance)]
    if task.form.kind == "distillation":
        names = task.form.coefficients
        lines += ["", "[distillation]", *_values(point, boot, open_ones, names, "")]
    lines += ["", "[scatter]  # log(measured / law) of single runs", *_scatter(point, provenance)]
    lines += ["", "[domain]", *_pairs(_domain(point, provenance.base))]
    flops, family = _convention(provenance.base)
    lines += ["", "[flops]", *_pairs(_flops(flops, family)), ""]
    return "\n".join(lines)


def _supervised(
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    provenance: Provenance,
) -> list[str]:
    task = point.task
    if task.supervised_law is not None:
        law = task.supervised_law
        intervals = dict(provenance.base.intervals) if provenance.base is not None else {}
        lines = ["[supervised]  # held fixed in the fit"]
        for name in SUPERVISED:
            value = float(np.asarray(getattr(law, name)))
            lines.append(_value(name, value, intervals.get(f"supervised.{name}")))
        return lines
    prefix = SUPERVISED_PREFIX if task.joint else ""
    if task.form.name == "kaplan":
        form: Any = point.form
        law_lines = [_value(n, float(getattr(form, n)), None) for n in form.COEFFICIENTS]
        return ["[supervised]", 'form = "kaplan"', *law_lines]
    names = tuple(n for n in SUPERVISED if not (task.form.name == "hoffmann" and n == "gamma"))
    head = ["[supervised]"] + (['form = "hoffmann"'] if task.form.name == "hoffmann" else [])
    return head + _values(point, boot, open_ones, names, prefix)


def _values(
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    names: Sequence[str],
    prefix: str,
) -> list[str]:
    blank = {each.name for each in open_ones}
    lines = []
    for name in names:
        full = prefix + name
        interval = None
        if boot is not None and full in point.task.free and full not in blank:
            interval = boot.interval(full)
        lines.append(_value(name, point.values[full], interval))
    return lines


def _value(name: str, value: float, interval: Range | None) -> str:
    if interval is None:
        return f"{name} = {_number(value)}"
    low, high = (_number(float(f"{end:.6g}")) for end in interval)
    return f"{name} = {{ value = {_number(value)}, interval = [{low}, {high}] }}"


def _source(
    point: Fit,
    boot: Bootstrap | None,
    open_ones: Sequence[Unidentified],
    provenance: Provenance,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": provenance.title,
        "citation": provenance.citation,
        "location": provenance.location,
        "kind": "fit",
        "notes": provenance.notes,
        "law": point.task.form.name,
        "protocol": point.protocol.name,
        "objective": point.protocol.describe(),
        "objective_value": float(f"{point.objective:.10g}"),
        "mean_absolute_relative_error": float(f"{np.abs(np.expm1(point.residuals)).mean():.6g}"),
        "worst_relative_error": float(f"{np.abs(np.expm1(point.residuals)).max():.6g}"),
        "runs": len(point.task.rows),
        "coefficients_fitted": _own_coefficients(point),
        "converged": point.converged,
    }
    if boot is not None:
        found["resamples_converged"] = float(f"{boot.converged:.4g}")
    if point.task.supervised_rows is not None:
        found["supervised_runs"] = len(point.task.supervised_rows)
    for key, data in (("data", provenance.data), ("supervised_data", provenance.supervised_data)):
        if data is not None:
            found[f"{key}_file"] = Path(data.path).name
            found[f"{key}_sha256"] = data.sha256
    if provenance.base is not None and point.task.supervised_law is not None:
        found["supervised_from"] = provenance.base.name
    if point.task.fixed:
        found["held"] = [f"{name}={_number(value)}" for name, value in point.task.fixed.items()]
    if point.task.bounds:
        found["bounded"] = [
            f"{name}={_number(low)}:{_number(high)}"
            for name, (low, high) in point.task.bounds.items()
        ]
    if point.at_bounds:
        found["at_bounds"] = list(point.at_bounds)
    if open_ones:
        found["not_identified"] = [each.name for each in open_ones]
        found["undetermined"] = undetermined(each.instead for each in open_ones)
    if boot is not None:
        found |= {"resamples": boot.size, "resampled_by": boot.by}
        if boot.by != "run":
            found["resample_groups"] = boot.groups
        found["seed"] = boot.seed
    found["software"] = f"distillation-planner {_version()}, numpy {np.__version__}"
    return {**{k: v for k, v in found.items() if v not in ("", [])}, **provenance.details}


def _own_coefficients(point: Fit) -> int:
    """How many coefficients the runs of the form's own kind have to determine."""
    return len([name for name in point.task.free if "." not in name])


def _scatter(point: Fit, provenance: Provenance) -> list[str]:
    found: dict[str, Any] = {"quantiles": [float(f"{q:.5g}") for q in scatter(point)]}
    if provenance.coverage is not None:
        found["coverage"] = float(f"{provenance.coverage.run:.4g}")
        found["coverage_law"] = float(f"{provenance.coverage.law:.4g}")
    if provenance.coverage_sizes is not None:
        found["coverage_sizes"] = float(f"{provenance.coverage_sizes.run:.4g}")
    return _pairs(found)


def _domain(point: Fit, base: CoefficientSet | None) -> dict[str, Range]:
    return {name: value for name, value in vars(domain(point, base)).items() if value is not None}


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


def _convention(base: CoefficientSet | None) -> tuple[ForwardFlops, Family]:
    if base is None:
        from laws.flops import two_n

        return two_n(), Family()
    return base.flops, base.architectures


def _flops(flops: ForwardFlops, family: Family) -> dict[str, Any]:
    """The convention in the file's words: context and vocabulary follow from the coefficients."""
    if flops.name == "2N":
        return {"convention": "2N"}
    omega = parameters_per_layer_width(family.ffn_ratio, family.ffn_matrices, family.kv_group)
    attention = (1.0 / (family.aspect_ratio * omega**2)) ** (1 / 3)
    head = (family.aspect_ratio / omega) ** (1 / 3)
    return {
        "convention": "transformer",
        "context": round(float(flops.attention) / (2.0 * attention)),
        "vocabulary": round(float(flops.head) / (2.0 * head)),
        "aspect_ratio": family.aspect_ratio,
        "ffn_ratio": family.ffn_ratio,
        "ffn_matrices": family.ffn_matrices,
        "kv_group": family.kv_group,
    }


def _draw_arrays(point: Fit, boot: Bootstrap) -> dict[str, Any]:
    found = {}
    for name in point.task.free:
        own = name.removeprefix(SUPERVISED_PREFIX)
        kind = point.task.form.kind if own == name else "supervised"
        found[f"{kind}.{own}"] = boot.draws[name]
    if point.task.form.name == "kaplan":
        A, B = found.pop("supervised.A"), found.pop("supervised.B")
        alpha, gamma = found.pop("supervised.alpha"), found.pop("supervised.gamma")
        found = {
            "supervised.N_c": A ** (1 / alpha), "supervised.D_c": B,
            "supervised.alpha_N": alpha * gamma, "supervised.alpha_D": gamma,
        }  # fmt: skip
    return found


def _finite(point: Fit) -> None:
    for name, value in point.values.items():
        if not np.isfinite(value):
            raise PlannerError(
                f"the fit ran off: {name} is {value}; hold or bound it with --fix or --bound, or "
                "add runs that determine it."
            )


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_any(value)}" for key, value in table.items()]


def _any(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_any(each) for each in value) + "]"
    return _number(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    return repr(int(value)) if isinstance(value, int) else repr(float(value))


def _version() -> str:
    try:
        return metadata.version("distillation-planner")
    except metadata.PackageNotFoundError:
        return "from source"
