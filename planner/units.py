"""Quantities as people write them. The only parser and formatter of sizes, tokens and FLOPs.

``1B``, ``300M``, ``2.5T``, ``1e21``, ``7_750_000_000``, ``30 PFLOP-days``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from planner.accelerators import Offer, parse_hardware
from planner.errors import QuantityError

_SUFFIX = {
    "": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15,
}  # fmt: skip
_WORDS = {"THOUSAND": "K", "MILLION": "M", "BILLION": "B", "TRILLION": "T"}
_FLOP_PREFIX = {
    "": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24,
}  # fmt: skip
_SECONDS = {"": 1.0, "S": 1.0, "SECOND": 1.0, "MINUTE": 60.0, "HOUR": 3600.0, "DAY": 86400.0,
            "YEAR": 365.25 * 86400.0}  # fmt: skip

_NUMBER = (
    r"(?P<number>[-+]?(?:\d[\d_,]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf(?:inity)?|nan))"
)
_COUNT = re.compile(
    _NUMBER + r"\s*(?P<suffix>[A-Za-z]*?)\s*(?P<unit>params?|parameters?|tokens?|tok)?$", re.I
)
# "PFLOP-days" and "PFLOP/s-days" are amounts; "PFLOP/s" and "PFLOP/day" are rates, and refused.
_FLOPS = re.compile(
    _NUMBER
    + r"\s*(?P<prefix>[KMGTPEZY]?)FLOPS?"
    + r"(?:(?:/s)?[-\s*·]+(?P<time>s|second|minute|hour|day|year)s?)?$",
    re.I,
)
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d*)?([eE].*)?")

MOST_POINTS = 100_000
"""Most points of one range: more is a mistake, or a job for a sweep."""

_LARGEST = 1e60  # far beyond any budget; guards against 1e300 turning into overflow later
_LONGEST = 200  # characters of a quantity; what is longer is a mistake, and slow to look at


def _short(text: str, what: str) -> str:
    if len(text) > _LONGEST:
        raise QuantityError(f"{_say(what)} has {len(text):,} characters; write it like 1e21 or 1B.")
    return text


def parse_count(text: str | float, what: str = "quantity") -> float:
    """Parameters or tokens: ``1B`` -> 1e9. Raises QuantityError unless finite and positive."""
    if not isinstance(text, str):
        return check_positive(text, what)
    match = _COUNT.fullmatch(_short(text, what).strip())
    suffix = match["suffix"].upper() if match else None
    suffix = _WORDS.get(suffix, suffix) if suffix is not None else None
    if match is None or suffix not in _SUFFIX:
        raise QuantityError(
            f"{_say(what)} '{text}' is not a number with a unit I know; write it like "
            "1B, 300M, 2.5T, 1e21 or 7_750_000_000."
        )
    return check_positive(_float(match["number"], what) * _SUFFIX[suffix], what, text)


def parse_flops(text: str | float, what: str = "budget", offer: Offer = Offer()) -> float:  # noqa: B008
    """FLOPs from ``1e21``, ``1 ZFLOP``, ``30 PFLOP-days``, ``64xH100*14d`` or ``$250k``.

    A PFLOP-day is 1e15 FLOP/s for a day; hardware counts at 40% of its peak unless ``@45%`` or so
    is added. `offer` gives the accelerator behind GPU-hours and the price behind money (see
    `planner.accelerators`).
    """
    if not isinstance(text, str):
        return check_positive(text, what)
    stripped = _short(text, what).strip()
    if (hardware := parse_hardware(stripped, offer)) is not None:
        return check_positive(hardware.flops, what, text)
    match = _FLOPS.fullmatch(stripped)
    if match is not None:
        scale = _FLOP_PREFIX[match["prefix"].upper()] * _SECONDS[(match["time"] or "").upper()]
        return check_positive(_float(match["number"], what) * scale, what, text)
    plain = _COUNT.fullmatch(stripped)
    if plain is None or plain["suffix"] or plain["unit"]:
        raise QuantityError(
            f"{_say(what)} '{text}' is not an amount of compute I know; write FLOPs like 1e21, "
            "1 ZFLOP, 30 PFLOP-days or 64xH100*14d, or money like $250k."
        )
    return check_positive(_float(plain["number"], what), what, text)


def parse_plain(text: str | float, what: str) -> float:
    """A plain number (a loss in nats, a fraction); raises QuantityError unless finite."""
    try:
        value = _number(text)
    except (TypeError, ValueError):
        raise QuantityError(f"{_say(what)} '{text}' is not a number.") from None
    if not math.isfinite(value):
        raise QuantityError(f"{_say(what)} is {text}; it must be a finite number.")
    return value


def _number(value: str | float) -> float:
    """As `float`, but true and false are no numbers."""
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def parse_whole(text: str | float, what: str) -> int:
    """A whole number of at least one (``4096``, ``128K``); raises QuantityError."""
    value = parse_count(text, what)
    if value != int(value):
        raise QuantityError(f"{_say(what)} is {text}; it must be a whole number.")
    return int(value)


def parse_share(text: str | float, what: str = "share") -> float:
    """``0.5%`` or ``0.005``: a share above zero and at most one; raises QuantityError."""
    number, whole = text, 1.0
    if isinstance(text, str) and text.strip().endswith("%"):
        number, whole = text.strip()[:-1], 100.0
    try:
        value = _number(number) / whole
    except (TypeError, ValueError):
        raise QuantityError(f"'{text}' is not a {what}; write it like 0.5% or 0.005.") from None
    if not 0 < value <= 1:
        raise QuantityError(
            f"'{text}' is not a {what} between 0 and 100%; write it like 0.5% or 0.005."
        )
    return value


def parse_range(
    text: str | float, parse: Callable[[str | float, str], float], what: str
) -> tuple[float, float, int | None]:
    """(low, high, points): ``1e19:1e26``, ``1e19:1e26:50``, or one value, which is its own range.

    `parse` reads the ends (parse_flops, parse_count). Points are None where not given, 1 for one
    value. Raises QuantityError for ends that cross or a grid without points.
    """
    parts = text.split(":") if isinstance(text, str) else [text]
    if len(parts) == 1:
        value = parse(parts[0], what)
        return value, value, 1
    if len(parts) > 3:
        raise QuantityError(
            f"{_say(what)} '{text}' has {len(parts)} parts; write a range like 1e19:1e26, or "
            "1e19:1e26:50 for fifty points."
        )
    low, high = parse(parts[0], what), parse(parts[1], what)
    if low >= high:
        raise QuantityError(
            f"{_say(what)} range '{text}' does not rise from its first value to its second; swap "
            "them, or give one value."
        )
    return low, high, None if len(parts) == 2 else _points(parts[2], what)


def _points(text: str | float, what: str) -> int:
    try:
        points = int(text)
    except ValueError:
        raise QuantityError(
            f"{_say(what)} range asks for '{text}' points; give a whole number such as 50."
        ) from None
    if not 2 <= points <= MOST_POINTS:
        raise QuantityError(
            f"{_say(what)} range asks for {points} points; give between 2 and {MOST_POINTS:,}."
        )
    return points


def check_positive(value: float, what: str, written: str | float | None = None) -> float:
    """The value itself if it is a positive, finite, sane number; QuantityError otherwise."""
    shown = value if written is None else written
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError(f"{_say(what)} {value!r} is not a number.")
    if math.isnan(value) or math.isinf(value) or value <= 0:
        raise QuantityError(f"{_say(what)} is {shown}; it must be a positive, finite number.")
    if value > _LARGEST:
        raise QuantityError(
            f"{_say(what)} is {shown}, beyond {_LARGEST:.0e}; check the unit you wrote."
        )
    return float(value)


def format_count(value: float, digits: int = 3) -> str:
    """``1.36B``, ``300M``, ``2.5T``: parameters or tokens for people."""
    if math.isinf(value) or math.isnan(value):
        return str(value)
    for suffix, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= scale * (1 - 0.5 * 10.0**-digits):
            scaled = value / scale
            if scaled >= 1e4:
                return _scientific(value, digits)
            return _trim(scaled, digits) + suffix
    return _trim(value, digits)


def format_flops(value: float, digits: int = 3) -> str:
    """``1e21``, ``3.16e20``: FLOPs for people."""
    return "0" if value == 0 else _scientific(value, digits)


def format_loss(value: float) -> str:
    """Cross-entropy in nats, four decimals: the law is not worth more."""
    return f"{value:.4f}"


def format_share(value: float) -> str:
    """A share of the whole: ``12.3%``; less than the whole never reads as all of it."""
    return ">99.9%" if 0.9995 <= value < 1 - 1e-9 else f"{100 * value:.1f}%"


def format_ratio(value: float) -> str:
    """Tokens per parameter and the like, three digits."""
    return _trim(value, 3) if value < 1e5 else _scientific(value, 3)


def format_signed(nats: float) -> str:
    """A difference of losses with its sign, four decimals: ``+0.0805``, ``−0.0056``."""
    return f"{nats:+.4f}".replace("-", "−")


def _trim(value: float, digits: int) -> str:
    whole = math.floor(math.log10(abs(value))) + 1 if value else 1
    text = f"{value:.{max(0, digits - whole)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def _float(text: str, what: str) -> float:
    if "," in text and not _THOUSANDS.fullmatch(text):  # 1,5B is 1.5B to some and 15B to others
        raise QuantityError(
            f"{_say(what)} '{text}' has a comma that does not part thousands; write 1.5 or 1,500."
        )
    return float(text.replace("_", "").replace(",", ""))


def _say(what: str) -> str:
    """With a capital, unless it starts with the name of a field."""
    return what if "_" in what.partition(" ")[0] else what[:1].upper() + what[1:]
