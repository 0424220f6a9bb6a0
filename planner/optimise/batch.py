"""Many planning problems as one struct of arrays, the only thing the optimiser sees.

Legend of this package; logarithms are natural, arrays of shape (problems,) or (boxes,):

    u  log student parameters      n  log teacher parameters     t  teacher cross-entropy L_T
    s  log student tokens          d  log teacher tokens         y  log(A N_T^-alpha + B D_T^-beta)

so that ``t = E + exp(gamma y)``. A batch may hold different laws, budgets, charges and bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from laws import DistillationForm, ForwardFlops, SupervisedLaw

Array: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True)
class Batch:
    """Problems to minimise: laws, and arrays of one length; bounds are inclusive logs.

    The laws' coefficients are numbers, or arrays with one element per problem. `distillation` is
    None where only the supervised optimum is asked for.
    """

    supervised: SupervisedLaw
    distillation: DistillationForm | None
    flops: ForwardFlops
    # budget in FLOPs, shares of the teacher's costs that it pays, tokens served
    budget: Array
    charge_inference: Array
    charge_pretraining: Array
    serving: Array
    # bounds
    u_low: Array
    u_high: Array
    s_low: Array
    s_high: Array
    n_low: Array
    n_high: Array
    d_low: Array
    d_high: Array
    ratio_low: Array  # s - u: log tokens per parameter of the student
    ratio_high: Array
    t_low: Array
    t_high: Array
    rho_low: Array  # L_T / L(N_S, D_S)
    rho_high: Array
    # an existing teacher: its cross-entropy (NaN: none, plan one) and its forward FLOPs per token
    teacher_loss: Array
    teacher_flops: Array

    def __len__(self) -> int:
        return int(self.budget.shape[0])

    def take(self, index: Index) -> Batch:
        """The problems at these positions; a batch of one broadcasts and is returned as it is."""
        if len(self) == 1:
            return self
        distillation = None if self.distillation is None else self.distillation.take(index)
        return Batch(
            self.supervised.take(index) if distillation is None else distillation.supervised,
            distillation,
            self.flops.take(index),
            *(getattr(self, name)[index] for name in _COLUMNS),
        )

    @property
    def law(self) -> DistillationForm:
        """The distillation law."""
        assert self.distillation is not None
        return self.distillation

    @property
    def existing(self) -> NDArray[np.bool_]:
        """Where the teacher exists already."""
        return ~np.isnan(self.teacher_loss)

    @classmethod
    def stack(cls, batches: Sequence[Batch]) -> Batch:
        """One batch after another; all of them under laws of one kind."""
        sizes = [len(batch) for batch in batches]
        first = batches[0].distillation
        distillation = (
            None if first is None else type(first).stack([batch.law for batch in batches], sizes)
        )
        supervised = (
            SupervisedLaw.stack([batch.supervised for batch in batches], sizes)
            if distillation is None
            else distillation.supervised
        )
        return cls(
            supervised,
            distillation,
            ForwardFlops.stack([batch.flops for batch in batches], sizes),
            *(np.concatenate([getattr(b, name) for b in batches]) for name in _COLUMNS),
        )

    @classmethod
    def broadcast(
        cls,
        supervised: SupervisedLaw,
        distillation: DistillationForm | None,
        flops: ForwardFlops,
        **values: Any,
    ) -> Batch:
        """From laws, numbers and arrays of one length; what is left out takes its neutral value."""
        filled = {**_NEUTRAL, **values}
        length = (distillation or supervised).length()
        columns = [np.atleast_1d(np.asarray(filled.pop(name), float)) for name in _COLUMNS]
        if filled:
            raise TypeError(f"a batch has no {', '.join(filled)}")
        arrays = np.broadcast_arrays(*columns, np.empty(length))[:-1]
        return cls(supervised, distillation, flops, *(np.ascontiguousarray(a) for a in arrays))


_COLUMNS = tuple(
    field.name
    for field in fields(Batch)
    if field.name not in ("supervised", "distillation", "flops")
)
_NEUTRAL: dict[str, Array | float] = {
    "serving": 0.0,
    "ratio_low": -np.inf,
    "ratio_high": np.inf,
    "t_low": 0.0,
    "t_high": np.inf,
    "rho_low": 0.0,
    "rho_high": np.inf,
    "teacher_loss": np.nan,
    "teacher_flops": 0.0,
}
