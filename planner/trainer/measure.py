"""What a model is worth: cross-entropy on held-out text, KL to its teacher, calibration.

Expected calibration error as in Busbridge et al. 2025, Sec. E.8: 21 uniform bins of the top-1
confidence, ``ECE = sum_b n_b / n |accuracy_b - confidence_b|``, against the data's next token and
against the teacher's likeliest; the distributional form compares mean confidences of student and
teacher in bins of the student's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil, log

import numpy as np
import torch
from torch import Tensor

from planner.trainer.data import Split
from planner.trainer.engine import Engine
from planner.trainer.loss import IGNORE, Signal, chunks, signal_rows

BINS = 21
ROWS = 2_048  # tokens whose logits exist at once

Source = Callable[[Tensor, Tensor | None], Signal]
"""From tokens (B, T) and the numbers of their documents, or None, to what a model says of them."""


@dataclass(frozen=True)
class Measures:
    """Means over held-out tokens, in nats where nothing else is said. None without a teacher."""

    tokens: int
    cross_entropy: float
    bits_per_byte: float
    accuracy: float
    ece: float
    kl: float | None = None
    ece_teacher: float | None = None
    ece_distribution: float | None = None
    documents: tuple[tuple[int, int, float], ...] = ()
    """Of every document: its number in the split, tokens measured, mean cross-entropy."""

    def to_dict(self) -> dict[str, float | None]:
        return {name: value for name, value in asdict(self).items() if name != "documents"}


class Tally:
    """Sums over tokens, in float64: per bin of confidence, and of CE and KL."""

    def __init__(self, device: torch.device, documents: int = 0) -> None:
        # rows: tokens, student confidence, right on data, agrees with teacher, teacher confidence
        self.bins = torch.zeros(5, BINS, dtype=torch.float64, device=device)
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)
        # rows: tokens, cross-entropy
        self.documents = torch.zeros(2, documents, dtype=torch.float64, device=device)

    def add(
        self,
        logits: Tensor,
        labels: Tensor,
        teacher: Tensor | None,
        documents: Tensor | None = None,
    ) -> None:
        """Count one chunk: logits (M, V), labels (M,), the teacher's logits (M, V) or none, and
        the number of the document of each token (M,)."""
        counted = labels != IGNORE
        log_q = torch.log_softmax(logits, dim=-1)
        confidence, best = log_q.max(dim=-1)
        confidence = confidence.exp()
        place = (confidence * BINS).long().clamp(max=BINS - 1)
        cross_entropy = -log_q.gather(1, labels.clamp(min=0)[:, None])[:, 0]
        kl = agrees = sure = torch.zeros_like(confidence)
        if teacher is not None:
            log_p = torch.log_softmax(teacher, dim=-1)
            kl = (log_p.exp() * (log_p - log_q)).sum(-1)
            sure, likeliest = log_p.max(dim=-1)
            sure, agrees = sure.exp(), (best == likeliest).float()
        ones = torch.ones_like(confidence)
        rows = torch.stack((ones, confidence, (best == labels).float(), agrees, sure))
        self.bins.index_add_(1, place, (rows * counted).double())
        self.sums += (torch.stack((cross_entropy, kl)) * counted).double().sum(1)
        if documents is not None:
            both = torch.stack((ones, cross_entropy)) * counted
            self.documents.index_add_(1, documents, both.double())

    def measures(self, bytes_per_token: float, with_teacher: bool) -> Measures:
        """The means, once every chunk was counted."""
        bins = self.bins.cpu().numpy()
        tokens = bins[0].sum()
        cross_entropy, kl = (self.sums.cpu().numpy() / tokens).tolist()

        def gap(row: int) -> float:  # sum over bins of n_b / n |mean_b - confidence_b|
            return float(np.abs(bins[row] - bins[1]).sum() / tokens)

        return Measures(
            tokens=int(tokens),
            cross_entropy=cross_entropy,
            bits_per_byte=cross_entropy / bytes_per_token / log(2),
            accuracy=float(bins[2].sum() / tokens),
            ece=gap(2),
            kl=kl if with_teacher else None,
            ece_teacher=gap(3) if with_teacher else None,
            ece_distribution=gap(4) if with_teacher else None,
            documents=tuple(
                (number, int(count), float(total / count))
                for number, (count, total) in enumerate(self.documents.cpu().numpy().T)
                if count
            ),
        )


@torch.no_grad()
def evaluate(
    logits_of: Source,
    split: Split,
    context: int,
    engine: Engine,
    *,
    batch: int = 8,
    max_tokens: int | None = None,
    source: Source | None = None,
    masked: bool = False,
) -> Measures:
    """Measure a model on sequences of about `max_tokens` tokens of a split (None: all of it).

    They are drawn from all of the split, the same for every model. `logits_of` makes the model's
    distributions for tokens (B, T) and the numbers of their documents, which are None unless
    `masked`; `source` is its teacher. The processes of one run share the sequences and all get the
    same result.
    """
    chosen = split.sample(context, max_tokens)
    tally = Tally(engine.device, len(split.documents) - 1)
    stride = batch * engine.world
    for group in range(ceil(len(chosen) / stride)):
        wanted = group * stride + engine.rank * batch + np.arange(batch)
        # every process makes the same number of calls
        indices = chosen[np.minimum(wanted, len(chosen) - 1)]
        data = split.batch(indices, context).astype(np.int64)
        labels = np.where((wanted < len(chosen))[:, None], data[:, 1:], IGNORE).reshape(-1)
        tokens, label = engine.tensor(data[:, :-1].copy()), engine.tensor(labels)
        owners = engine.tensor(split.document_of(indices, context))
        seen = owners if masked else None
        model = logits_of(tokens, seen)
        teacher = source(tokens, seen) if source else None
        for rows in chunks(len(label), ROWS):
            logits = signal_rows(model, rows)[0]
            assert logits is not None
            tally.add(logits, label[rows], signal_rows(teacher, rows)[0], owners.flatten()[rows])
    for sums in (tally.bins, tally.sums, tally.documents):
        engine.total(sums)
    return tally.measures(split.bytes / split.tokens, source is not None)
