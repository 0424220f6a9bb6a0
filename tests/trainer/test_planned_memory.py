"""Planned memory and file sizes against those of our own trainer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from planner.memory import LogitFormat, Setting, training_memory
from planner.trainer.data import Dataset
from planner.trainer.engine import Engine
from planner.trainer.logits import write_logits
from planner.trainer.loss import Dense, LinearLoss, Objective
from planner.trainer.model import Config, Decoder, build
from planner.trainer.teachers import load_teacher

CHUNK = 1 << 16


def shape(layers: int) -> Config:
    return Config(layers, aspect_ratio=64, head_size=64, context=128, vocabulary=512)


def measured_peak(config: Config, recompute: bool, batch: int, teacher: Config | None) -> int:
    """Bytes at the peak of a step of AdamW on a CPU, weights and states of models included."""
    model, guide = build(config, 0), None if teacher is None else build(teacher, 1)
    model.recompute = recompute
    optimiser = torch.optim.AdamW(model.parameters())
    tokens = torch.zeros(batch, config.context, dtype=torch.long)
    loss = LinearLoss(None if guide is None else Objective(), elements=CHUNK)

    def signal(guide: Decoder | None) -> Dense | None:
        if guide is None:
            return None
        with torch.no_grad():
            return Dense(guide(tokens).flatten(0, 1), guide.embedding)

    def step() -> None:
        value, _ = model(
            tokens, lambda h, w: loss(h.flatten(0, 1), w, tokens.flatten(), signal(guide))
        )
        value.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    step()  # the optimiser's moments exist from here on
    held = 3 * sum(p.nbytes for p in model.parameters())
    held += 0 if guide is None else sum(p.nbytes for p in guide.parameters())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    events = [
        (each.start_ns(), each.nbytes())
        for each in recorded.profiler.kineto_results.events()  # type: ignore[union-attr]
        if each.name() == "[memory]"
    ]
    changes = np.array([size for _, size in sorted(events, key=lambda each: each[0])])
    return held + int(changes.cumsum().max())


@pytest.mark.parametrize(
    ("layers", "recompute", "batch", "teacher"),
    [(3, False, 4, None), (3, True, 8, None), (5, False, 2, None), (5, True, 2, None),
     (3, False, 4, 5), (2, False, 1, 6)],
)  # fmt: skip
def test_planned_memory_is_within_15_percent_of_the_measured_peak(
    layers: int, recompute: bool, batch: int, teacher: int | None
) -> None:
    """Float32 on a CPU, one backward pass per step, with and without a teacher beside it."""
    config = shape(layers)
    setting = Setting(
        context=128, vocabulary=512, sequences=batch, checkpointing=recompute, compute=4,
        chunk=CHUNK, accumulating=False,
    )  # fmt: skip
    guide = None if teacher is None else shape(teacher)
    planned = training_memory(
        config.architecture, setting, None if guide is None else guide.architecture
    )
    measured = measured_peak(config, recompute, batch, guide)
    assert planned.total == pytest.approx(measured, rel=0.15)


def test_planned_file_sizes_are_those_of_a_store(
    tmp_path: Path, teacher_run: Path, dataset: Dataset, engine: Engine
) -> None:
    """Within 2% of the bytes on disk, for the top 16 of every position."""
    teacher = load_teacher(str(teacher_run), dataset, engine, 32)
    split = dataset.split("student")
    store = write_logits(tmp_path / "store", teacher, dataset, split, 32, 16, engine)
    written = sum(path.stat().st_size for path in store.directory.rglob("*") if path.is_file())
    tokens = store.key.windows * store.key.context
    planned = LogitFormat("top-k", 16, 32).bytes(tokens, dataset.vocabulary)
    assert planned == pytest.approx(written, rel=0.02)
