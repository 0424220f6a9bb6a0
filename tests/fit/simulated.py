"""Runs simulated from known laws, and the real ones where they are present."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coefficients import load
from laws import DistillationLaw, HoffmannLaw
from planner.fit import Rows, read_runs

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
HOFFMANN = HoffmannLaw(E=1.8, A=480.0, B=2100.0, alpha=0.35, beta=0.365)


def real_chinchilla(drop: int = 5) -> Rows:
    """The 245 Chinchilla runs without those of highest loss; skips where the file is absent."""
    rows = read_runs(_real("chinchilla_runs.csv"), distillation=False).rows
    order = np.argsort(rows.loss, kind="stable")
    return rows.take(np.sort(order[: len(rows) - drop]))


def real_distillations() -> Rows:
    """The 328 measured distillations; skips where the file is absent."""
    return read_runs(_real("distillation_runs.csv"), distillation=True).rows


def _real(name: str) -> Path:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"../shared/data/{name} is absent")
    return path


def supervised(runs: int = 120, noise: float = 0.004, seed: int = 1) -> Rows:
    """Runs of `HOFFMANN` with heavy-tailed noise in the log of the loss."""
    random = np.random.default_rng(seed)
    size = np.exp(random.uniform(np.log(5e7), np.log(1.5e10), runs))
    tokens = size * np.exp(random.uniform(np.log(3), np.log(200), runs))
    error = noise * random.standard_t(4, runs)
    return Rows(size, tokens, HOFFMANN.loss(size, tokens) * np.exp(error))


def published() -> DistillationLaw:
    """The published distillation law."""
    law = load("busbridge2025").distillation
    assert law is not None
    return law


def distillations(noise: float = 0.002, seed: int = 1, runs: int = 240) -> Rows:
    """Runs of the published law with students and teachers wider than the measured ones."""
    random = np.random.default_rng(seed)
    law = published()
    size = random.choice([1.4e8, 2.7e8, 5.5e8, 1.1e9, 2.7e9, 7.7e9], runs)
    tokens = size * random.choice([5.0, 20.0, 80.0, 320.0], runs)
    teacher = random.uniform(0.7, 1.3, runs) * law.supervised.loss(size, tokens)
    error = noise * random.standard_t(5, runs)
    loss = law.loss(size, tokens, teacher) * np.exp(error)
    return Rows(size, tokens, loss, teacher, np.arange(runs) // 8)
