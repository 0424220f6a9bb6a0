"""Fields of questions: how people write their values, and how options present them.

A field is annotated with a `Quantity`, whose parser reads ``1B`` as well as 1e9; `option` says how
the command line, the service and the schema present it. Values are parsed once, when a question is
made, wherever its words came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from planner import units
from planner.accelerators import Offer, Price, parse_price
from planner.errors import ProblemError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Quantity:
    """Annotates a value that people may write in words; `parse(value, name)` reads it.

    many: a list of such values, also written as text parted by commas. offered: the parser also
    takes the question's `Offer`, which GPU-hours and money are converted with.
    """

    parse: Callable[..., Any]
    many: bool = False
    offered: bool = False

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema

        def check(given: Any) -> Any:
            values = given if self.many and isinstance(given, list | tuple) else [given]
            if all(isinstance(each, str | int | float) for each in values):
                return given
            raise PydanticCustomError("quantity", "must be a number or text")

        return core_schema.no_info_plain_validator_function(check)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        one: list[JsonSchemaValue] = [{"type": "number"}, {"type": "string"}]
        return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}}] if self.many else one}


@dataclass(frozen=True)
class _Flag:
    """See `Flag`."""

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.bool_schema(strict=True)


Flag = Annotated[bool, _Flag()]
"""True or false and nothing that could be taken for them."""


def _listed(
    parse: Callable[[Any, str], Any], once: bool = False
) -> Callable[[Any, str], tuple[Any, ...]]:
    """Values parted by commas, or a list of them, in their order; `once`: each only once."""

    def read(given: Any, name: str) -> tuple[Any, ...]:
        parts: list[Any]
        if isinstance(given, str):
            parts = [part.strip() for part in given.split(",")]
        else:
            parts = list(given) if isinstance(given, list | tuple) else [given]
        if any(part == "" for part in parts):
            raise ProblemError(
                f"{name} '{given}' has an empty entry; write values parted by single commas."
            )
        found = tuple(parse(part, name) for part in parts)
        return tuple(dict.fromkeys(found)) if once else found

    return read


def _span(given: Any, name: str, offer: Offer) -> tuple[float, float, int | None]:
    if isinstance(given, tuple):
        return given
    return units.parse_range(given, partial(units.parse_flops, offer=offer), name)


def _price(given: Any, name: str) -> Price:
    return given if isinstance(given, Price) else parse_price(given)


Flops = Annotated[float, Quantity(units.parse_flops, offered=True)]
Count = Annotated[float, Quantity(units.parse_count)]
Number = Annotated[float, Quantity(units.parse_plain)]
Share = Annotated[float, Quantity(units.parse_share)]
Money = Annotated[Any, Quantity(_price)]
"""A price per device-hour, read as a `Price`."""
Whole = Annotated[int, Quantity(units.parse_whole)]
Span = Annotated[
    tuple[float, float, int | None],
    Quantity(_span, offered=True),
]
"""A budget, or a range of them: (low, high, points or None)."""
Counts = Annotated[tuple[float, ...], Quantity(_listed(units.parse_count, once=True), many=True)]
Numbers = Annotated[tuple[float, ...], Quantity(_listed(units.parse_plain), many=True)]


def _text(given: Any, name: str) -> str:
    return given if isinstance(given, str) else repr(given)


Words = Annotated[tuple[str, ...], Quantity(_listed(_text, once=True), many=True)]
"""Texts that the question reads itself: amounts or ranges, names."""


def grid_of(
    words: tuple[str, ...], parse: Callable[[Any, str], float], name: str, points: int = 50
) -> tuple[float, ...]:
    """Values, and log-spaced ranges like 1e19:1e24:25, of a sweep; each once."""
    import numpy as np

    values: list[float] = []
    for word in words:
        low, high, count = units.parse_range(word, parse, name)
        values += [float(each) for each in np.geomspace(low, high, count or points)]
    return tuple(dict.fromkeys(values))


def option(
    description: str,
    *,
    default: Any = MISSING,
    metavar: str | None = None,
    flag: str | None = None,
    called: str | None = None,
    choices: Callable[[], Iterable[str]] | None = None,
    example: Any = None,
    argument: bool = False,
    file: bool = False,
    low: float | None = None,
    high: float | None = None,
    **click: Any,
) -> Any:
    """A dataclass field with what its option and its schema show.

    flag: the option's spelling where it is not the field's name. called: the name in errors.
    choices: words to complete from. argument: positional on the command line. file: text names a
    file of this machine, which a service does not read. click: further arguments of the option.
    """
    metadata: dict[str, Any] = {
        "description": description,
        "metavar": metavar,
        "flag": flag,
        "called": called,
        "choices": choices,
        "argument": argument,
        "file": file,
        "click": click,
    }
    if low is not None:
        metadata |= {"ge": low, "le": high}
    if example is not None:
        metadata["examples"] = [example]
    return field(default=default, metadata=metadata)
