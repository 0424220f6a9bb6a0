"""Budgets written as hardware and time."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.accelerators import (
    UTILISATION,
    Accelerator,
    Offer,
    Price,
    accelerators,
    load_accelerators,
    named,
    parse_accelerators,
    parse_hardware,
    parse_price,
    plain_name,
)
from planner.errors import DocumentError, QuantityError
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
    for accelerator in accelerators():
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


@pytest.mark.parametrize("device", accelerators(), ids=lambda each: each.name)
def test_every_device_can_be_written_in_a_budget(device: Accelerator) -> None:
    """With and without x, by hours and by time, in any case: always the same device."""
    for name in (device.name, device.name.lower(), device.name.replace(" ", "-"), *device.aliases):
        for text in (f"8x{name}*1d", f"8 {name} * 1d", f"8 {name}-days", f"192 {name} hours"):
            found = parse_hardware(text)
            assert found is not None
            assert found.accelerator is device
            assert found.device_hours == 192


def test_budgets_say_what_they_are() -> None:
    """Device-hours and money do not pretend to be so many devices at once."""
    assert str(parse_hardware("8xH100*2h@50%")) == ("8 x H100 SXM for 2 h at 50% of 989.4 TFLOP/s")
    assert str(parse_hardware("$250k", H100_OFFER)) == (
        "100,000 GPU-hours of H100 SXM at 40% of 989.4 TFLOP/s"
    )


H100_OFFER = Offer(named("H100"), Price(2.5), 0.4)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("8xRTX4090*1d", "RTX 4090"),
        ("8 x rtx-4090 * 1d", "RTX 4090"),
        ("64 H100 * 14 days", "H100 SXM"),
        ("64 nvidia h100 pcie*14d", "H100 PCIe"),
        ("4xa100*1d", "A100 80GB"),
        ("16 x TPU-v5p * 2w", "TPU v5p"),
        ("2 mi300x*1h", "MI300X"),
        ("100 trn2-hours", "Trainium 2"),
        ("3 gb200-days @ 35%", "GB200"),
        ("1,000 H100 hours", "H100 SXM"),
    ],
)
def test_names_forgive_case_spaces_and_hyphens(written: str, name: str) -> None:
    """However a person writes a device, the catalogue's entry is found."""
    found = parse_hardware(written)
    assert found is not None
    assert found.accelerator.name == name


@pytest.mark.parametrize(
    ("written", "flops"),
    [
        ("1000 GPU-hours", 1000 * 3600 * 989.4e12 * 0.4),
        ("1k gpu hours@50%", 1000 * 3600 * 989.4e12 * 0.5),
        ("$250k", 100_000 * 3600 * 989.4e12 * 0.4),
        ("250,000 USD", 100_000 * 3600 * 989.4e12 * 0.4),
        ("$2.5M @ 20%", 1_000_000 * 3600 * 989.4e12 * 0.2),
    ],
)
def test_an_offer_turns_device_hours_and_money_into_flops(written: str, flops: float) -> None:
    """Device-hours take the accelerator, money its price, both the utilisation of the offer."""
    assert parse_flops(written, offer=H100_OFFER) == pytest.approx(flops, rel=1e-12)


@pytest.mark.parametrize(
    ("written", "offer", "says"),
    [
        ("1000 GPU-hours", Offer(), "which accelerator"),
        ("$250k", Offer(), "--accelerator H100 and --price"),
        ("$250k", Offer(named("H100")), "add --price"),
        ("€250k", H100_OFFER, "one currency"),
        ("$250€", H100_OFFER, "two currencies"),
        ("250k", H100_OFFER, "money like"),
        ("64xH100*14d@140%", H100_OFFER, "between 0 and 1"),
        ("64xH10*14d", H100_OFFER, "did you mean H100"),
        ("64xRTX4900*14d", H100_OFFER, "RTX 4090"),
        ("64xH100*14 fortnights", H100_OFFER, "not a unit of time"),
    ],
)
def test_what_an_offer_lacks_is_said_in_a_sentence(written: str, offer: Offer, says: str) -> None:
    """Missing accelerators and prices, foreign currencies, near names."""
    with pytest.raises(QuantityError, match=says):
        parse_flops(written, offer=offer)


@pytest.mark.parametrize(
    ("written", "amount", "currency"),
    [
        ("2.50", 2.5, "$"),
        (2.5, 2.5, "$"),
        ("$2.50/h", 2.5, "$"),
        ("2 EUR per GPU-hour", 2.0, "€"),
        ("$48/day", 2.0, "$"),
    ],
)
def test_prices_are_per_device_hour(written: str | float, amount: float, currency: str) -> None:
    """A bare number is dollars per device-hour."""
    assert parse_price(written) == Price(amount, currency)


@pytest.mark.parametrize("written", ["", "$", "-2", "0", "2.5/", "2.5/mile", "two", "2.5 per"])
def test_prices_without_their_unit_are_refused(written: str) -> None:
    """No silent guess of what the money buys."""
    with pytest.raises(QuantityError):
        parse_price(written)


@given(
    count=st.integers(1, 100_000),
    hours=st.floats(0.1, 1e4),
    percent=st.integers(1, 100),
    device=st.sampled_from(accelerators()),
    price=st.floats(0.01, 100),
)
def test_money_time_and_flops_are_one_budget(
    count: int, hours: float, percent: int, device: Accelerator, price: float
) -> None:
    """The FLOPs of devices for a time are those of their hours and of what the hours cost."""
    flops = parse_flops(f"{count}x{device.name}*{hours!r}h@{percent}%")
    offer = Offer(device, Price(price), percent / 100)
    assert parse_flops(f"{count * hours:.17f} GPU-hours", offer=offer) == pytest.approx(flops)
    assert parse_flops(f"${count * hours * price:.17f}", offer=offer) == pytest.approx(flops)


@given(st.text(alphabet="0123456789xX*@%$€.,_- hHdkmGPUAa", max_size=60))
def test_any_text_is_a_budget_or_a_sentence(text: str) -> None:
    """Nothing but QuantityError escapes."""
    try:
        found = parse_hardware(text, H100_OFFER)
    except QuantityError:
        return
    assert found is None or found.accelerator in accelerators()


TYPED = {  # read off third-party tables (TechPowerUp, Wikipedia's lists of chips), dense
    "A100 80GB": (312, None, 80, 400),
    "H100 SXM": (989, 1979, 80, 700),
    "H100 PCIe": (756, 1513, 80, 350),
    "H200": (989, 1979, 141, 700),
    "B200": (2250, 4500, 180, 1000),
    "GB200": (2500, 5000, 186, 1200),
    "MI300X": (1307, 2615, 192, 750),
    "MI355X": (2517, 5033, 288, 1400),
    "TPU v5e": (197, None, 16, None),
    "TPU v5p": (459, None, 95, None),
    "TPU v6e": (918, None, 32, None),
    "Trainium 2": (667, 1299, 96, None),
    "L40S": (362, 733, 48, 350),
    "RTX 4090": (165, 330, 24, 450),
    "RTX 5090": (210, 419, 32, 575),
}


@pytest.mark.parametrize("name", TYPED)
def test_the_catalogue_agrees_with_figures_from_elsewhere(name: str) -> None:
    """Peaks, memory and power to 1%: a sparse peak would be off by two."""
    found = named(name)
    given = (found.bf16_flops, found.fp8_flops, found.memory, found.power)
    for value, typed, unit in zip(given, TYPED[name], (1e12, 1e12, 1e9, 1.0), strict=True):
        if typed is None:
            assert value is None
        else:
            assert value == pytest.approx(typed * unit, rel=0.01)


EPOCH = Path(__file__).parents[3] / "shared" / "data" / "epoch_ml_hardware.csv"
OURS = {  # Epoch AI's names of the devices that both tables have
    "NVIDIA GB300 (Blackwell Ultra)": "GB300",
    "NVIDIA B300 (Blackwell Ultra)": "B300",
    "NVIDIA GB200": "GB200",
    "NVIDIA B200": "B200",
    "NVIDIA H200 SXM": "H200",
    "NVIDIA H100 NVL": "H100 NVL",
    "NVIDIA H100 SXM5 80GB": "H100 SXM",
    "NVIDIA H100 PCIe": "H100 PCIe",
    "NVIDIA H800 SXM5": "H800",
    "NVIDIA HGX H20": "H20",
    "NVIDIA GH200": "GH200",
    "NVIDIA A100 SXM4 80 GB": "A100 80GB",
    "NVIDIA A100 SXM4 40 GB": "A100 40GB",
    "NVIDIA L40": "L40",
    "NVIDIA L4": "L4",
    "NVIDIA A10G": "A10G",
    "NVIDIA A10 PCIe": "A10",
    "NVIDIA A40 PCIe": "A40",
    "NVIDIA RTX A6000": "RTX A6000",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
    "NVIDIA GeForce RTX 4080": "RTX 4080",
    "NVIDIA GeForce RTX 3090": "RTX 3090",
    "NVIDIA GeForce RTX 3090 Ti": "RTX 3090 Ti",
    "AMD Instinct MI355X": "MI355X",
    "AMD Instinct MI350X": "MI350X",
    "AMD Instinct MI325X": "MI325X",
    "AMD Instinct MI300X": "MI300X",
    "Intel Habana Gaudi3": "Gaudi 3",
    "Google TPU v7 Ironwood": "TPU7x",
    "Google TPU v6e Trillium": "TPU v6e",
    "Google TPU v5p": "TPU v5p",
    "Google TPU v5e": "TPU v5e",
    "Google TPU v4": "TPU v4",
    "Amazon Trainium3": "Trainium 3",
    "Amazon Trainium2": "Trainium 2",
    "Amazon Trainium1": "Trainium 1",
}
DIFFERENT = {  # where the two tables mean different things, and why
    ("RTX 4090", "bf16_flops"): "Epoch's has FP16 accumulation",
    ("RTX 3090 Ti", "bf16_flops"): "Epoch's has FP16 accumulation",
    ("MI355X", "fp8_flops"): "Epoch's is the MI350X's",
    ("GH200", "power"): "Epoch's is the GPU's alone",
    ("GH200", "bandwidth"): "Epoch's is the 144 GB version's",
    ("Trainium 1", "bandwidth"): "Epoch's is the instance's 16 chips together",
    ("A10G", "power"): "Epoch's is the A10's",
    ("TPU v4", "power"): "ours is the largest measured, Epoch's an estimate of the design's",
}


@pytest.mark.skipif(not EPOCH.exists(), reason="Epoch AI's hardware table is not on this machine")
def test_the_catalogue_agrees_with_epochs_table() -> None:
    """Every figure that both tables have, to 6%, but for the listed differences in meaning."""
    columns = {
        "bf16_flops": "Tensor-FP16/BF16 performance (FLOP/s)",
        "fp8_flops": "FP8 performance (FLOP/s)",
        "memory": "Memory (bytes)",
        "bandwidth": "Memory bandwidth (byte/s)",
        "power": "TDP (W)",
    }
    with EPOCH.open(encoding="utf-8", newline="") as file:
        rows = {row["Hardware name"]: row for row in csv.DictReader(file)}
    compared = 0
    for theirs, ours in OURS.items():
        for key, column in columns.items():
            value = getattr(named(ours), key)
            if value is None or not rows[theirs][column]:
                continue
            agree = value == pytest.approx(float(rows[theirs][column]), rel=0.06)
            assert agree != ((ours, key) in DIFFERENT), (ours, key, value, rows[theirs][column])
            compared += 1
    assert compared > 120


def test_names_are_unambiguous() -> None:
    """No two entries answer to one name."""
    names = [
        name
        for each in accelerators()
        for name in {plain_name(written) for written in (each.name, *each.aliases)}
    ]
    assert len(names) == len(set(names))


def test_ones_own_accelerator_comes_from_toml(tmp_path: Path) -> None:
    """A file of one's own is a catalogue as well."""
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[accelerator]]\nname = "Chip 9"\nbf16_flops = 1e15\npower = 500\nsource = "measured"\n'
    )
    mine = load_accelerators(path)
    assert mine == (Accelerator("Chip 9", 1e15, "measured", power=500),)
    found = parse_hardware("4xchip9*1h@50%", Offer(own=mine))
    assert found is not None
    assert found.flops == 4 * 1e15 * 3600 * 0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must hold"),
        ("[[accelerator", "not TOML"),
        ('[[accelerator]]\nname = "X"\nsource = "y"', "bf16_flops is missing"),
        ('[[accelerator]]\nname = "X"\nbf16_flops = -1\nsource = "y"', "positive number"),
        ('[[accelerator]]\nname = "X"\nbf16_flops = 1e15\nsource = "y"\nwatts = 3', "unknown key"),
        ('[[accelerator]]\nname = "X"\nbf16_flops = 1e15\nsource = "y"\ndriver = 3', "list of te"),
    ],
)
def test_a_wrong_catalogue_is_refused(text: str, says: str) -> None:
    """Every fault is named."""
    with pytest.raises(DocumentError, match=says):
        parse_accelerators(text, "the file")
