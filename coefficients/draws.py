"""Resampled coefficients: a set whose laws hold arrays, one element per draw.

The draws of one file are paired: index i of every coefficient, supervised and distillation, belongs
to the same resample, so differences between plans are taken draw by draw.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from coefficients.errors import CoefficientError
from coefficients.model import CoefficientSet
from laws import SupervisedForm
from laws._types import Array

SUPERVISED = "supervised."
DISTILLATION = "distillation."


def arrays(chosen: CoefficientSet) -> dict[str, Array]:
    """The stored draws, "distillation.A" -> (R,) and so on; CoefficientError if there are none."""
    path = chosen.draws_path
    if path is None:
        raise CoefficientError(
            f"Coefficient set '{chosen.name}' has no draws; fit one with 'planner fit ... "
            "--bootstrap 4096', or use a set that has them, such as busbridge2025-refit."
        )
    try:
        found, digest = _read(path, path.stat().st_mtime_ns)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise CoefficientError(f"Draws file '{path}' cannot be read: {error}.") from error
    expected = chosen.draws_sha256
    if expected is not None and digest != expected:
        raise CoefficientError(
            f"Draws file '{path}' is not the one that the set '{chosen.name}' was written with; "
            "put that one back, or fit again."
        )
    problems = _problems(chosen, found)
    if problems:
        raise CoefficientError(f"Draws file '{path}' has {len(problems)} problem(s):", problems)
    return found


@lru_cache(maxsize=8)
def _read(path: Any, modified: int) -> tuple[dict[str, Array], str]:
    """The arrays of a file, read only, and its SHA-256; kept until the file is another."""
    content = path.read_bytes()
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        found = {name: np.asarray(stored[name], dtype=float) for name in stored.files}
    for array in found.values():
        array.setflags(write=False)
    return found, hashlib.sha256(content).hexdigest()


def count(chosen: CoefficientSet) -> int:
    """How many draws a set has; 0 without a draws file."""
    return 0 if chosen.draws_path is None else int(next(iter(arrays(chosen).values())).size)


def load(chosen: CoefficientSet, limit: int | None = None, trailing: int = 0) -> CoefficientSet:
    """The same set with arrays for coefficients: shape (R, 1, ..., 1), `trailing` ones at the end.

    Coefficients without stored draws (a fixed supervised law) are repeated. limit: use that many
    draws, spread evenly over all. Raises CoefficientError without draws or for a bad file.
    """
    stored = arrays(chosen)
    total = next(iter(stored.values())).size
    picks = np.arange(total)
    if limit is not None and limit < total:
        picks = np.linspace(0, total - 1, max(1, limit)).round().astype(int)
    shape = (picks.size,) + (1,) * trailing

    def fill(law: Any, prefix: str) -> dict[str, Array]:
        names = type(law).COEFFICIENTS
        return {
            name: stored[prefix + name][picks].reshape(shape)
            if prefix + name in stored
            else np.full(shape, float(getattr(law, name)))
            for name in names
        }

    form: SupervisedForm = type(chosen.form)(**fill(chosen.form, SUPERVISED))
    law = chosen.distillation
    if law is not None:
        law = type(law)(form.canonical(), **fill(law, DISTILLATION))
    return replace(chosen, form=form, distillation=law)


def _problems(chosen: CoefficientSet, found: Mapping[str, Array]) -> list[str]:
    form: Any = chosen.form
    laws = {SUPERVISED: type(form)}
    if chosen.distillation is not None:
        laws[DISTILLATION] = type(chosen.distillation)
    known = {prefix + name for prefix, law in laws.items() for name in law.COEFFICIENTS}
    zero = {prefix + name for prefix, law in laws.items() for name in law.MAY_BE_ZERO}
    problems = [f"{name}: no such coefficient in the set" for name in sorted({*found} - known)]
    if not found:
        problems.append("no arrays")
    sizes = {array.shape for array in found.values()}
    if len(sizes) > 1 or any(len(shape) != 1 for shape in sizes):
        problems.append("all arrays must be one-dimensional and of the same length")
    for name, array in found.items():
        low = 0.0 if name in zero else np.finfo(float).tiny
        bad = int((~np.isfinite(array) | (array < low)).sum())
        if bad:
            problems.append(f"{name}: {bad} value(s) are not finite and positive")
    return problems
