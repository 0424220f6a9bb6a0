"""Accelerators: their peaks with sources, and budgets written as hardware and time.

``64xH100*14d``, ``8 x A100 * 36h @ 45%``, ``1000 H100-hours``: devices, time, and the share of the
peak that training reaches (model FLOPs utilisation). What is assumed is said beside the plan.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from planner.errors import QuantityError

UTILISATION = 0.40
"""Assumed where none is given: dense transformers in bf16 reach a third to a half of the peak."""


@dataclass(frozen=True)
class Accelerator:
    """Peak of dense bfloat16 products (half the sparse figure of data sheets), and its source."""

    name: str
    match: tuple[str, ...]  # all of these occur, as whole words, in the driver's name
    bf16_flops: float
    source: str


# The more particular names come first: the first entry that matches is taken.
ACCELERATORS = (
    Accelerator("GB200", ("GB200",), 2.5e15, "NVIDIA GB200 NVL72: 360 PFLOPS, 72 GPUs, sparse"),
    Accelerator("B200", ("B200",), 2.25e15, "NVIDIA HGX B200: 36 PFLOPS, 8 GPUs, with sparsity"),
    Accelerator(
        "GH200", ("GH200",), 989.4e12, "NVIDIA GH200 data sheet: 1,979 TFLOPS with sparsity"
    ),
    Accelerator(
        "H200 NVL", ("H200 NVL",), 835.5e12, "NVIDIA H200 NVL data sheet: 1,671 with sparsity"
    ),
    Accelerator(
        "H200", ("H200",), 989.4e12, "NVIDIA H200 SXM data sheet: 1,979 TFLOPS with sparsity"
    ),
    Accelerator(
        "H100 NVL", ("H100 NVL",), 835.5e12, "NVIDIA H100 NVL data sheet: 1,671 with sparsity"
    ),
    Accelerator(
        "H100 PCIe", ("H100 PCIe",), 756.5e12, "NVIDIA H100 PCIe data sheet: 1,513 with sparsity"
    ),
    Accelerator(
        "H100 SXM", ("H100",), 989.4e12, "NVIDIA H100 SXM data sheet: 1,979 TFLOPS with sparsity"
    ),
    Accelerator("A100", ("A100",), 312e12, "NVIDIA A100 data sheet: 312 TFLOPS dense"),
    Accelerator("L40S", ("L40S",), 362e12, "NVIDIA L40S data sheet: 733 TFLOPS with sparsity"),
    Accelerator("L4", ("NVIDIA L4",), 121e12, "NVIDIA L4 data sheet: 242 TFLOPS with sparsity"),
    Accelerator("A10G", ("A10G",), 70e12, "AWS G5: 70 TFLOPS dense, below the A10's 125"),
    Accelerator("A10", ("NVIDIA A10",), 125e12, "NVIDIA A10 data sheet: 125 TFLOPS dense"),
    Accelerator(
        "RTX 4090", ("RTX 4090",), 165.2e12, "NVIDIA Ada white paper: FP32 accumulation, dense"
    ),
    Accelerator(
        "RTX 3090", ("RTX 3090",), 71e12, "NVIDIA Ampere GA102 white paper: FP32 accumulation"
    ),
    Accelerator("MI300X", ("MI300X",), 1307.4e12, "AMD MI300X data sheet: 1,307.4 TFLOPS dense"),
    Accelerator(
        "MI250X", ("MI250X",), 191.5e12, "AMD MI250X data sheet: 383 per package of two devices"
    ),
    Accelerator("TPU v6e", ("TPU v6",), 918e12, "Google Cloud TPU v6e: 918 TFLOPS a chip"),
    Accelerator("TPU v5p", ("TPU v5p",), 459e12, "Google Cloud TPU v5p: 459 TFLOPS a chip"),
    Accelerator("TPU v5e", ("TPU v5",), 197e12, "Google Cloud TPU v5e: 197 TFLOPS a chip"),
    Accelerator("TPU v4", ("TPU v4",), 275e12, "Google Cloud TPU v4: 275 TFLOPS a chip"),
)


def lookup(device_name: str) -> Accelerator | None:
    """The catalogue's entry for a device by the name its driver reports, or None.

    A part of a device (``NVIDIA H100 80GB HBM3 MIG 1g.10gb``) and a slower namesake (``RTX 4090
    Laptop GPU``, ``L40`` beside ``L4``) are not the device: no peak is better than a wrong one.
    """
    if any(_has(word, device_name) for word in ("MIG", "Laptop", "RTX 4090 D")):
        return None
    return next((a for a in ACCELERATORS if all(_has(m, device_name) for m in a.match)), None)


def _has(words: str, name: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(words)}(?![A-Za-z0-9])", name) is not None


@dataclass(frozen=True)
class Hardware:
    """So many devices for so long, at a share of their peak."""

    count: float
    accelerator: Accelerator
    seconds: float
    utilisation: float
    assumed: bool

    @property
    def flops(self) -> float:
        """Model FLOPs that this amounts to."""
        return self.count * self.accelerator.bf16_flops * self.seconds * self.utilisation

    def __str__(self) -> str:
        assumed = " (assumed; write @45% for another)" if self.assumed else ""
        return (
            f"{self.count:g} x {self.accelerator.name} for {self.seconds / 3600:g} h at "
            f"{self.utilisation:.0%} of {self.accelerator.bf16_flops / 1e12:g} TFLOP/s{assumed}"
        )


_TIME = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_WORDS = {
    "s": ("sec", "secs", "second", "seconds"),
    "m": ("min", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("day", "days"),
    "w": ("wk", "wks", "week", "weeks"),
}
_DEVICE = r"(?P<device>[A-Za-z][A-Za-z0-9 ]*?)"
_SHARE = r"(?:\s*@\s*(?P<share>[\d.]+)\s*(?P<percent>%?))?"
_NUMBER = r"(?P<count>[\d_.]+(?:e\d+)?)"
_DEVICES_TIME = re.compile(
    rf"{_NUMBER}\s*[x×]\s*{_DEVICE}\s*[*·]\s*(?P<time>[\d.]+)\s*(?P<unit>[a-z]+)\s*{_SHARE}",
    re.I,
)
_DEVICE_HOURS = re.compile(
    rf"{_NUMBER}\s*{_DEVICE}[-\s](?P<unit>hour|day)s?{_SHARE}", re.I
)  # fmt: skip


def parse_hardware(text: str) -> Hardware | None:
    """A budget written as hardware and time; None if the text is nothing of the kind.

    Raises QuantityError for an unknown device (naming the known ones) or a bad share.
    """
    match = _DEVICES_TIME.fullmatch(text.strip()) or _DEVICE_HOURS.fullmatch(text.strip())
    if match is None or match["device"].upper().endswith(("FLOP", "FLOPS")):
        return None
    given = match.groupdict()
    seconds = _float(given.get("time") or "1", text) * _unit(given["unit"], text)
    share = UTILISATION
    if given["share"] is not None:
        share = _float(given["share"], text) / (100.0 if given["percent"] else 1.0)
    if not 0.0 < share <= 1.0:
        raise QuantityError(
            f"utilisation in '{text}' is {share:g}; it is a share of the peak between 0 and 1, "
            "like @45% or @0.45."
        )
    count = _float(given["count"].replace("_", ""), text)
    return Hardware(count, named(given["device"], text), seconds, share, given["share"] is None)


def _unit(word: str, text: str) -> float:
    """Seconds of a unit of time; a word that merely begins like one is refused."""
    for name, seconds in _TIME.items():
        if word.lower() in (name, *_WORDS[name]):
            return seconds
    raise QuantityError(
        f"'{word}' in '{text}' is not a unit of time I know; write s, min, h, d or w."
    )


def _float(number: str, text: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise QuantityError(f"'{number}' in '{text}' is not a number.") from None


def named(device: str, text: str = "") -> Accelerator:
    """The accelerator a person means: H100 is the SXM module, ``H100 PCIe`` the card."""
    wanted = device.strip().lower()
    for accelerator in ACCELERATORS:
        if wanted in (accelerator.name.lower(), accelerator.name.lower().removesuffix(" sxm")):
            return accelerator
    raise QuantityError(
        f"unknown accelerator '{device.strip()}' in '{text or device}'; known: "
        f"{', '.join(each.name for each in ACCELERATORS)}. Or give FLOPs like 1e21."
    )
