"""muP (simple), independent weight decay, schedule."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

import pytest
import torch

from planner.errors import PlannerError
from planner.trainer.loss import LinearLoss
from planner.trainer.model import Config, build
from planner.trainer.optim import Hyper, make_optimizer, set_rate


def model_of(width: int, seed: int = 0) -> torch.nn.Module:
    return build(Config(1, width, 16, 64, 16, 8), seed)


@pytest.mark.parametrize(("width", "multiplier"), [(32, 1.0), (64, 1.0), (128, 0.5), (256, 0.25)])
def test_hidden_rates_fall_with_width(width: int, multiplier: float) -> None:
    """Hidden matrices take d_base / d_model of the peak rate, never more; the rest all of it."""
    model = model_of(width)
    hidden, rest = make_optimizer(model, Hyper(d_base=64)).param_groups  # type: ignore[arg-type]
    assert hidden["peak"] == pytest.approx(1e-2 * multiplier)
    assert rest["peak"] == 1e-2
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)].split(".")[-2] for p in hidden["params"]} == {
        "query", "key", "value", "output", "gate", "up", "down",
    }  # fmt: skip
    everything = [id(p) for group in (hidden, rest) for p in group["params"]]
    assert sorted(everything) == sorted(names)


@pytest.mark.parametrize(("rate", "d_base"), [(1e-2, 768), (3e-4, 16)])
def test_weight_decay_does_not_depend_on_the_learning_rate(rate: float, d_base: int) -> None:
    """Without gradients every parameter shrinks by prod(1 - lambda s_i), whatever eta and m are."""
    hyper = Hyper(learning_rate=rate, d_base=d_base, weight_decay=0.05)
    model = model_of(32)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = make_optimizer(model, hyper)  # type: ignore[arg-type]
    for step in range(10):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        set_rate(optimizer, hyper.schedule(step, 10))
        optimizer.step()
    factor = prod(1 - 0.05 * hyper.schedule(step, 10) for step in range(10))
    for old, new in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(new, old * factor, rtol=1e-5, atol=1e-7)


def test_schedule() -> None:
    """Linear warm-up to the peak, then a cosine that ends at 1/1000 of it."""
    hyper = Hyper(warmup_steps=10)
    values = [hyper.schedule(step, 100) for step in range(100)]
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10] == 1.0
    assert values[-1] == pytest.approx(1e-3)
    assert all(a > b for a, b in pairwise(values[10:]))
    assert Hyper().warmup(200) == 10
    assert Hyper().warmup(1_000_000) == 2_000


def test_coordinate_check() -> None:
    """After training steps at one rate, hidden states move by similar amounts at every width."""
    moved = []
    tokens = torch.randint(64, (8, 17), generator=torch.Generator().manual_seed(0))
    for width in (64, 128, 256, 512):
        model = model_of(width)
        hyper = Hyper(d_base=64, learning_rate=1e-2, warmup_steps=1)
        optimizer, loss = make_optimizer(model, hyper), LinearLoss(None, 1e-4)  # type: ignore[arg-type]
        start = features(model, tokens[:, :-1])
        for _ in range(5):
            value, _ = model(
                tokens[:, :-1],
                lambda h, w: loss(h.flatten(0, 1), w, tokens[:, 1:].flatten()),  # noqa: B023
            )
            (value / tokens[:, 1:].numel()).backward()
            optimizer.step()
            optimizer.zero_grad()
        moved.append((features(model, tokens[:, :-1]) - start).square().mean().sqrt().item())
    assert max(moved) / min(moved) < 2.0, moved


def features(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """What the block adds to the residual stream."""
    block = model.blocks[0]
    with torch.no_grad():
        x = model.embedding[tokens] * model.config.d_model**0.5
        return block(x, model.cos[:16], model.sin[:16]) - x


@pytest.mark.parametrize(
    "given", [{"batch": -1}, {"learning_rate": 0.0}, {"d_base": 0}, {"max_epochs": float("nan")}]
)
def test_absurd_settings_are_refused(given: dict[str, Any]) -> None:
    """They would train backwards, or for ever, and call it done."""
    with pytest.raises(PlannerError):
        Hyper(**given)


def test_warmup_stable_decay() -> None:
    """Up, at the peak until the last share of the run, and linearly down."""
    hyper = Hyper(warmup_steps=10, schedule_form="wsd", decay_share=0.25, final_fraction=0.01)
    rates = [hyper.schedule(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (n + 1) for n in range(10)])
    assert rates[10:74] == [1.0] * 64
    assert rates[99] == pytest.approx(0.01)
    assert rates[87] == pytest.approx(0.01 + 0.99 * 12 / 25)
    for wrong in ({"decay_share": 0.0}, {"beta2": 1.5}, {"weight_decay": -1.0}):
        with pytest.raises(PlannerError, match=next(iter(wrong)).split("_")[0]):
            Hyper(**wrong)
