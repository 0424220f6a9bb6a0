"""A plan in hours, days, energy, CO2 and money: what its FLOPs take on given devices.

Pure arithmetic over FLOPs by phase. Device-hours are FLOPs / (peak x utilisation); energy is board
power x hours x PUE; CO2 and money follow from energy and hours. Nothing is invented: without a
price there is no money, without a board power no energy, without a carbon intensity no CO2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from math import fsum
from typing import Literal

from planner.accelerators import UTILISATION, Accelerator, Precision, Price
from planner.errors import QuantityError

Work = Literal["training", "teacher_inference", "prefill", "decode"]

INFERENCE_UTILISATION = 0.40
"""Of teacher logits and prefill, which are forward passes over whole sequences like training's."""

DECODE_UTILISATION = 0.05
"""Assumed for decoding, whose speed is that of reading the weights: a few per cent of the peak at
usual batch sizes. Measured values belong here (vLLM's or aiconfigurator's tokens per second)."""


@dataclass(frozen=True)
class Utilisation:
    """Shares of the peak by kind of work, each in (0, 1]."""

    training: float = UTILISATION
    teacher_inference: float = INFERENCE_UTILISATION
    prefill: float = INFERENCE_UTILISATION
    decode: float = DECODE_UTILISATION

    def __post_init__(self) -> None:
        for each in fields(self):
            share = getattr(self, each.name)
            if isinstance(share, bool) or not 0.0 < share <= 1.0:
                raise QuantityError(
                    f"{each.name.replace('_', ' ')} utilisation is {share}; it is a share of the "
                    "peak between 0 and 1, like 40% or 0.4."
                )


@dataclass(frozen=True)
class Cluster:
    """The devices a plan runs on.

    count: devices at work at once. precision: of the matrix products, whose peak counts. price:
    money per device-hour, None where hours are not paid. power: W per device, None for the board
    power of the catalogue. pue: energy of the building over that of the devices. carbon: g of CO2
    per kWh, None where unknown.
    """

    accelerator: Accelerator
    count: float = 1.0
    utilisation: Utilisation = Utilisation()
    price: Price | None = None
    power: float | None = None
    pue: float = 1.0
    carbon: float | None = None
    precision: Precision = "bf16"

    def __post_init__(self) -> None:
        self.accelerator.peak(self.precision)  # refuses a format that the device lacks
        if not 0 < self.count < float("inf"):
            raise QuantityError(f"count is {self.count}; give a positive number of devices.")
        if not 1.0 <= self.pue <= 10.0:
            raise QuantityError(
                f"PUE is {self.pue}; it is the building's energy over the devices', at least 1 and "
                "rarely above 2."
            )
        if self.power is not None and not 0 < self.power < float("inf"):
            raise QuantityError(f"power is {self.power} W; give watts per device.")
        if self.carbon is not None and not 0 <= self.carbon <= 2000:
            raise QuantityError(
                f"carbon intensity is {self.carbon}; give grams of CO2 per kWh, between 0 and 2,000"
                " (0.3 kg per kWh is 300)."
            )

    @property
    def peak(self) -> float:
        """FLOP/s of one device that utilisation is a share of."""
        return self.accelerator.peak(self.precision)

    @property
    def watts(self) -> float | None:
        """Power of one device in W."""
        return self.accelerator.power if self.power is None else self.power


@dataclass(frozen=True)
class Phase:
    """One phase of a plan, or their total.

    gpu_hours: device-hours. days: wall-clock days on the whole cluster. cost: in `currency`. None
    where the cluster does not say what is needed.
    """

    name: str
    flops: float
    gpu_hours: float
    days: float
    energy_kwh: float | None = None
    co2_kg: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Resources:
    """What a plan takes, by phase and in total. `assumptions` says what was not given."""

    phases: tuple[Phase, ...]
    total: Phase
    accelerator: str
    count: float
    currency: str | None = None
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A phase in the calendar."""

    name: str
    start: datetime
    end: datetime


TERMS: Mapping[str, tuple[str, Work]] = {
    "teacher_pretraining": ("teacher pretraining", "training"),
    "teacher_inference": ("teacher logits", "teacher_inference"),
    "student_training": ("student training", "training"),
}
"""Phases in the order in which they run, by the terms of Eq. 9, and the work that each is."""


def of_terms(
    terms: Mapping[str, float], cluster: Cluster, serving: Mapping[Work, float] | None = None
) -> Resources:
    """Resources of a plan from its FLOPs by term of Eq. 9 (the fields of `Flops`).

    `serving`: FLOPs of prefill and decode; a term "serving" in `terms` counts as decode where this
    is not given. Terms that are zero are no phase.
    """
    work: list[tuple[str, Work, float]] = [
        (name, kind, terms.get(term, 0.0)) for term, (name, kind) in TERMS.items()
    ]
    if serving is None:
        serving = {"decode": terms.get("serving", 0.0)}
    work += [(f"serving: {kind}", kind, flops) for kind, flops in serving.items()]
    return of_work([each for each in work if each[2] > 0], cluster)


def on_policy(
    student_flops: float, teacher_flops: float, completion_tokens: float, prompt_tokens: float = 0.0
) -> list[tuple[str, Work, float]]:
    """The work of on-policy distillation, for `of_work`: costed only, no law predicts its result.

    student_flops, teacher_flops: F(N) per token. The student reads the prompts and generates the
    completions, the teacher scores both in one pass, and the student learns from the completions
    (forward and backward over prompt and completion). Tokens over all steps.
    """
    both = prompt_tokens + completion_tokens
    work: list[tuple[str, Work, float]] = [
        ("on-policy: prompts", "prefill", student_flops * prompt_tokens),
        ("on-policy: student's completions", "decode", student_flops * completion_tokens),
        ("on-policy: teacher's scores", "teacher_inference", teacher_flops * both),
        ("on-policy: student's updates", "training", 3.0 * student_flops * both),
    ]
    return [each for each in work if each[2] > 0]


def of_work(work: Iterable[tuple[str, Work, float]], cluster: Cluster) -> Resources:
    """Resources of named amounts of work, FLOPs each."""
    phases = tuple(_phase(name, kind, flops, cluster) for name, kind, flops in work)
    total = Phase(
        "total",
        fsum(each.flops for each in phases),
        fsum(each.gpu_hours for each in phases),
        fsum(each.days for each in phases),
        _sum(each.energy_kwh for each in phases),
        _sum(each.co2_kg for each in phases),
        _sum(each.cost for each in phases),
    )
    return Resources(
        phases,
        total,
        cluster.accelerator.name,
        cluster.count,
        None if cluster.price is None else cluster.price.currency,
        _assumptions(cluster),
    )


def _phase(name: str, kind: Work, flops: float, cluster: Cluster) -> Phase:
    share = getattr(cluster.utilisation, kind)
    hours = flops / (cluster.peak * share) / 3600.0
    watts, carbon, price = cluster.watts, cluster.carbon, cluster.price
    energy = None if watts is None else hours * watts / 1000.0 * cluster.pue
    return Phase(
        name,
        flops,
        hours,
        hours / cluster.count / 24.0,
        energy,
        None if energy is None or carbon is None else energy * carbon / 1000.0,
        None if price is None else hours * price.amount,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return fsum(v for v in known if v is not None) if known and None not in known else None


def _assumptions(cluster: Cluster) -> tuple[str, ...]:
    said = []
    if cluster.watts is None:
        said.append(
            f"no energy: the power of {cluster.accelerator.name} is not published; give it in W"
        )
    elif cluster.power is None:
        said.append(f"every device draws its board power of {cluster.watts:g} W throughout")
    if cluster.pue == 1.0 and cluster.watts is not None:
        said.append("PUE 1: cooling and power supplies of the building are left out")
    if cluster.carbon is None:
        said.append("no CO2: the grid's carbon intensity is not given")
    if cluster.price is None:
        said.append("no money: no price is given")
    return tuple(said)


def calendar(resources: Resources, start: datetime, gap_hours: float = 0.0) -> tuple[Entry, ...]:
    """When each phase begins and ends, one after the other, with a gap between two.

    Logits are computed before the student trains, which is the order of stored logits; an online
    teacher runs during the student's training and takes the same days in sum.
    """
    entries: list[Entry] = []
    for phase in resources.phases:
        end = start + timedelta(days=phase.days)
        entries.append(Entry(phase.name, start, end))
        start = end + timedelta(hours=gap_hours)
    return tuple(entries)


def implied_utilisation(
    flops: float, seconds: float, devices: float, accelerator: Accelerator
) -> float:
    """The share of the peak that measured seconds on some devices amount to."""
    return flops / (seconds * devices * accelerator.bf16_flops)
