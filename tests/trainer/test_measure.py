"""Held-out cross-entropy and calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from planner.trainer.data import Dataset
from planner.trainer.engine import Engine
from planner.trainer.loss import IGNORE
from planner.trainer.measure import BINS, Tally, evaluate
from planner.trainer.model import build
from planner.trainer.teachers import OwnHead, load_teacher
from tests.trainer.conftest import config


def test_measures_follow_their_definitions() -> None:
    """CE, KL and the three calibration errors equal a plain computation, token by token."""
    torch.manual_seed(0)
    logits, teacher = 2 * torch.randn(500, 7), 2 * torch.randn(500, 7)
    labels = torch.randint(7, (500,))
    labels[::9] = IGNORE
    tally = Tally(torch.device("cpu"))
    for rows in (slice(0, 130), slice(130, 500)):
        tally.add(logits[rows], labels[rows], teacher[rows])
    got = tally.measures(2.0, True)
    keep = labels != IGNORE
    q, p = torch.softmax(logits[keep], -1).numpy(), torch.softmax(teacher[keep], -1).numpy()
    label = labels[keep].numpy()
    confidence, best = q.max(1), q.argmax(1)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)

    def ece(values: np.ndarray) -> float:
        bins = [place == b for b in range(BINS) if (place == b).any()]
        return sum(b.mean() * abs(values[b].mean() - confidence[b].mean()) for b in bins)

    ce = functional.cross_entropy(logits[keep], labels[keep]).item()
    assert got.tokens == keep.sum()
    assert got.cross_entropy == pytest.approx(ce, rel=1e-5)
    assert got.bits_per_byte == pytest.approx(ce / 2 / np.log(2), rel=1e-5)
    assert got.kl == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-4)
    assert got.accuracy == pytest.approx((best == label).mean())
    assert got.ece == pytest.approx(ece(best == label), rel=1e-4)
    assert got.ece_teacher == pytest.approx(ece(best == p.argmax(1)), rel=1e-4)
    assert got.ece_distribution == pytest.approx(ece(p.max(1)), rel=1e-4)


def test_a_calibrated_model_has_no_error_and_an_overconfident_one_has() -> None:
    """Labels drawn from the model itself give a small error; a sharpened model a large one."""
    torch.manual_seed(0)
    logits = torch.randn(40_000, 5)
    labels = torch.multinomial(torch.softmax(logits, -1), 1)[:, 0]
    errors = []
    for sharpening in (1.0, 4.0):
        tally = Tally(torch.device("cpu"))
        tally.add(sharpening * logits, labels, None)
        errors.append(tally.measures(1.0, False).ece)
    assert errors[0] < 0.02
    assert errors[1] > 0.2


def test_evaluation_covers_the_held_out_text_once(dataset: Dataset, engine: Engine) -> None:
    """The result does not depend on the batch, and bounds are kept."""
    model = build(config(), 0)
    split = dataset.split("validation")
    results = [
        evaluate(OwnHead(model, config()), split, 32, engine, batch=batch, max_tokens=3_000)
        for batch in (1, 7)
    ]
    assert results[0].tokens == results[1].tokens == 3_000 // 32 * 32
    assert results[0].cross_entropy == pytest.approx(results[1].cross_entropy, rel=1e-6)
    assert results[0].kl is None


def test_a_teacher_is_at_no_distance_from_itself(
    teacher_run: Path, dataset: Dataset, engine: Engine
) -> None:
    """KL and distributional calibration error of a model against itself vanish."""
    teacher = load_teacher(str(teacher_run), dataset, engine, 32)
    split = dataset.split("validation")
    got = evaluate(teacher.signal, split, 32, engine, max_tokens=2_000, source=teacher.signal)
    assert got.kl == pytest.approx(0, abs=1e-6)
    assert got.ece_distribution == pytest.approx(0, abs=1e-6)
    plain = evaluate(teacher.signal, split, 32, engine, max_tokens=2_000)
    assert plain == replace(got, kl=None, ece_teacher=None, ece_distribution=None)
