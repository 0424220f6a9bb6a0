"""Fields about the devices that a plan runs on, and what they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from planner.accelerators import (
    UTILISATION,
    Accelerator,
    Offer,
    Precision,
    accelerators,
    load_accelerators,
    named,
    read_accelerators,
)
from planner.errors import ProblemError
from planner.questions.fields import Count, Money, Number, Share, option
from planner.resources import DECODE_UTILISATION, INFERENCE_UTILISATION


@dataclass(frozen=True, kw_only=True)
class Offered:
    """Questions whose budget may be written as GPU-hours or money."""

    accelerators: str | tuple[Mapping[str, Any], ...] | None = option(
        "A TOML file with [[accelerator]] tables of your own devices, beside the catalogue.",
        default=None,
        metavar="FILE",
        file=True,
    )
    accelerator: str | None = option(
        "The device behind a budget like 1000 GPU-hours; the answer is also in its hours.",
        default=None,
        metavar="NAME",
        choices=lambda: [each.name for each in accelerators()],
    )
    precision: Precision = option(
        "Format of the matrix products, whose peak counts: bf16 or fp8; bf16 unless given.",
        default="bf16",
        metavar="bf16|fp8",
        choices=lambda: ("bf16", "fp8"),
    )
    utilisation: Share | None = option(
        f"Share of the device's peak that training reaches; {UTILISATION:.0%} unless given.",
        default=None,
        metavar="SHARE",
    )
    price: Money | None = option(
        "Money per GPU-hour, like 2.50 or $2.50; also for budgets like $250k.",
        default=None,
        metavar="MONEY",
    )

    @property
    def own(self) -> tuple[Accelerator, ...]:
        """The user's own accelerators; DocumentError naming every fault."""
        given = self.accelerators
        if given is None:
            return ()
        if isinstance(given, str):
            return load_accelerators(given)
        return read_accelerators(given, "accelerators")

    @property
    def device(self) -> Accelerator | None:
        """The named device; QuantityError with suggestions for an unknown one."""
        if self.accelerator is None:
            return None
        return named(self.accelerator, catalogue=(*accelerators(), *self.own))

    @property
    def offer(self) -> Offer:
        """What budgets in GPU-hours and money are converted with."""
        device = self.device
        if device is None:
            for name in NEED_DEVICE:
                if getattr(self, name, None) is not None:
                    option = name.replace("_", "-")
                    raise ProblemError(f"--{option} needs a device; add --accelerator H100 or so.")
        if self.precision not in ("bf16", "fp8"):
            raise ProblemError(f"unknown precision '{self.precision}'; known: bf16, fp8.")
        return Offer(device, self.price, self.utilisation, self.precision, self.own)


@dataclass(frozen=True, kw_only=True)
class OnDevices(Offered):
    """Questions whose recipes and budgets are also answered in hours, energy and money."""

    count: Count | None = option(
        "Devices at work at once; 1 unless given.", default=None, metavar="N"
    )
    inference_utilisation: Share | None = option(
        "Share of the peak of the teacher's logits; that of training unless given.",
        default=None,
        metavar="SHARE",
    )
    prefill_utilisation: Share | None = option(
        "Share of the peak of prefill; that of the teacher's logits unless given.",
        default=None,
        metavar="SHARE",
    )
    decode_utilisation: Share | None = option(
        f"Share of the peak of decoding; {DECODE_UTILISATION:.0%} unless given.",
        default=None,
        metavar="SHARE",
    )
    power: Number | None = option(
        "Watts that a device draws; its board power unless given.", default=None, metavar="W"
    )
    pue: Number | None = option(
        "Energy of the building over the devices'; 1 unless given.", default=None, metavar="RATIO"
    )
    carbon: Number | None = option("Grams of CO2 per kWh.", default=None, metavar="G")

    @property
    def setup(self) -> Any:
        """The `planner.needs.Setup` of these fields; None where no accelerator is named."""
        device = self.device
        if device is None:
            return None
        from planner.needs import Setup
        from planner.resources import Cluster, Utilisation

        inference = self.inference_utilisation or self.utilisation or INFERENCE_UTILISATION
        shares = Utilisation(
            self.utilisation or UTILISATION,
            inference,
            self.prefill_utilisation or inference,
            self.decode_utilisation or DECODE_UTILISATION,
        )
        cluster = Cluster(
            device,
            1.0 if self.count is None else self.count,
            shares,
            self.price,
            self.power,
            1.0 if self.pue is None else self.pue,
            self.carbon,
            self.precision,
        )
        load = getattr(self, "load", None)
        return Setup(cluster, load, assumed=self.utilisation is None)

    def costed(self, answer: Any) -> Any:
        """The answer with what each of its recipes (its `flops_by_name`) takes on the devices."""
        setup = self.setup
        if setup is None:
            return answer
        from planner.needs import spent

        found = tuple(spent(name, flops, setup) for name, flops in answer.flops_by_name)
        return replace(answer, resources=found)


@dataclass(frozen=True, kw_only=True)
class OnHardware(OnDevices):
    """Questions whose plan is also answered in a calendar, memory and stored logits."""

    storage_price: Number | None = option(
        "Money per TB and month of stored logits, in the currency of the price.",
        default=None,
        metavar="MONEY",
    )
    passes: Number | None = option(
        "How often the same logits are learned from (students times epochs); 1 unless given.",
        default=None,
        metavar="N",
    )
    start: str | None = option(
        "First day of the calendar, like 2026-12-01.", default=None, metavar="DATE"
    )

    @property
    def setup(self) -> Any:
        """As of `OnDevices`, with the calendar and the stored logits."""
        found = super().setup
        if found is None:
            return None
        if self.storage_price is not None and self.storage_price < 0:
            raise ProblemError(f"storage price is {self.storage_price}; it cannot be negative.")
        return replace(
            found,
            passes=1.0 if self.passes is None else self.passes,
            storage_price=self.storage_price,
            start=None if self.start is None else _date(self.start),
        )


NEED_DEVICE = (
    "utilisation", "price", "count", "inference_utilisation", "prefill_utilisation",
    "decode_utilisation", "power", "pue", "carbon", "storage_price", "passes", "start",
)  # fmt: skip
"""Fields that say nothing without a device."""


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ProblemError(f"start '{text}' is no date; write it like 2026-12-01.") from None
