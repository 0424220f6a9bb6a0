"""The decoder: shapes, counts, causality."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from laws.architecture import Family
from planner.errors import PlannerError
from planner.trainer.loss import LinearLoss
from planner.trainer.model import Config, Decoder, build
from tests.trainer.conftest import VOCABULARY, config

SMALL = Config(2, aspect_ratio=48, head_size=16, vocabulary=300, context=24, ffn_multiple=8)
SHAPES = [SMALL, Config(3, 32, 32, 100, 16, 32), Config(1, 128, 128, 64, 8)]


@pytest.mark.parametrize("config", SHAPES)
def test_parameters_are_counted_exactly(config: Config) -> None:
    """N is the number of parameters that exist, the tied embedding apart."""
    model = build(config, seed=0)
    total = sum(p.numel() for p in model.parameters())
    assert config.parameters == total - config.vocabulary * config.d_model
    family = Family(config.aspect_ratio, config.head_size, ffn_multiple=config.ffn_multiple)
    assert config.parameters == family.build(config.layers).parameters


@pytest.mark.parametrize("config", SHAPES)
def test_flops_equal_pytorchs_counter(config: Config) -> None:
    """Forward FLOPs are what PyTorch counts, and a training step is exactly three times that."""
    model = build(config, seed=0)
    tokens = torch.zeros(3, config.context, dtype=torch.long)
    # The counter sees no fused attention kernel on a CPU; the plain one it sees.
    with FlopCounterMode(display=False) as forward, sdpa_kernel(SDPBackend.MATH):
        model(tokens, lambda hidden, head: hidden @ head.T)
    assert forward.get_total_flops() == config.flops.dense * tokens.numel()
    # In-place products are missing from its registry as well.
    in_place = {torch.ops.aten.addmm_: product_flops}
    counter = FlopCounterMode(display=False, custom_mapping=in_place)
    with counter as both, sdpa_kernel(SDPBackend.MATH):
        loss = LinearLoss(None)
        model(tokens, lambda h, w: loss(h.flatten(0, 1), w, tokens.flatten())[0]).backward()
    assert both.get_total_flops() == 3 * config.flops.dense * tokens.numel()


def product_flops(
    _: torch.Size, a: torch.Size, b: torch.Size, out_shape: torch.Size | None = None
) -> int:
    return 2 * a[0] * a[1] * b[1]


@pytest.mark.parametrize("layers", [3, 6, 9, 24])
def test_flops_agree_with_the_laws_convention(layers: int) -> None:
    """Where 8/3 d is a whole multiple, the structural count with causal attention is Eq. 69's."""
    config = Config(layers)
    law = float(config.law_flops(config.parameters))
    assert config.flops.causal == pytest.approx(law, rel=2e-3)


def test_a_position_sees_only_its_past() -> None:
    """Changing a token leaves every earlier hidden state as it was, and changes its own."""
    model = build(SMALL, seed=0)
    tokens = torch.arange(24)[None] % 7
    changed = tokens.clone()
    changed[0, 15] = 200
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :15], after[:, :15])
    assert not torch.allclose(before[:, 15], after[:, 15], atol=1e-3)


def test_positions_enter_through_attention() -> None:
    """Rotary positions tell the orders of the same tokens apart."""
    model = build(SMALL, seed=0)
    one, other = model(torch.tensor([[1, 2, 3]])), model(torch.tensor([[2, 1, 3]]))
    assert not torch.allclose(one[0, 2], other[0, 2], atol=1e-3)


def test_the_same_seed_gives_the_same_model() -> None:
    """Weights follow from the seed and leave the caller's random state alone."""
    state = torch.get_rng_state()
    one, other = build(SMALL, seed=3), build(SMALL, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.embedding, build(SMALL, seed=4).embedding)


def test_initial_scales() -> None:
    """Matrices start as N(0, 1/fan_in), the embedding as N(0, 1/d), gains at one."""
    config = Config(1, aspect_ratio=256, head_size=64, vocabulary=512, context=8)
    block = build(config, seed=0).blocks[0]
    for linear in (block.attention.query, block.ffn.gate, block.ffn.down):
        fan_in = linear.weight.shape[1]
        assert linear.weight.std().item() == pytest.approx(fan_in**-0.5, rel=0.02)
    assert build(config, seed=0).embedding.std().item() == pytest.approx(256**-0.5, rel=0.02)
    assert torch.equal(block.attention.query_norm.weight, torch.ones(64))


def test_recomputation_changes_no_gradient() -> None:
    """Activation checkpointing gives the same gradients."""
    tokens = torch.arange(24)[None]
    gradients = []
    for recompute in (False, True):
        model = build(SMALL, seed=0)
        model.recompute = recompute
        model(tokens).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_unbuildable_models_are_refused() -> None:
    """Heads that do not divide the width are named in the message."""
    with pytest.raises(PlannerError, match="head size of 48"):
        Config(1, aspect_ratio=64, head_size=48)


def test_no_document_reads_another() -> None:
    """With their numbers, what follows in a sequence does not depend on the document before."""
    model = build(config(2), 0)
    one, two = torch.randint(VOCABULARY, (2, 1, 32), generator=torch.Generator().manual_seed(0))
    two[:, 12:] = one[:, 12:]
    documents = (torch.arange(32) >= 12).long()[None]
    with torch.no_grad():
        apart = [model(tokens, documents=documents) for tokens in (one, two)]
        together = [model(tokens) for tokens in (one, two)]
        alone = model(one[:, 12:])
    torch.testing.assert_close(apart[0][:, 12:], apart[1][:, 12:])
    # rotary positions are relative: a document is the same wherever it stands
    torch.testing.assert_close(apart[0][:, 12:], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0][:, 12:], together[1][:, 12:])


def test_weights_are_drawn_alike_whole_and_in_place() -> None:
    """What fills a model without memory is what a whole one is built with."""
    with torch.device("meta"):
        empty = Decoder(config(2))
    empty = empty.to_empty(device="cpu")
    empty.reset_tables()
    empty.initialise(5)
    built = build(config(2), 5)
    for p, q in zip(empty.parameters(), built.parameters(), strict=True):
        assert torch.equal(p, q)
    tokens = torch.arange(32)[None]
    assert torch.equal(empty(tokens), built(tokens))
