"""The laws that can be fitted, their published start grids, and reduced forms to compare with.

Every law of `laws.SUPERVISED_LAWS` and `laws.DISTILLATION_LAWS` can be fitted: a form without
coordinates and derivatives of its own here is evaluated through the law itself. A reduced form for
the comparison alone is one entry in `COMPARED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from laws import DISTILLATION_LAWS, SUPERVISED_LAWS, DistillationLaw, HoffmannLaw, KaplanLaw
from laws import SupervisedLaw as EquationOne
from laws._types import Array
from planner.fit.coordinates import DISTILLATION, SUPERVISED, Range, usual_bounds

Law = Callable[..., Any]


@dataclass(frozen=True)
class Form:
    """A law as the fitter knows it.

    coefficients: names in files and messages. fixed: those that the form itself holds. grid: the
    published starts, one list of values per coefficient. law: the law of coefficients (numbers or
    arrays), by name; of a distillation law also `supervised`. plain: evaluated through `law`, with
    numerical derivatives, instead of the fitter's own coordinates and slopes. may_be_zero, ranges:
    what a plain law says of its coefficients.
    """

    name: str
    kind: str  # "supervised" or "distillation"
    coefficients: tuple[str, ...]
    fixed: Mapping[str, float] = field(default_factory=dict)
    grid: Mapping[str, Array] = field(default_factory=dict)
    summary: str = ""
    law: Law = EquationOne
    plain: bool = False
    may_be_zero: frozenset[str] = frozenset({"E", "c0"})
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def bounds(self, name: str) -> Range:
        """The range of a coefficient: the law's own, or the usual wide one."""
        own = name.rpartition(".")[2]
        zero = self.plain and own in self.may_be_zero
        return self.ranges.get(own, usual_bounds(own, zero))

    @property
    def free(self) -> tuple[str, ...]:
        """Coefficients that data determine."""
        return tuple(name for name in self.coefficients if name not in self.fixed)


def _steps(low: float, high: float, step: float) -> Array:
    return np.arange(low, high + step / 2, step)


def _exponents(high: float) -> Array:
    return np.maximum(_steps(0.0, high, 0.5), 0.02)  # 0 is no law: start beside it


_WIDE = np.exp(_steps(0, 20, 5))

_SUPERVISED_GRID = {
    "E": np.exp(_steps(-1, 1.5, 0.5)), "A": _WIDE, "B": _WIDE,
    "alpha": _exponents(1.5), "beta": _exponents(1.5), "gamma": _exponents(1.5),
}  # fmt: skip
_HOFFMANN_GRID = {
    "E": np.exp(_steps(-1, 1, 0.5)), "A": np.exp(_steps(0, 25, 5)), "B": np.exp(_steps(0, 25, 5)),
    "alpha": _exponents(2.0), "beta": _exponents(2.0),
}  # fmt: skip
_DISTILLATION_GRID = {
    "A": _WIDE, "B": _WIDE, "alpha": _exponents(1.0), "beta": _exponents(1.0),
    "gamma": _exponents(1.0), "c0": _steps(0, 1.5, 0.5), "c1": _exponents(1.5),
    "d1": np.exp(_steps(-1, 1, 0.5)), "f1": _exponents(1.5),
}  # fmt: skip
_NO_GAP = {"c1": 1e-4, "d1": 1.0, "f1": 1.0}

_TRIED = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)


def form_of(name: str, law: type[Any], kind: str) -> Form:
    """The form of a law that is fitted through itself.

    The law may state `RANGES` (name -> low and high) and `STARTS` (name -> values to begin from)
    besides its `COEFFICIENTS` and `MAY_BE_ZERO`.
    """
    usual = {**_SUPERVISED_GRID, **(_DISTILLATION_GRID if kind == "distillation" else {})}
    stated: Mapping[str, Any] = getattr(law, "STARTS", {})
    grid = {n: np.asarray(stated.get(n, usual.get(n, _TRIED)), float) for n in law.COEFFICIENTS}
    return Form(
        name, kind, tuple(law.COEFFICIENTS), {}, grid, getattr(law, "CITATION", "") or name, law,
        plain=True, may_be_zero=frozenset(getattr(law, "MAY_BE_ZERO", ())),
        ranges=getattr(law, "RANGES", {}),
    )  # fmt: skip


def _hoffmann(E: Any, A: Any, B: Any, alpha: Any, beta: Any, gamma: Any) -> HoffmannLaw:
    return HoffmannLaw(E, A, B, alpha, beta)


def _kaplan(E: Any, A: Any, B: Any, alpha: Any, beta: Any, gamma: Any) -> KaplanLaw:
    return KaplanLaw(A ** (1 / alpha), B, alpha * gamma, gamma)


_OWN: dict[str, Form] = {
    form.name: form
    for form in (
        Form("distillation", "distillation", DISTILLATION, {}, _DISTILLATION_GRID, "Eq. 8",
             DistillationLaw),
        Form("supervised", "supervised", SUPERVISED, {}, _SUPERVISED_GRID, "Eq. 1"),
        Form(
            "hoffmann", "supervised", SUPERVISED, {"gamma": 1.0}, _HOFFMANN_GRID,
            "Eq. 1 with gamma = 1", _hoffmann,
        ),
        Form(
            "kaplan", "supervised", SUPERVISED, {"E": 0.0, "beta": 1.0},
            {k: v for k, v in _SUPERVISED_GRID.items() if k not in ("E", "beta")},
            "Eq. 1 with E = 0, beta = 1", _kaplan,
        ),
    )
}  # fmt: skip


class _Forms(Mapping[str, Form]):
    """The fitter's own forms, and those of every other registered law."""

    def _others(self) -> dict[str, Form]:
        found = {}
        for kind, registry in (
            ("supervised", SUPERVISED_LAWS),
            ("distillation", DISTILLATION_LAWS),
        ):
            known: Mapping[str, type[Any]] = registry
            for name, law in known.items():
                if name != "busbridge" and name not in _OWN:
                    found[name] = form_of(name, law, kind)
        return found

    def __getitem__(self, name: str) -> Form:
        return _OWN[name] if name in _OWN else self._others()[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*_OWN, *self._others()))

    def __len__(self) -> int:
        return len(_OWN) + len(self._others())


FORMS = _Forms()
"""Every law that can be fitted, by name."""

COMPARED: dict[str, dict[str, Form]] = {
    "distillation": {
        "without gamma": Form(
            "distillation", "distillation", DISTILLATION, {"gamma": 1.0}, _DISTILLATION_GRID,
            "gamma = 1",
            DistillationLaw,
        ),
        "without c0": Form(
            "distillation", "distillation", DISTILLATION, {"c0": 0.0}, _DISTILLATION_GRID,
            "no power of L_T",
            DistillationLaw,
        ),
        "without capacity gap": Form(
            "distillation", "distillation", DISTILLATION, _NO_GAP, _DISTILLATION_GRID,
            "no broken power law in L_T / Lsup", DistillationLaw,
        ),
    },
    "supervised": {"without gamma": _OWN["hoffmann"], "without E": _OWN["kaplan"]},
    "hoffmann": {"with gamma": _OWN["supervised"]},
}  # fmt: skip
