"""FLOPs in hours, energy, CO2 and money."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from math import fsum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.accelerators import Accelerator, Offer, Price, accelerators, named, parse_hardware
from planner.errors import QuantityError
from planner.resources import (
    Cluster,
    Utilisation,
    calendar,
    implied_utilisation,
    of_terms,
    of_work,
    on_policy,
)

H100 = named("H100")
FLOPS = st.floats(1e12, 1e27)
SHARES = st.floats(0.01, 1.0)
TERMS = ("teacher_pretraining", "teacher_inference", "student_training")


def test_a_plan_in_hours_days_energy_co2_and_money() -> None:
    """A hand-computed case: 1e21 FLOPs of training at half the peak of 64 H100s."""
    cluster = Cluster(H100, 64, Utilisation(training=0.5), Price(2.5), pue=1.2, carbon=300)
    total = of_terms({"student_training": 1e21}, cluster).total

    hours = 1e21 / (989.4e12 * 0.5) / 3600
    assert total.gpu_hours == pytest.approx(hours)
    assert total.days == pytest.approx(hours / 64 / 24)
    assert total.energy_kwh == pytest.approx(hours * 0.7 * 1.2)
    assert total.co2_kg == pytest.approx(hours * 0.7 * 1.2 * 0.3)
    assert total.cost == pytest.approx(hours * 2.5)


@given(
    st.dictionaries(st.sampled_from(TERMS), FLOPS, min_size=1),
    st.dictionaries(st.sampled_from(["prefill", "decode"]), FLOPS),
    st.builds(Utilisation, SHARES, SHARES, SHARES, SHARES),
    st.sampled_from([a for a in accelerators() if a.power]),
    st.integers(1, 10_000),
)
def test_phases_add_up_to_the_plan(
    terms: dict[str, float],
    serving: dict[str, float],
    utilisation: Utilisation,
    device: Accelerator,
    count: int,
) -> None:
    """FLOPs, hours, days, energy, CO2 and money of the phases sum to the total; FLOPs exactly."""
    cluster = Cluster(device, count, utilisation, Price(3.0), pue=1.1, carbon=400)
    found = of_terms(terms, cluster, serving)

    assert found.total.flops == fsum([*terms.values(), *serving.values()])
    for key in ("flops", "gpu_hours", "days", "energy_kwh", "co2_kg", "cost"):
        assert getattr(found.total, key) == fsum(getattr(each, key) for each in found.phases)
    peak = device.bf16_flops
    shares = {
        "teacher pretraining": utilisation.training,
        "teacher logits": utilisation.teacher_inference,
        "student training": utilisation.training,
        "serving: prefill": utilisation.prefill,
        "serving: decode": utilisation.decode,
    }
    for phase in found.phases:
        back = phase.gpu_hours * 3600 * peak * shares[phase.name]
        assert back == pytest.approx(phase.flops, rel=1e-12)
        assert phase.days * 24 * count == pytest.approx(phase.gpu_hours, rel=1e-12)


@given(st.floats(10, 1e8), SHARES, st.floats(0.1, 50))
def test_money_buys_the_hours_that_it_is_turned_back_into(
    money: float, share: float, price: float
) -> None:
    """A budget in money becomes FLOPs and comes back as the same money."""
    offer = Offer(H100, Price(price), share)
    hardware = parse_hardware(f"${money:.6f}", offer)
    assert hardware is not None
    cluster = Cluster(H100, 8, Utilisation(training=share), Price(price))
    total = of_terms({"student_training": hardware.flops}, cluster).total
    assert total.cost == pytest.approx(money, rel=1e-6, abs=1e-5)
    assert total.gpu_hours == pytest.approx(hardware.device_hours)


def test_what_is_not_given_is_not_invented() -> None:
    """No price, no money; no intensity, no CO2; no published power, no energy; and it is said."""
    bare = of_terms({"student_training": 1e20}, Cluster(named("TPU v5p")))
    assert bare.currency is None
    assert (bare.total.cost, bare.total.energy_kwh, bare.total.co2_kg) == (None, None, None)
    assert any("no energy" in each for each in bare.assumptions)
    assert any("no money" in each for each in bare.assumptions)

    powered = of_terms({"student_training": 1e20}, Cluster(named("TPU v5p"), power=400, carbon=0))
    assert powered.total.energy_kwh is not None
    assert powered.total.co2_kg == 0.0


def test_fp8_counts_against_its_own_peak() -> None:
    """Half the hours at the same utilisation, and only where the device has it."""
    terms = {"student_training": 1e20}
    half = of_terms(terms, Cluster(H100, precision="fp8")).total.gpu_hours
    assert half == pytest.approx(of_terms(terms, Cluster(H100)).total.gpu_hours / 2, rel=1e-3)
    with pytest.raises(QuantityError, match="A100 80GB has no FP8"):
        Cluster(named("A100"), precision="fp8")


def test_terms_without_flops_are_no_phase() -> None:
    """A supervised plan has one phase; serving counts as decode where it is not split."""
    flops = {"student_training": 1e20, "teacher_inference": 0.0, "serving": 1e19}
    found = of_terms(flops, Cluster(H100))
    assert [each.name for each in found.phases] == ["student training", "serving: decode"]
    assert found.phases[1].gpu_hours == pytest.approx(1e19 / (H100.bf16_flops * 0.05) / 3600)
    assert of_work([], Cluster(H100, price=Price(1))).total.cost is None


def test_on_policy_distillation_is_costed_in_its_phases() -> None:
    """Per completion token 2 N_S to decode, 2 N_T to score, 6 N_S to learn; decoding is slowest."""
    work = on_policy(2e9, 14e9, 1e9)
    assert [(kind, flops) for _, kind, flops in work] == [
        ("decode", 2e18), ("teacher_inference", 14e18), ("training", 6e18),
    ]  # fmt: skip
    hours = {each.name: each.gpu_hours for each in of_work(work, Cluster(H100)).phases}
    assert hours["on-policy: student's completions"] > 0.99 * hours["on-policy: teacher's scores"]
    prompted = on_policy(2e9, 14e9, 1e9, prompt_tokens=1e9)
    assert sum(flops for *_, flops in prompted) == 2e18 + 2e18 + 28e18 + 12e18


def test_the_document_has_the_promised_keys() -> None:
    """resources.phases[] and resources.total as plain values."""
    found = asdict(of_terms({"student_training": 1e20}, Cluster(H100)))
    keys = {"name", "flops", "gpu_hours", "days", "energy_kwh", "co2_kg", "cost"}
    assert set(found["phases"][0]) == set(found["total"]) == keys


def test_the_calendar_runs_through_the_phases() -> None:
    """Phases follow each other, with the gap between two and none after the last."""
    found = of_terms({"teacher_pretraining": 1e21, "student_training": 5e20}, Cluster(H100, 8))
    start = datetime(2027, 1, 4, tzinfo=UTC)
    first, second = calendar(found, start, gap_hours=12)
    assert first.start == start
    assert second.start - first.end == timedelta(hours=12)
    assert second.end - second.start == timedelta(days=found.phases[1].days)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"count": 0}, "positive number of devices"),
        ({"pue": 0.9}, "at least 1"),
        ({"carbon": -1}, "grams of CO2"),
        ({"carbon": 300_000}, "grams of CO2"),
        ({"power": -5}, "watts per device"),
    ],
)
def test_impossible_clusters_are_refused(change: dict[str, float], says: str) -> None:
    """One sentence each."""
    with pytest.raises(QuantityError, match=says):
        replace(Cluster(H100), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.0, 1.4, -0.1, float("nan")])
def test_utilisations_are_shares(share: float) -> None:
    """140% is refused."""
    with pytest.raises(QuantityError, match="decode utilisation"):
        Utilisation(decode=share)


GEMSTONES = Path(__file__).parents[3] / "shared" / "data" / "gemstones2025_cooldown_end.csv"


@pytest.mark.skipif(not GEMSTONES.exists(), reason="the Gemstones runs are not on this machine")
def test_measured_seconds_imply_a_plausible_utilisation() -> None:
    """The study's MI250X runs reach between 3% and 60% of their peak at 8 devices a node."""
    with GEMSTONES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    for row in rows:
        tokens = float(row["tokens"]) / float(row["step"])
        share = implied_utilisation(
            6 * float(row["parameters_active"]) * tokens,
            float(row["seconds_per_step"]),
            8 * float(row["nodes"]),
            named("MI250X"),
        )
        assert 0.03 < share < 0.6
