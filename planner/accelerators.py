"""Accelerators: peaks, memory and power with their sources, and budgets written in hardware.

``64xH100*14d``, ``8 A100 * 36h @ 45%``, ``1000 H100-hours``; with an `Offer` (an accelerator, and
its price) also ``1000 GPU-hours`` and ``$250k``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tomli

from planner.errors import DocumentError, QuantityError

Precision = Literal["bf16", "fp8"]
"""Of the matrix products, whose peak counts."""

UTILISATION = 0.40
"""Assumed where none is given: dense transformers in bf16 reach a third to a half of the peak."""


@dataclass(frozen=True)
class Accelerator:
    """One device, as its driver counts devices.

    bf16_flops, fp8_flops: FLOP/s of dense matrix products (data sheets often print the figure with
    sparsity, twice as much). memory: bytes. bandwidth: bytes per second. power: board power in W.
    None where unknown, or where the device lacks the format. driver: phrases that occur in the name
    that its driver reports.
    """

    name: str
    bf16_flops: float
    source: str
    fp8_flops: float | None = None
    memory: float | None = None
    bandwidth: float | None = None
    power: float | None = None
    aliases: tuple[str, ...] = ()
    driver: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key in ("bf16_flops", "fp8_flops", "memory", "bandwidth", "power"):
            value = getattr(self, key)
            if value is None and key != "bf16_flops":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise QuantityError(f"{key} is {value!r}; it must be a positive number.")

    def peak(self, precision: Precision = "bf16") -> float:
        """FLOP/s of dense products in a format; QuantityError where the device lacks it."""
        if precision == "bf16":
            return self.bf16_flops
        if precision != "fp8":
            raise QuantityError(f"unknown precision '{precision}'; known: bf16, fp8.")
        if self.fp8_flops is None:
            raise QuantityError(
                f"{self.name} has no FP8 products in the catalogue; leave the precision at bf16."
            )
        return self.fp8_flops


def parse_accelerators(text: str, what: str) -> tuple[Accelerator, ...]:
    """Accelerators of TOML text with [[accelerator]] tables; DocumentError listing every fault."""
    try:
        document = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise DocumentError(f"{what} is not TOML: {error}.") from error
    tables = document.get("accelerator")
    if not isinstance(tables, list) or not tables or set(document) != {"accelerator"}:
        raise DocumentError(
            f"{what} must hold [[accelerator]] tables and nothing else, each with name, bf16_flops "
            "and source."
        )
    return read_accelerators(tables, what)


def read_accelerators(tables: Iterable[Any], what: str) -> tuple[Accelerator, ...]:
    """Accelerators of mappings with the fields of `Accelerator`; DocumentError listing faults."""
    found, faults = [], []
    for position, table in enumerate(tables, 1):
        try:
            found.append(_accelerator(table))
        except (QuantityError, DocumentError) as error:
            faults.append(f"accelerator {position}: {error}")
    if faults:
        raise DocumentError(f"{what} has {len(faults)} wrong accelerator(s):", faults)
    return tuple(found)


def load_accelerators(path: str | Path) -> tuple[Accelerator, ...]:
    """The accelerators of a user's own TOML file; DocumentError where it cannot be used."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DocumentError(f"cannot read the accelerators' file '{path}': {reason}.") from error
    except UnicodeDecodeError as error:
        raise DocumentError(f"'{path}' is not a text file in UTF-8; give a TOML file.") from error
    return parse_accelerators(text, f"'{path}'")


_KEYS = tuple(each.name for each in fields(Accelerator))


def _accelerator(table: Any) -> Accelerator:
    if not isinstance(table, Mapping):
        raise DocumentError("it is not a table.")
    for key in table:
        if key not in _KEYS:
            raise DocumentError(f"unknown key '{key}'; known: {', '.join(_KEYS)}.")
    for key in ("name", "bf16_flops", "source"):
        if key not in table:
            raise DocumentError(f"{key} is missing.")
    for key in ("name", "source"):
        if not isinstance(table[key], str) or not table[key].strip():
            raise DocumentError(f"{key} is {table[key]!r}; it must be a text.")
    lists = {}
    for key in ("aliases", "driver"):
        value = table.get(key, [])
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise DocumentError(f"{key} is {value!r}; it must be a list of texts.")
        lists[key] = tuple(value)
    return Accelerator(**{**table, **lists})


@cache
def accelerators() -> tuple[Accelerator, ...]:
    """The shipped catalogue, read when it is first asked for."""
    return load_accelerators(Path(__file__).parent / "data" / "accelerators.toml")


def lookup(device_name: str) -> Accelerator | None:
    """The catalogue's entry for a device by the name its driver reports, or None.

    A part of a device (``NVIDIA H100 80GB HBM3 MIG 1g.10gb``) and a slower namesake (``RTX 4090
    Laptop GPU``, ``L40`` beside ``L4``) are not the device: no peak is better than a wrong one.
    """
    if any(_has(word, device_name) for word in ("MIG", "Laptop", "RTX 4090 D", "Max-Q")):
        return None
    return next((a for a in accelerators() if any(_has(m, device_name) for m in a.driver)), None)


def _has(words: str, name: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(words)}(?![A-Za-z0-9])", name) is not None


def named(
    device: str, text: str = "", catalogue: Iterable[Accelerator] | None = None
) -> Accelerator:
    """The accelerator a person means, whatever the case, spaces and hyphens of the name.

    H100 is the SXM module, A100 the one with 80 GB. Raises QuantityError with the nearest names for
    an unknown one; `text` is the whole of what the person wrote.
    """
    listed = accelerators() if catalogue is None else catalogue
    by_name = {plain_name(name): each for each in listed for name in (each.name, *each.aliases)}
    wanted = plain_name(device)
    for candidate in (wanted, wanted.removeprefix("nvidia"), wanted.removeprefix("amd")):
        if candidate in by_name:
            return by_name[candidate]
    near = dict.fromkeys(
        by_name[name].name for name in difflib.get_close_matches(wanted, by_name, n=5, cutoff=0.5)
    )
    names = list(dict.fromkeys(each.name for each in by_name.values()))
    hint = f"did you mean {' or '.join(list(near)[:3])}?" if near else f"known: {', '.join(names)}."
    within = f" in '{text}'" if text and text.strip() != device.strip() else ""
    raise QuantityError(
        f"unknown accelerator '{device.strip()}'{within}; {hint} Or give FLOPs like 1e21."
    )


def plain_name(name: str) -> str:
    """A name without case, spaces and punctuation, for comparison."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


@dataclass(frozen=True)
class Price:
    """Money per device-hour. Currencies are not converted."""

    amount: float
    currency: str = "$"

    def __str__(self) -> str:
        return f"{self.currency}{self.amount:,.2f} per GPU-hour"


@dataclass(frozen=True)
class Offer:
    """What budgets in hardware, GPU-hours and money are converted with.

    own: accelerators of the user's own, beside the catalogue.
    """

    accelerator: Accelerator | None = None
    price: Price | None = None
    utilisation: float | None = None
    precision: Precision = "bf16"
    own: tuple[Accelerator, ...] = ()


@dataclass(frozen=True)
class Hardware:
    """So many devices for so long, at a share of their peak.

    in_hours: the budget is an amount of device-hours (or the money for them), `count` of them, and
    says nothing of how many devices work at once.
    """

    count: float
    accelerator: Accelerator
    seconds: float
    utilisation: float
    assumed: bool
    in_hours: bool = False
    precision: Precision = "bf16"

    @property
    def flops(self) -> float:
        """Model FLOPs that this amounts to."""
        peak = self.accelerator.peak(self.precision)
        return self.count * peak * self.seconds * self.utilisation

    @property
    def device_hours(self) -> float:
        """Devices times hours."""
        return self.count * self.seconds / 3600.0

    def __str__(self) -> str:
        assumed = " (assumed; write @45% for another)" if self.assumed else ""
        amount = f"{self.count:g} x {self.accelerator.name} for {self.seconds / 3600:g} h"
        if self.in_hours:
            amount = f"{self.device_hours:,.6g} GPU-hours of {self.accelerator.name}"
        return (
            f"{amount} at {self.utilisation:.0%} of "
            f"{self.accelerator.peak(self.precision) / 1e12:g} TFLOP/s"
            f"{' in FP8' if self.precision == 'fp8' else ''}{assumed}"
        )


_TIME = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_WORDS = {
    "s": ("sec", "secs", "second", "seconds"),
    "m": ("min", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("day", "days"),
    "w": ("wk", "wks", "week", "weeks"),
}
_DEVICE = r"(?P<device>[A-Za-z0-9][A-Za-z0-9 \-]*?)"
_SHARE = r"(?:\s*@\s*(?P<share>[\d.]+)\s*(?P<percent>%?))?"
_NUMBER = r"(?P<count>[\d_.,]+(?:e\d+)?)"
_DEVICES_TIME = re.compile(
    rf"{_NUMBER}\s*(?:\s|[x×]|(?=[a-z]))\s*{_DEVICE}\s*[*·]\s*(?P<time>[\d.]+)\s*(?P<unit>[a-z]+)"
    rf"\s*{_SHARE}",
    re.I,
)
_DEVICE_HOURS = re.compile(
    rf"{_NUMBER}\s*(?P<thousands>[km](?=[\s-]))?[\s-]*"
    r"(?P<device>(?:[A-Za-z]|(?<=[\s-])\d)[A-Za-z0-9 \-]*?)"
    rf"[-\s]*(?P<unit>hour|day|week)s?\s*{_SHARE}",
    re.I,
)
_CURRENCIES = {"$": "$", "usd": "$", "€": "€", "eur": "€", "£": "£", "gbp": "£"}
_SYMBOL = r"\$|€|£|usd|eur|gbp"
_AMOUNT = (
    rf"(?P<before>{_SYMBOL})?\s*(?P<amount>\d[\d_,]*(?:\.\d+)?|\.\d+)\s*"
    rf"(?P<scale>[kmb]?)\s*(?P<after>{_SYMBOL})?"
)
_MONEY = re.compile(rf"{_AMOUNT}\s*{_SHARE}", re.I)
_PRICE = re.compile(
    rf"{_AMOUNT}(?:\s*(?:/|per)\s*(?:(?:gpu|device|chip|accelerator)[\s-]*)?(?P<unit>[a-z]*))?",
    re.I,
)
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_ANY_DEVICE = ("gpu", "device", "chip", "accelerator", "tpu")


def parse_hardware(text: str, offer: Offer = Offer()) -> Hardware | None:
    """A budget written as hardware and time, GPU-hours or money; None if it is nothing of the kind.

    `offer` gives what the text leaves open: the accelerator and the price behind ``$250k``, the
    accelerator behind ``1000 GPU-hours``, and the utilisation where there is no ``@40%``. Raises
    QuantityError for an unknown device, a bad share or unit, and money without a price.
    """
    stripped = text.strip()
    money = _MONEY.fullmatch(stripped)
    if money is not None and (money["before"] or money["after"]):
        return _from_money(money, offer, text)
    match = _DEVICES_TIME.fullmatch(stripped) or _DEVICE_HOURS.fullmatch(stripped)
    if match is None or match["device"].upper().endswith(("FLOP", "FLOPS", "FLOP/S")):
        return None
    given = match.groupdict()
    seconds = _float(given.get("time") or "1", text) * _unit(given["unit"], text)
    share, assumed = _utilisation(given, offer, text)
    count = _float(given["count"].replace("_", "").replace(",", ""), text)
    count *= _SCALES[(given.get("thousands") or "").lower()]
    device = given["device"].strip(" -")
    if plain_name(device).removesuffix("s") in _ANY_DEVICE:
        if offer.accelerator is None:
            raise QuantityError(
                f"'{text.strip()}' does not say which accelerator; write 1000 H100-hours, or add "
                "--accelerator H100."
            )
        accelerator = offer.accelerator
    else:
        accelerator = named(device, text, (*accelerators(), *offer.own))
    in_hours = "time" not in given
    return Hardware(count, accelerator, seconds, share, assumed, in_hours, offer.precision)


def _from_money(match: re.Match[str], offer: Offer, text: str) -> Hardware:
    currency = _currency(match, text)
    if offer.price is None or offer.accelerator is None:
        lacking = [
            option
            for option, value in (
                ("--accelerator H100", offer.accelerator),
                ("--price 2.50 (per GPU-hour)", offer.price),
            )
            if value is None
        ]
        raise QuantityError(
            f"'{text.strip()}' is money, which buys FLOPs only at a price; add "
            f"{' and '.join(lacking)}."
        )
    if offer.price.currency != currency:
        raise QuantityError(
            f"the budget is in {currency} and the price in {offer.price.currency}; give both in "
            "one currency."
        )
    share, assumed = _utilisation(match.groupdict(), offer, text)
    hours = _amount(match, text) / offer.price.amount
    return Hardware(hours, offer.accelerator, 3600.0, share, assumed, True, offer.precision)


def parse_price(text: str | float) -> Price:
    """``2.50``, ``$2.50``, ``€2/h`` or ``$2.50/GPU-hour``: money per device-hour.

    A price by the day or week is divided by its hours. Raises QuantityError for other units.
    """
    match = _PRICE.fullmatch(str(text).strip())
    if match is None or isinstance(text, bool):
        raise QuantityError(
            f"price '{text}' is not money per GPU-hour; write it like 2.50 or $2.50/GPU-hour."
        )
    hours = 1.0
    if (unit := match["unit"]) is not None:
        if not unit:
            raise QuantityError(f"price '{text}' lacks its unit of time; write it like $2.50/h.")
        hours = _unit(unit, str(text)) / 3600.0
    amount = _amount(match, str(text)) / hours
    if not amount > 0:
        raise QuantityError(f"price '{text}' is not positive; leave it out where hours are free.")
    return Price(amount, _currency(match, str(text)) if match["before"] or match["after"] else "$")


def _currency(match: re.Match[str], text: str) -> str:
    given = {_CURRENCIES[m.lower()] for m in (match["before"], match["after"]) if m}
    if len(given) != 1:
        raise QuantityError(f"'{text}' names two currencies; keep one.")
    return given.pop()


def _amount(match: re.Match[str], text: str) -> float:
    number = match["amount"].replace("_", "").replace(",", "")
    return _float(number, text) * _SCALES[match["scale"].lower()]


def _utilisation(given: Mapping[str, Any], offer: Offer, text: str) -> tuple[float, bool]:
    """The share of the peak, and whether it is assumed."""
    if given["share"] is None:
        share = offer.utilisation
        return (UTILISATION, True) if share is None else (share, False)
    share = _float(given["share"], text) / (100.0 if given["percent"] else 1.0)
    if not 0.0 < share <= 1.0:
        raise QuantityError(
            f"utilisation in '{text}' is {share:g}; it is a share of the peak between 0 and 1, "
            "like @45% or @0.45."
        )
    return share, False


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
