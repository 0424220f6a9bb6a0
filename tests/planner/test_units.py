"""Quantities: what people write is read exactly or refused; what is shown reads back."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import units
from planner.errors import QuantityError
from planner.units import (
    check_positive,
    format_count,
    format_flops,
    format_loss,
    format_ratio,
    format_share,
    parse_count,
    parse_flops,
    parse_plain,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1B", 1e9), ("1b", 1e9), ("1G", 1e9), ("300M", 3e8), ("2.5T", 2.5e12), ("1e21", 1e21),
        ("7_750_000_000", 7.75e9), ("7,750,000,000", 7.75e9), ("12.6 B", 12.6e9), (".5k", 500.0),
        ("  1E9 ", 1e9), ("1e9B", 1e18), ("3 billion", 3e9), ("20 trillion tokens", 2e13),
        ("7B params", 7e9), ("7B parameters", 7e9), ("1.5e-3B", 1.5e6), ("5.", 5.0), ("2P", 2e15),
        ("1,234.5K", 1.2345e6), ("+3M", 3e6),
    ],
)  # fmt: skip
def test_counts_as_people_write_them(text: str, value: float) -> None:
    """Sizes and tokens in every accepted spelling."""
    assert parse_count(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e21", 1e21), ("1 ZFLOP", 1e21), ("1ZFLOPs", 1e21), ("2.5 YFLOP", 2.5e24),
        ("1e21 FLOPs", 1e21), ("30 PFLOP-days", 30e15 * 86400), ("30 PFLOP days", 30e15 * 86400),
        ("30pflop-day", 30e15 * 86400), ("30 PFLOP/s-days", 30e15 * 86400),
        ("30 PFLOPS-days", 30e15 * 86400), ("2 EFLOP-hours", 2e18 * 3600),
        ("1 EFLOP-year", 1e18 * 365.25 * 86400), ("5 TFLOP-s", 5e12), ("1_000_000 GFLOP", 1e15),
        ("3 EFLOP", 3e18), ("2E18", 2e18),
    ],
)  # fmt: skip
def test_budgets_as_people_write_them(text: str, value: float) -> None:
    """FLOPs, prefixed FLOPs and rate-times-time."""
    assert parse_flops(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("text", ["30 PFLOP/s", "30 PFLOP/day", "1e21 FLOP/s", "1 EFLOP / hour"])
def test_rates_are_not_budgets(text: str) -> None:
    """FLOP per second is a speed; reading it as an amount would be wrong by the run's length."""
    with pytest.raises(QuantityError, match="not an amount of compute"):
        parse_flops(text)


@pytest.mark.parametrize("text", ["1B", "1e21 tokens", "5 foo", "", "FLOP", "1e", "one ZFLOP"])
def test_budgets_that_cannot_be_read(text: str) -> None:
    """A budget of `1B` could mean anything; it is refused with an example."""
    with pytest.raises(QuantityError, match="30 PFLOP-days") as caught:
        parse_flops(text, "budget")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "1X",
        "1e",
        "1E",
        "B",
        "",
        " ",
        "1 2",
        "1.2.3B",
        "1BB",
        "--1B",
        "0x10",
        "1B/2",
        "1Bn",
        "1e9e9",
    ],
)
def test_counts_that_cannot_be_read(text: str) -> None:
    """Unknown units are refused with examples, never guessed (a cut-off 1e21 is not an exa)."""
    with pytest.raises(QuantityError, match=r"write it like 1B, 300M, 2\.5T") as caught:
        parse_count(text, "student size")
    assert f"Student size '{text}'" in str(caught.value)


@pytest.mark.parametrize("text", ["1,5B", "1,50", "1,5000", "12,34,567", "1,"])
def test_decimal_commas_are_refused(text: str) -> None:
    """1,5B is 1.5B to some readers and 15B to a parser that drops commas: neither is assumed."""
    with pytest.raises(QuantityError, match="comma that does not part thousands"):
        parse_count(text)
    with pytest.raises(QuantityError, match="comma that does not part thousands"):
        parse_flops(text.rstrip("B") + " ZFLOP")


@pytest.mark.parametrize("text", ["0", "-1", "-0.0", "nan", "inf", "-inf", "infinity", "1e400"])
def test_amounts_that_make_no_sense(text: str) -> None:
    """Zero, negative, NaN and infinite amounts say what was written and what is needed."""
    for parse in (parse_count, parse_flops):
        with pytest.raises(QuantityError, match="must be a positive, finite number") as caught:
            parse(text, "budget")
        assert text in str(caught.value)


@pytest.mark.parametrize("text", ["0B", "-1B", "-0.5 T"])
def test_counts_with_units_that_make_no_sense(text: str) -> None:
    """A unit does not hide a sign or a zero."""
    with pytest.raises(QuantityError, match=f"Student size is {text}; it must be a positive"):
        parse_count(text, "student size")


def test_absurd_amounts() -> None:
    """1e300 is a slip of the unit, not a budget."""
    for parse in (parse_count, parse_flops):
        with pytest.raises(QuantityError, match="check the unit"):
            parse("1e61")
    assert parse_count("1e60") == 1e60


@pytest.mark.parametrize("value", [True, None, [1], "5"])
def test_check_positive_wants_a_number(value: object) -> None:
    """Booleans and text are not numbers for the library either."""
    with pytest.raises(QuantityError, match="is not a number"):
        check_positive(value, "budget")  # type: ignore[arg-type]


@given(st.floats(1e-6, 1e60))
def test_numbers_pass_through(value: float) -> None:
    """A number needs no parsing, and repr of a number parses back to the last bit."""
    for parse in (parse_count, parse_flops):
        assert parse(value) == value
        assert parse(repr(value)) == value


@given(st.floats(1.0, 1e30), st.integers(3, 9))
def test_counts_round_trip(value: float, digits: int) -> None:
    """What format_count shows reads back within half a unit of its last digit."""
    shown = format_count(value, digits)
    assert parse_count(shown) == pytest.approx(value, rel=0.5000001 * 10.0 ** (1 - digits))


@given(st.floats(1e-3, 1e59), st.integers(3, 9))
def test_flops_round_trip(value: float, digits: int) -> None:
    """What format_flops shows reads back within half a unit of its last digit."""
    shown = format_flops(value, digits)
    assert parse_flops(shown) == pytest.approx(value, rel=0.5000001 * 10.0 ** (1 - digits))


@given(st.floats(1e-9, 1e12))
def test_ratios_keep_their_digits(value: float) -> None:
    """Tokens per parameter far below one still show three digits, never a bare 0."""
    assert float(format_ratio(value)) == pytest.approx(value, rel=0.0050001)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1e9, "1B"), (1.355e9, "1.35B"), (3e8, "300M"), (2.5e12, "2.5T"), (999.6e6, "1B"),
        (999.4e6, "999M"), (12.61e9, "12.6B"), (20e12, "20T"), (1e17, "1e17"), (1234.0, "1.23K"),
        (7.0, "7"), (0.25, "0.25"), (math.inf, "inf"), (99_960.0, "100K"),
    ],
)  # fmt: skip
def test_counts_for_people(value: float, shown: str) -> None:
    """Suffixes, three digits, no trailing zeros; beyond 10,000T the exponent is clearer."""
    assert format_count(value) == shown


def test_other_formats() -> None:
    """FLOPs, losses, shares and ratios as shown everywhere."""
    assert format_flops(3.16e20) == "3.16e20"
    assert format_flops(1e21) == "1e21"
    assert format_flops(0) == "0"
    assert format_loss(2.30264) == "2.3026"
    assert format_share(0.1234) == "12.3%"
    assert format_ratio(21.83) == "21.8"
    assert format_ratio(0.001634) == "0.00163"
    assert format_ratio(1.5e7) == "1.5e7"


def test_plain_numbers() -> None:
    """Losses and fractions: finite numbers only; JSON's true is no 1."""
    assert parse_plain("2.05", "loss") == 2.05
    for text in ("abc", "", None, True):
        with pytest.raises(QuantityError, match=re.escape(f"Loss '{text}' is not a number")):
            parse_plain(text, "loss")  # type: ignore[arg-type]
    for text in ("nan", "inf"):
        with pytest.raises(QuantityError, match="must be a finite number"):
            parse_plain(text, "loss")


@given(st.text(max_size=20))
def test_no_text_breaks_the_parsers(text: str) -> None:
    """Whatever is typed is a number or a QuantityError, never another exception."""
    for parse in (parse_count, parse_flops):
        try:
            assert 0 < parse(text) <= 1e60
        except QuantityError:
            continue


@pytest.mark.parametrize(("nats", "text"), [(0.08049, "+0.0805"), (-0.00561, "−0.0056")])
def test_differences_carry_a_typographic_sign(nats: float, text: str) -> None:
    """The minus of the tables and of the sentences is the same."""
    assert units.format_signed(nats) == text
