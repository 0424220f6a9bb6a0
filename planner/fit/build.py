"""From a form, runs and the user's wishes to a `Model` in the coordinates that suit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from laws import SupervisedLaw
from laws._types import Array
from planner.errors import ProblemError
from planner.fit.coordinates import (
    SUPERVISED,
    SUPERVISED_PREFIX,
    Coordinate,
    Range,
    coordinate,
)
from planner.fit.forms import Form, Law
from planner.fit.model import Block, Model
from planner.fit.rows import Rows

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
        return float(self.rows.log_parameters.mean()), float(self.rows.log_tokens.mean())

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
