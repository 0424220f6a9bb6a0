"""Documents: any answer as plain values and back. The dataclasses themselves are the schema.

`dump` needs nothing but the standard library, so that printing JSON stays fast. Checking a file and
describing a type (JSON Schema, OpenAPI) is pydantic's, imported when a file is read, a schema is
asked for or the service starts.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

from planner.errors import INPUT_ERRORS, DocumentError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

SCHEMA_VERSION = 2
"""Version of every document. Within one version keys are only ever added."""

Document = dict[str, Any]
Kind = TypeVar("Kind")


if TYPE_CHECKING:
    derived = property
else:

    class derived(property):  # noqa: N801 - used as a decorator, like property
        """A property that documents hold beside the fields; on reading it is computed again."""


class Record:
    """A dataclass whose documents also hold its `derived` properties."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        schema = handler(source)
        kind: Any = cls
        inner: Any = schema
        while inner["type"] != "dataclass-args":
            inner = inner["schema"]
        inner["fields"] = [each for each in inner["fields"] if each["name"] not in _unwritten(kind)]
        for each in inner["fields"]:
            held = each["schema"]
            held = held["schema"] if held["type"] == "default" else held
            if held["type"] == "nullable":  # files without null leave the key out
                each["schema"] = core_schema.with_default_schema(held, default=None)
        for name in _derived(kind):
            getter = getattr(kind, name).fget
            hint = get_type_hints(getter, include_extras=True)["return"]
            found = core_schema.computed_field(name, handler.generate_schema(hint))
            inner.setdefault("computed_fields", []).append(found)
        return schema


@dataclass(frozen=True)
class Unwritten:
    """Annotates what an answer keeps for its sheet and picture but no document holds.

    Such a field is made by `unwritten`.
    """

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.any_schema()


def unwritten() -> Any:
    """A field that documents leave out; None in an answer that was read from one."""
    return field(default=None, repr=False, compare=False, metadata={"unwritten": True})


@dataclass(frozen=True)
class OrInfinite:
    """Annotates a float that may be infinite, which JSON has no word for: null means `value`."""

    value: float

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        def read(given: float | None) -> float:
            return self.value if given is None or math.isnan(given) else given

        number = core_schema.nullable_schema(handler(source))
        schema = core_schema.no_info_after_validator_function(read, number)
        return core_schema.with_default_schema(schema, default_factory=lambda: self.value)


OpenFloat = Annotated[float, OrInfinite(math.nan)]
"""A number that may be infinite or unknown: null in documents, read back as NaN."""


@dataclass(frozen=True)
class Values:
    """Annotates a numpy array: a list in documents, null where a number is not finite.

    depth: dimensions of the array. of: "number" or "boolean".
    """

    depth: int = 1
    of: str = "number"

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        def read(value: Any) -> Any:
            import numpy as np

            return np.asarray(value, dtype=float if self.of == "number" else bool)

        return core_schema.no_info_plain_validator_function(read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found: JsonSchemaValue = {"anyOf": [{"type": self.of}, {"type": "null"}]}
        for _ in range(self.depth):
            found = {"type": "array", "items": found}
        return found


@cache
def _unwritten(kind: Any) -> frozenset[str]:
    return frozenset(each.name for each in fields(kind) if each.metadata.get("unwritten"))


@cache
def _derived(kind: Any) -> tuple[str, ...]:
    found = [
        name
        for each in reversed(kind.__mro__)
        for name, value in vars(each).items()
        if isinstance(value, derived)
    ]
    return tuple(dict.fromkeys(found))


def dump(value: Any) -> Any:
    """Plain values: dicts for dataclasses, lists for tuples and arrays, None for what is not
    finite, as JSON has no word for it."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        names = [each.name for each in fields(kind) if each.name not in _unwritten(kind)]
        return {name: dump(getattr(value, name)) for name in (*names, *_derived(kind))}
    if isinstance(value, Mapping):
        return {str(key): dump(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [dump(each) for each in value]
    if hasattr(value, "tolist"):  # a numpy scalar or array
        return dump(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def schema(kind: type[Any]) -> Document:
    """JSON Schema (2020-12) of the documents that `dump` writes for a type."""
    from pydantic.json_schema import GenerateJsonSchema

    wanted: Any = kind
    found: Document = _adapter(wanted).json_schema(mode="serialization")
    return {"$schema": GenerateJsonSchema.schema_dialect, **found}


def load(kind: type[Kind], document: Any, name: str = "document") -> Kind:
    """The object of a document; raises DocumentError listing every fault with its place.

    Types are taken at their word: neither true nor "1" is a number.
    """
    import json

    from pydantic import ValidationError

    wanted: Any = kind
    try:
        text = json.dumps(document, default=str)  # TOML knows dates, which no document holds
        found: Kind = _adapter(wanted).validate_json(text, strict=True)
    except ValidationError as error:
        faults = [sentence(each) for each in error.errors(include_url=False)]
        faults = list(dict.fromkeys(faults))
        raise DocumentError(f"'{name}' has {len(faults)} problem(s):", faults) from error
    return found


def completed(document: Any, read: Any) -> Any:
    """A document with the keys that its file left out, from the dump of what was read from it.

    Unlike that dump it keeps the file's own derived values, right or wrong.
    """
    if isinstance(document, Mapping) and isinstance(read, Mapping):
        return {**read, **{key: completed(each, read.get(key)) for key, each in document.items()}}
    if isinstance(document, list | tuple) and isinstance(read, list) and len(document) == len(read):
        return [completed(*pair) for pair in zip(document, read, strict=True)]
    return dump(document)


def parse(text: str, name: str) -> Any:
    """The plain values of JSON or TOML text, told apart by content; raises DocumentError."""
    import json

    import tomli

    looks_like_json = text.lstrip().startswith("{")
    try:
        return json.loads(text) if looks_like_json else tomli.loads(text)
    except ValueError as error:
        language = "JSON" if looks_like_json else "TOML"
        raise DocumentError(f"'{name}' is not valid {language}: {error}.") from error


def read_text(path: str | Path) -> str:
    """The text of a file, or of standard input for "-"; raises DocumentError."""
    try:
        if str(path) == "-":
            return sys.stdin.read()
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (getattr(error, "strerror", None) or "").lower() or "it is not UTF-8 text"
        raise DocumentError(f"file '{path}' cannot be read ({reason}).") from error


@cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def sentence(fault: Mapping[str, Any]) -> str:
    """One fault of pydantic's as a sentence that starts with its place."""
    where = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]
    ).lstrip(".")
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, INPUT_ERRORS):
        return f"{where}: {cause}" if where else str(cause)
    message = str(fault["msg"])
    given = fault.get("input")
    plain = isinstance(given, str | int | float | bool | None) and fault["type"] != "missing"
    shown = f" ({given!r})" if plain else ""
    return f"{where or 'document'}: {message[:1].lower()}{message[1:]}{shown}"
