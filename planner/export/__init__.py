"""Runnable files for other trainers, from a recipe document. Pure: recipe in, texts out.

`EXPORTS` names every target; a new one is one file and one line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from planner.errors import DocumentError
from planner.export import (
    distillkit,
    maxtext,
    megatron_bridge,
    megatron_lm,
    ours,
    slurm,
    torchtitan,
    trl,
)
from planner.export.job import Exporter as Exporter
from planner.export.job import Job as Job
from planner.export.job import Settings as Settings
from planner.export.job import Way as Way
from planner.export.job import job_of as job_of

EXPORTS: dict[str, Exporter] = {
    each.name: each
    for each in (
        maxtext.EXPORTER,
        megatron_lm.EXPORTER,
        megatron_bridge.EXPORTER,
        distillkit.EXPORTER,
        trl.EXPORTER,
        torchtitan.EXPORTER,
        ours.EXPORTER,
        slurm.EXPORTER,
    )
}


_DEFAULTS = Settings()


def export(
    document: Mapping[str, Any],
    target: str,
    settings: Settings = _DEFAULTS,
    method: Way | None = None,
) -> dict[str, str]:
    """Files (name to text) that train the recommended recipe, or the best by `method`.

    Raises DocumentError for an unknown target, or one that cannot train the recipe.
    """
    if target not in EXPORTS:
        near = get_close_matches(target, EXPORTS, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise DocumentError(f"unknown target '{target}'{hint}; known: {', '.join(EXPORTS)}.")
    return EXPORTS[target].files(job_of(document, settings, method))
