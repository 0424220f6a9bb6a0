"""Budgets written as hardware and time."""

from __future__ import annotations

import pytest

from planner.accelerators import ACCELERATORS, UTILISATION, named, parse_hardware
from planner.errors import QuantityError
from planner.units import parse_flops

DAY = 86400.0


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("64xH100*14d", 64 * 989.4e12 * 14 * DAY * UTILISATION),
        ("64 x H100 * 2 weeks", 64 * 989.4e12 * 14 * DAY * UTILISATION),
        ("64 x H100 * 14 days", 64 * 989.4e12 * 14 * DAY * UTILISATION),
        ("8xA100*36h@45%", 8 * 312e12 * 36 * 3600 * 0.45),
        ("2xH100 PCIe*3d@0.5", 2 * 756.5e12 * 3 * DAY * 0.5),
        ("1000 H100-hours", 1000 * 989.4e12 * 3600 * UTILISATION),
        ("10 H200-days@50%", 10 * 989.4e12 * DAY * 0.5),
        ("128xTPU v5p*30d@55%", 128 * 459e12 * 30 * DAY * 0.55),
    ],
)
def test_hardware_budgets_are_devices_times_peak_times_time(text: str, flops: float) -> None:
    """The FLOPs are count x peak x seconds x utilisation."""
    assert parse_flops(text) == pytest.approx(flops)


@pytest.mark.parametrize("text", ["1e21", "30 PFLOP-days", "1 ZFLOP", "2 EFLOPs", "64xH100", ""])
def test_other_budgets_are_left_to_the_units(text: str) -> None:
    """Plain amounts of compute are no hardware."""
    assert parse_hardware(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("64xH900*14d", "unknown accelerator 'H900'"),
        ("64xH100*14d@400%", "between 0 and 1"),
        ("64xH100*14d@0%", "between 0 and 1"),
        ("0xH100*14d", "positive"),
        ("64xH100*1.2.3d", "not a number"),
        ("64xH100*3months", "not a unit of time"),
        ("64xH100*3mo", "not a unit of time"),
        ("64xH100*14d@.", "not a number"),
        ("_xH100*14d", "not a number"),
        ("9" * 20_000, "20,000 characters"),
    ],
)
def test_bad_hardware_is_refused_in_a_sentence(text: str, says: str) -> None:
    """Unknown devices and impossible shares are named."""
    with pytest.raises(QuantityError, match=says):
        parse_flops(text)


def test_every_accelerator_can_be_named_and_cites_its_peak() -> None:
    """The catalogue is usable by name and says where its numbers are from."""
    for accelerator in ACCELERATORS:
        assert named(accelerator.name) is accelerator
        assert accelerator.source
        assert 1e13 < accelerator.bf16_flops < 1e16


def test_what_is_assumed_is_said() -> None:
    """A budget without a utilisation tells which one it assumes."""
    hardware = parse_hardware("64xH100*14d")
    assert hardware is not None

    assert "40%" in str(hardware)
    assert "assumed" in str(hardware)
    assert "assumed" not in str(parse_hardware("64xH100*14d@40%"))
