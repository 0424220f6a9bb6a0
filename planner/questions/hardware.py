"""Fields about the devices that a plan runs on, and what they become."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from planner.accelerators import (
    UTILISATION,
    Accelerator,
    Offer,
    accelerators,
    named,
)
from planner.errors import ProblemError
from planner.questions.fields import Count, Money, Number, Share, option
from planner.resources import DECODE_UTILISATION, INFERENCE_UTILISATION


@dataclass(frozen=True, kw_only=True)
class Offered:
    """Questions whose budget may be written as GPU-hours or money."""

    accelerator: str | None = option(
        "The device behind a budget like 1000 GPU-hours; `plan` also answers in its hours.",
        default=None,
        metavar="NAME",
        choices=lambda: [each.name for each in accelerators()],
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
    def device(self) -> Accelerator | None:
        """The named device; QuantityError with suggestions for an unknown one."""
        if self.accelerator is None:
            return None
        return named(self.accelerator)

    @property
    def offer(self) -> Offer:
        """What budgets in GPU-hours and money are converted with."""
        device = self.device
        if device is None:
            for name in NEED_DEVICE:
                if getattr(self, name, None) is not None:
                    option = name.replace("_", "-")
                    raise ProblemError(f"--{option} needs a device; add --accelerator H100 or so.")
        return Offer(device, self.price, self.utilisation)


@dataclass(frozen=True, kw_only=True)
class OnHardware(Offered):
    """Questions whose plan is also answered in hours, energy, money and memory."""

    count: Count | None = option(
        "Devices at work at once; 1 unless given.", default=None, metavar="N"
    )
    inference_utilisation: Share | None = option(
        "Share of the peak of teacher logits and prefill; that of training unless given.",
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
            inference,
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
        )
        if self.storage_price is not None and self.storage_price < 0:
            raise ProblemError(f"storage price is {self.storage_price}; it cannot be negative.")
        return Setup(
            cluster,
            load=getattr(self, "load", None),
            passes=1.0 if self.passes is None else self.passes,
            storage_price=self.storage_price,
            start=None if self.start is None else _date(self.start),
            assumed=self.utilisation is None,
        )


NEED_DEVICE = (
    "utilisation", "price", "count", "inference_utilisation", "decode_utilisation", "power", "pue",
    "carbon", "storage_price", "passes", "start",
)  # fmt: skip
"""Fields that say nothing without a device."""


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise ProblemError(f"start '{text}' is no date; write it like 2026-12-01.") from None
