"""Every number, flag and choice of a document tampered with, one at a time."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

from planner.reports.read import check_recipe

from planner.errors import PlannerError
from planner.validate import checks
from planner.validate.checks import baseline, proofs, question, sensitivity, trust

Path = tuple[str | int, ...]

ENUMS = {
    "method": ("distil", "supervised", "either"),
    "criterion": ("expected", "worst"),
    "scenario": ("full", "best-case"),
    "code": ("outside-domain", "second-opinion"),
    "quantity": ("student_tokens", "teacher_tokens"),
    "name": ("full", "other"),
    "source": ("busbridge2025", "elsewhere"),
    "coefficient": ("supervised.E", "supervised.A"),
    "coefficients": ("busbridge2025", "busbridge2025-refit"),
    "how": ("with the others", "alone, by 1%"),
    "teacher": ("other", "another"),
}


def leaves(document: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf with its path."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, (*path, key))
    elif isinstance(document, list):
        for position, value in enumerate(document):
            yield from leaves(value, (*path, position))
    else:
        yield path, document


def mutants(path: Path, value: Any) -> list[Any]:
    """Other values: the flag flipped, the number a tenth larger and smaller, another choice."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [value * 1.1, value / 1.1] if value else [0.5]
    if isinstance(value, str):
        known = ENUMS.get(str(path[-1]), ("something else",) if "binding" in path else ())
        return [each for each in known if each != value][:1]
    return []


def changed(document: Any, path: Path, value: Any) -> Any:
    """A copy with one leaf replaced."""
    made = copy.deepcopy(document)
    where = made
    for key in path[:-1]:
        where = where[key]
    where[path[-1]] = value
    return made


def noticed(document: Any) -> list[str]:
    """What the reader or the checks say against a document; empty if nothing."""
    try:
        found = checks.check_document(check_recipe(document))
    except PlannerError as error:
        return [str(error)]
    return [check.name for check in found if not check.passed]


def remember(monkeypatch: Any) -> None:
    """Proofs and searches of the same question are run once: mutants leave most as they are."""
    for module, name in (
        (proofs, "second_bound"),
        (question, "second_bound"),
        (trust, "second_bound"),
        (trust, "best_plans"),
        (sensitivity, "best_plans"),
        (baseline, "best_supervised"),
        (trust, "best_supervised"),
    ):
        monkeypatch.setattr(module, name, _remembering(getattr(module, name)))


def _remembering(function: Any) -> Any:
    kept: dict[bytes, Any] = {}

    def ask(*args: Any) -> Any:
        key = pickle.dumps(args)  # the repr of an array leaves out its middle
        if key not in kept:
            kept[key] = function(*args)
        return kept[key]

    return ask
