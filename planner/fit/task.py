"""What to fit: a form of law, runs, and what is held (`gamma=1`) or confined (`alpha=0.2:0.5`).

Every law of `laws.SUPERVISED_LAWS` and `laws.DISTILLATION_LAWS` can be fitted: a form without
coordinates and derivatives of its own here is evaluated through the law itself. A reduced form for
the comparison alone is one entry in `COMPARED`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from laws import (
    DISTILLATION_LAWS,
    SUPERVISED_LAWS,
    DistillationLaw,
    HoffmannLaw,
    KaplanLaw,
    SupervisedLaw,
)
from laws import SupervisedLaw as EquationOne
from laws._types import Array
from planner.errors import ProblemError, QuantityError
from planner.fit.model import (
    DISTILLATION,
    SUPERVISED,
    SUPERVISED_PREFIX,
    Block,
    Coordinate,
    Model,
    Range,
    coordinate,
    usual_bounds,
)
from planner.fit.rows import Rows

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


_POWER = ("A", "B", "alpha", "beta")
_GAP = ("c1", "d1")


@dataclass(frozen=True)
class Task:
    """What to fit: runs, form, and what the user holds or confines.

    supervised_law: the fixed supervised law of a distillation fit. supervised_rows: supervised runs
    for a joint fit instead. Names in `fixed` and `bounds` are the form's, with "supervised." in
    front for the supervised part of a joint fit.
    """

    form: Form
    rows: Rows
    supervised_law: SupervisedLaw | None = None
    supervised_rows: Rows | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.form.kind == "distillation":
            if (self.supervised_law is None) == (self.supervised_rows is None):
                raise ProblemError(
                    "a distillation fit needs either a fixed supervised law or supervised runs; "
                    "give exactly one."
                )
            if self.rows.teacher_loss is None:
                raise ProblemError("distillation runs need the teacher's cross-entropy.")
            if self.form.plain and self.joint:
                raise ProblemError(
                    f"law {self.form.name} is fitted under a fixed supervised law; fit the "
                    "supervised runs first and give the result as --base."
                )
        known = self.coefficients
        for wish, names in (("--fix", self.fixed), ("--bound", self.bounds)):
            for name in names:
                if name not in known:
                    raise ProblemError(f"{wish} {name}: unknown; known: {', '.join(known)}.")
            for name in names:
                if name in self.form.fixed:
                    raise ProblemError(
                        f"{wish} {name}: law {self.form.name} is the form that holds {name} at "
                        f"{self.form.fixed[name]:g}; leave it out, or fit --law supervised."
                    )
        for name, value in self.fixed.items():
            if name in self.bounds:
                raise ProblemError(f"{name} is both fixed and bounded; keep one.")
            zero = _own(name) in self.form.may_be_zero
            if not np.isfinite(value) or value < 0 or (value == 0 and not zero):
                raise ProblemError(f"--fix {name}={value}: it must be a positive, finite number.")
        for name, (low, high) in self.bounds.items():
            if not (np.isfinite(low) and np.isfinite(high) and 0 <= low < high):
                raise ProblemError(f"--bound {name}={low}:{high}: write low:high, 0 <= low < high.")
            if low == 0 and (_own(name) not in self.form.may_be_zero or _own(name) == "E"):
                raise ProblemError(f"--bound {name}={low}:{high}: the lower end must be positive.")

    @property
    def joint(self) -> bool:
        """Whether supervised runs are fitted together with the distillations."""
        return self.supervised_rows is not None

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of all coefficients, fixed ones too."""
        extra = tuple(SUPERVISED_PREFIX + name for name in SUPERVISED) if self.joint else ()
        return self.form.coefficients + extra

    @property
    def held(self) -> dict[str, float]:
        """Coefficients that are not fitted."""
        return {**self.form.fixed, **self.fixed}

    @property
    def free(self) -> tuple[str, ...]:
        """Coefficients that are fitted."""
        return tuple(name for name in self.coefficients if name not in self.held)

    def require_free(self) -> None:
        """ProblemError where every coefficient is held."""
        if not self.free:
            raise ProblemError("every coefficient is held; leave at least one free to fit.")

    @property
    def observed(self) -> Array:
        """Measured log cross-entropies, distillations first, (n,)."""
        parts = [self.rows.log_loss]
        if self.supervised_rows is not None:
            parts.append(self.supervised_rows.log_loss)
        return np.concatenate(parts)

    @property
    def origin(self) -> tuple[float, float]:
        """Reference run of the power law's coordinates: means of log N and log D."""
        rows = self.rows
        if not len(rows) and self.supervised_rows is not None:
            rows = self.supervised_rows
        return float(rows.log_parameters.mean()), float(rows.log_tokens.mean())

    def model(self, rows: Rows | None = None, raw: tuple[str, ...] = ()) -> Model:
        """The model of these runs; of other `rows` with the same coordinates to predict them.

        raw: coefficients that must be coordinates themselves (for a profile along them).
        """
        where = self.rows if rows is None else rows
        block = Block.of(where, self.origin)
        if self.form.plain:
            return Model(self._coordinates(raw), self.held, block, law=self._bound_law())
        chosen = self._coordinates(raw)
        if self.form.kind == "supervised":
            return Model(chosen, self.held, supervised=block)
        if self.supervised_law is not None:
            frozen = np.log(self.supervised_law.loss(where.parameters, where.tokens))
            return Model(chosen, self.held, distillation=block, frozen_log_supervised=frozen)
        beside = None
        if rows is None and self.supervised_rows is not None:
            beside = Block.of(self.supervised_rows, self.origin)
        return Model(chosen, self.held, block, beside, prefix=SUPERVISED_PREFIX)

    def _coordinates(self, raw: tuple[str, ...]) -> tuple[Coordinate, ...]:
        names: list[str] = []
        if self.form.plain:
            return tuple(
                coordinate(
                    name, self.bounds.get(name, self.form.bounds(name)),
                    name in self.form.may_be_zero,
                )
                for name in self.free
            )  # fmt: skip
        if self.form.kind == "distillation":
            names += self._power("", raw) + self._free(("c0",), "") + self._gap(raw)
            if self.joint:
                names += self._free(("E",), SUPERVISED_PREFIX)
                names += self._power(SUPERVISED_PREFIX, raw)
        else:
            names += self._free(("E",), "") + self._power("", raw)
        return tuple(coordinate(name, self.bounds.get(name)) for name in names)

    def _bound_law(self) -> Law:
        """The law of its coefficients alone: a distillation law with its supervised law in."""
        if self.supervised_law is None:
            return self.form.law
        return partial(self.form.law, supervised=self.supervised_law)

    def _free(self, names: tuple[str, ...], prefix: str) -> list[str]:
        return [prefix + name for name in names if prefix + name not in self.held]

    def _touched(self, names: tuple[str, ...], prefix: str, raw: tuple[str, ...]) -> bool:
        wished = {*self.held, *self.bounds, *raw}
        return any(prefix + name in wished for name in names)

    def _power(self, prefix: str, raw: tuple[str, ...]) -> list[str]:
        plain = self._touched(_POWER, prefix, raw)
        own = _POWER if plain else ("h", "P", "Q", "s")
        return self._free((*own, "gamma"), prefix)

    def _gap(self, raw: tuple[str, ...]) -> list[str]:
        own = _GAP if self._touched(_GAP, "", raw) else ("K", "eps")
        return self._free((*own, "f1"), "")


def default_bounds(task: Task, name: str) -> Range:
    """The bounds that hold for a coefficient: the user's, or the usual wide ones."""
    return task.bounds.get(name, task.form.bounds(name))


def _own(name: str) -> str:
    return name.rpartition(".")[2]


def read_fixed(texts: Iterable[str], option: str = "--fix") -> dict[str, float]:
    """Names and the values they are held at; QuantityError for a text that is no NAME=VALUE."""
    return {name: _number(option, name, text) for name, text in _pairs(option, texts).items()}


def read_bounds(texts: Iterable[str], option: str = "--bound") -> dict[str, Range]:
    """Names and their ranges; QuantityError for a text that is no NAME=LOW:HIGH."""
    found: dict[str, Range] = {}
    for name, text in _pairs(option, texts).items():
        low, colon, high = text.partition(":")
        if not colon:
            raise QuantityError(f"{option} {name}={text}: write it like {name}=0.2:0.5.")
        found[name] = (_number(option, name, low), _number(option, name, high))
    return found


def _pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise QuantityError(f"{option} '{text}': write NAME=VALUE, like c0=2.5.")
        if name in found:
            raise QuantityError(f"{option} {name} is given twice; keep one.")
        found[name] = value
    return found


def _number(option: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise QuantityError(f"{option} {name}: '{text}' is not a number.") from None
