"""Devices that hold a plan, and stored logits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laws.architecture import Family
from planner.accelerators import named
from planner.errors import QuantityError
from planner.memory import (
    LogitFormat,
    Setting,
    all_parameters,
    decide_logits,
    inference_memory,
    least_devices,
    training_memory,
)

FAMILY = Family()
SETTING = Setting()


def test_states_are_sixteen_bytes_per_parameter() -> None:
    """Float32 weight, gradient and two moments; sharding divides them."""
    model = FAMILY.build(17)
    one = training_memory(model, SETTING)
    states = one.weights + one.gradients + one.optimiser
    assert states == 16 * all_parameters(model, SETTING.vocabulary)
    eight = training_memory(model, replace(SETTING, shards=8))
    assert eight.weights + eight.gradients + eight.optimiser == states / 8
    assert eight.activations == one.activations


@given(st.integers(8, 41), st.integers(1, 16), st.booleans(), st.sampled_from([1, 2, 8, 64]))
def test_memory_grows_with_what_it_holds(
    layers: int, sequences: int, checkpointing: bool, shards: int
) -> None:
    """More sequences and a teacher need more; checkpointing and sharding never need more."""
    model, setting = FAMILY.build(layers), Setting(sequences=sequences, shards=shards)
    plain = training_memory(model, setting).total
    assert training_memory(model, replace(setting, sequences=sequences + 1)).total > plain
    assert training_memory(model, replace(setting, checkpointing=True)).total < plain
    assert training_memory(model, replace(setting, shards=shards * 2)).total <= plain
    beside = training_memory(model, setting, teacher=FAMILY.build(20))
    assert beside.teacher == inference_memory(FAMILY.build(20), setting)
    assert beside.total > plain
    accumulating = training_memory(model, replace(setting, checkpointing=checkpointing))
    single = replace(setting, checkpointing=checkpointing, accumulating=False)
    assert training_memory(model, single).total <= accumulating.total


@given(st.integers(8, 41), st.booleans(), st.sampled_from(["H100", "A100", "L4", "B200"]))
def test_the_least_number_of_devices_is_the_least(
    layers: int, checkpointing: bool, device: str
) -> None:
    """It fits, and half of it does not."""
    model, memory = FAMILY.build(layers), named(device).memory
    assert memory is not None
    setting = Setting(checkpointing=checkpointing)
    found = least_devices(model, setting, memory)
    if found.devices is None:
        assert "GB are needed" in found.reason
        assert training_memory(model, replace(setting, shards=65_536)).total > 0.9 * memory
        return
    assert training_memory(model, replace(setting, shards=found.devices)).total <= 0.9 * memory
    if found.devices > 1:
        half = replace(setting, shards=found.devices // 2)
        assert training_memory(model, half).total > 0.9 * memory


def test_what_no_number_of_devices_holds_gets_advice() -> None:
    """Activations of one sequence are not sharded: checkpoint, or fewer sequences."""
    big, setting = FAMILY.build(40), Setting(sequences=16)
    assert "checkpointing" in least_devices(big, setting, 24e9).reason
    setting = replace(setting, sequences=64, checkpointing=True)
    assert "fewer sequences" in least_devices(big, setting, 24e9).reason


@pytest.mark.parametrize(
    ("kind", "entries", "vocabulary", "size"),
    [
        ("full", 0, 32_168, 128_672),  # the paper's 129 KB per token
        ("top-k", 128, 32_168, 512 + 8 / 4096),
        ("top-k", 128, 128_256, 768 + 8 / 4096),
        ("sampled", 12, 32_168, 48 + 8 / 4096),
    ],
)
def test_bytes_per_token_of_stored_logits(
    kind: str, entries: int, vocabulary: int, size: float
) -> None:
    """Float32 logits, or ids and half-precision values as the trainer writes them."""
    store = LogitFormat(kind, entries)  # type: ignore[arg-type]
    assert store.bytes_per_token(vocabulary) == size
    assert store.bytes(1e9, vocabulary) == 1e9 * size
    assert store.stream(1e6, vocabulary) == 1e6 * size


def test_the_papers_petabytes() -> None:
    """Full logits over 2T tokens take about 260 PB."""
    assert LogitFormat("full").bytes(2e12, 32_168) == pytest.approx(260e15, rel=0.02)


def test_impossible_stores_are_refused() -> None:
    """No entries, or more than the vocabulary."""
    with pytest.raises(QuantityError, match="at least one entry"):
        LogitFormat("sampled")
    with pytest.raises(QuantityError, match="vocabulary of 100"):
        LogitFormat("top-k", 101).bytes_per_token(100)


@given(
    st.floats(1, 1e6), st.floats(1e9, 1e17), st.integers(1, 50),
    st.floats(0.1, 10), st.floats(0, 100), st.floats(0.1, 12),
)  # fmt: skip
def test_the_cheaper_way_to_have_logits_is_chosen(
    hours: float, size: float, passes: int, price: float, disk: float, months: float
) -> None:
    """Online pays the teacher every pass, stored once and the disk; the share is for Eq. 9."""
    found = decide_logits(
        hours, size, passes=passes, price=price, storage_price=disk, months=months
    )
    assert found.online == pytest.approx(hours * passes * price)
    assert found.stored == pytest.approx(hours * price + size / 1e12 * disk * months)
    assert (found.method == "stored") == (found.stored < found.online)
    assert found.charge_inference == (1 / passes if found.method == "stored" else 1.0)


def test_without_prices_device_hours_are_compared() -> None:
    """One pass needs no store; two passes do, the disk being free."""
    assert decide_logits(100, 1e12).method == "online"
    twice = decide_logits(100, 1e12, passes=2)
    assert (twice.method, twice.unit, twice.stored) == ("stored", "device-hours", 100)
    with pytest.raises(QuantityError, match="at least once"):
        decide_logits(100, 1e12, passes=0.5)
