"""The measured runs as the fitter sees them, and which of their columns look wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coefficients import load
from laws._types import Array
from planner import units


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


_RATIOS = (1.0, 3e3)
"""Median tokens per parameter that scaling studies have; 20 is compute-optimal, 200 common."""
_SENSIBLE = (3.0, 1e3)
_LEVELS = (0.5, 1.6)
"""Median loss over that of the published law: other corpora and tokenizers stay within."""
_AS_PREDICTED = (0.75, 1.33)
_BITS = (1.32, 1.57)
"""Levels about 1 / ln 2 = 1.44, which losses in bits per token of web text have."""
EPOCHS = 4.0
"""Passes over the same tokens up to which repeated data are nearly as good as new ones
(Muennighoff et al. 2023)."""


def implausible(rows: Rows) -> tuple[str, ...]:
    """What about the runs as a whole does not look right, one sentence each."""
    return (*_ratio(rows), *_level(rows), *_repeated(rows))


def _repeated(rows: Rows) -> tuple[str, ...]:
    if rows.unique_tokens is None:
        return ()
    epochs = rows.tokens / rows.unique_tokens
    many = int((epochs > EPOCHS).sum())
    if not many:
        return ()
    return (
        f"{many} of {len(rows)} runs repeat their data more than {EPOCHS:g} times (median "
        f"{units.format_ratio(float(np.median(epochs)))} epochs, at most "
        f"{units.format_ratio(float(epochs.max()))}): a law of sizes and tokens takes repeated "
        "tokens for new ones and will predict such runs too low.",
    )


def _ratio(rows: Rows) -> tuple[str, ...]:
    ratio = float(np.median(rows.tokens / rows.parameters))
    if _RATIOS[0] <= ratio <= _RATIOS[1]:
        return ()
    guesses = {
        "parameters and tokens swapped": 1.0 / ratio,
        "tokens a thousandfold too large": ratio / 1e3,
        "tokens a thousandfold too small": ratio * 1e3,
    }
    likely = [
        f"{guess} (then it would be {units.format_ratio(then)})"
        for guess, then in guesses.items()
        if _SENSIBLE[0] <= then <= _SENSIBLE[1]
    ]
    question = f": are {' or '.join(likely)}?" if likely else ": are both columns in the same unit?"
    return (
        f"CHECK THE COLUMNS: the runs have {units.format_ratio(ratio)} tokens per parameter in the "
        f"middle, where scaling studies have 5 to 500{question}",
    )


def _level(rows: Rows) -> tuple[str, ...]:
    published = load()
    expected = published.supervised.loss(rows.parameters, rows.tokens)
    level = float(np.median(rows.loss / expected))
    if _BITS[0] <= level <= _BITS[1]:
        return (
            f"CHECK THE LOSSES: in the middle they are {level:.2f} times what {published.name} "
            "predicts for these sizes and tokens. Bits per token are 1.44 times nats per token: if "
            "these are bits, multiply them by 0.6931.",
        )
    if _LEVELS[0] <= level <= _LEVELS[1]:
        return ()
    text = (
        f"CHECK THE LOSSES: in the middle they are {level:.2f} times what {published.name} "
        "predicts for these sizes and tokens"
    )
    above = rows.loss[rows.loss > 1.0]
    if level > 1.0 and above.size > rows.loss.size / 2:
        logs = float(np.median(np.log(np.maximum(rows.loss, 1.01)) / expected))
        if _AS_PREDICTED[0] <= logs <= _AS_PREDICTED[1]:
            return (
                f"{text}, and their logarithms {logs:.2f} times: these look like perplexities; "
                "give cross-entropies in nats per token, log(perplexity).",
            )
    return (f"{text}: are they nats per token of text (not bits, bytes, sums or perplexities)?",)
