"""The measured runs as the fitter sees them: logarithms, weights and group labels, no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laws._types import Array


@dataclass(frozen=True)
class Rows:
    """Runs of one kind. Arrays have shape (n,); sizes in parameters, tokens, losses in nats.

    `teacher_loss` is None for supervised runs. `group` labels runs that share their noise.
    `unique_tokens` are the distinct tokens behind `tokens` where data were repeated, None if the
    runs do not say.
    """

    parameters: Array
    tokens: Array
    loss: Array
    teacher_loss: Array | None = None
    group: NDArray[np.int64] | None = None
    unique_tokens: Array | None = None

    def __len__(self) -> int:
        return int(self.loss.size)

    @property
    def log_parameters(self) -> Array:
        """log N."""
        return np.asarray(np.log(self.parameters))

    @property
    def log_tokens(self) -> Array:
        """log D."""
        return np.asarray(np.log(self.tokens))

    @property
    def log_loss(self) -> Array:
        """log of the measured cross-entropy."""
        return np.asarray(np.log(self.loss))

    @property
    def log_teacher(self) -> Array:
        """log of the teacher's cross-entropy; only distillation runs have one."""
        if self.teacher_loss is None:
            raise AttributeError("supervised runs have no teacher")
        return np.asarray(np.log(self.teacher_loss))

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Rows:
        """The runs picked by a mask or by indices."""
        return Rows(
            self.parameters[which],
            self.tokens[which],
            self.loss[which],
            None if self.teacher_loss is None else self.teacher_loss[which],
            None if self.group is None else self.group[which],
            None if self.unique_tokens is None else self.unique_tokens[which],
        )
