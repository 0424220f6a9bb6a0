"""What people wish of coefficients: ``gamma=1`` holds one, ``alpha=0.2:0.5`` confines one."""

from __future__ import annotations

from collections.abc import Iterable

from planner.errors import QuantityError
from planner.fit.coordinates import Range


def read_fixed(texts: Iterable[str], option: str = "--fix") -> dict[str, float]:
    """Names and the values they are held at; QuantityError for a text that is no NAME=VALUE."""
    return {name: _number(option, name, text) for name, text in _pairs(option, texts).items()}


def read_bounds(texts: Iterable[str], option: str = "--bound") -> dict[str, Range]:
    """Names and their ranges; QuantityError for a text that is no NAME=LOW:HIGH."""
    found: dict[str, Range] = {}
    for name, text in _pairs(option, texts).items():
        low, colon, high = text.partition(":")
        if not colon:
            raise QuantityError(f"{option} {name}={text}: write it like {name}=0.2:0.5.")
        found[name] = (_number(option, name, low), _number(option, name, high))
    return found


def _pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise QuantityError(f"{option} '{text}': write NAME=VALUE, like c0=2.5.")
        if name in found:
            raise QuantityError(f"{option} {name} is given twice; keep one.")
        found[name] = value
    return found


def _number(option: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise QuantityError(f"{option} {name}: '{text}' is not a number.") from None
