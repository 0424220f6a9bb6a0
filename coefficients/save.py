"""Writes coefficient sets as TOML, the inverse of [`load`][coefficients.loader.load]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import tomli_w

from coefficients.domain import Range
from coefficients.errors import CoefficientError
from coefficients.model import CoefficientSet
from laws import DISTILLATION_LAWS, SUPERVISED_LAWS


def dumps(chosen: CoefficientSet) -> str:
    """The set as the text of a TOML file; its draws file is named, not written.

    Reading the text beside that draws file gives an equal set. Raises CoefficientError for a
    supervised law that no file can ask for.
    """
    draws = None if chosen.draws_path is None else chosen.draws_path.name
    source = {name: getattr(chosen.source, name) for name in ("title", "citation", "location")}
    source |= {"kind": chosen.source.kind, "notes": chosen.source.notes}
    distillation = chosen.distillation
    tables = {
        "source": {**source, **chosen.source.details},
        "quality": _stated(chosen.quality),
        "supervised": _law(chosen.form, "supervised", SUPERVISED_LAWS, chosen.intervals),
        "distillation": {}
        if distillation is None
        else _law(distillation, "distillation", DISTILLATION_LAWS, chosen.intervals),
        "scatter": {} if chosen.scatter is None else _stated(chosen.scatter),
        "misfit": {} if chosen.misfit is None else _stated(chosen.misfit),
        "domain": _stated(chosen.domain),
        "flops": _flops(chosen),
    }
    head = {
        "name": chosen.name,
        "draws": draws,
        "draws_sha256": chosen.draws_sha256,
        "second_opinion": chosen.second_opinion,
    }
    stated = {key: value for key, value in head.items() if value is not None}
    return tomli_w.dumps({**stated, **{key: table for key, table in tables.items() if table}})


def _stated(values: Any) -> dict[str, Any]:
    """The fields of a dataclass that say something."""
    found = {each.name: getattr(values, each.name) for each in fields(values)}
    return {key: value for key, value in found.items() if value not in (None, ())}


def _law(
    law: Any, table: str, known: Mapping[str, type], intervals: Mapping[str, Range]
) -> dict[str, Any]:
    """The name of the law's form and its coefficients, those with an interval as tables."""
    names = [name for name, each in known.items() if type(law) is each]
    if not names:
        raise CoefficientError(
            f"the law {type(law).__name__} has no name in laws.{table.upper()}_LAWS; add it there."
        )
    found: dict[str, Any] = {"form": names[0]}
    for name in type(law).COEFFICIENTS:
        value, interval = float(getattr(law, name)), intervals.get(f"{table}.{name}")
        found[name] = value if interval is None else {"value": value, "interval": list(interval)}
    return found


def _flops(chosen: CoefficientSet) -> dict[str, Any]:
    """The convention in the file's words."""
    shape = {
        name: getattr(chosen.architectures, name)
        for name in ("aspect_ratio", "ffn_ratio", "ffn_matrices", "kv_group")
    }
    if chosen.flops.name == "2N":
        return {"convention": "2N", **shape}
    return {
        "convention": "transformer",
        "context": chosen.context,
        "vocabulary": chosen.vocabulary,
        **shape,
    }
