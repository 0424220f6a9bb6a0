"""A teacher that exists already, by its numbers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner import units
from planner.errors import ProblemError, QuantityError


@dataclass(frozen=True)
class Teacher:
    """A teacher that exists already: its size, and its tokens or its measured cross-entropy.

    A measured loss needs no tokens, and no size either if the teacher's inference costs nothing.
    forward_flops: per token, where its architecture is known (`planner.models`); F(N) of the
    coefficient set otherwise.
    """

    size: float | None = None
    tokens: float | None = None
    loss: float | None = None
    name: str = ""
    forward_flops: float | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            units.check_positive(self.size, "teacher size")
        if self.forward_flops is not None:
            units.check_positive(self.forward_flops, "teacher forward_flops")
        if self.tokens is not None:
            units.check_positive(self.tokens, "teacher tokens")
        if self.loss is not None:
            units.check_positive(self.loss, "teacher loss")
            if self.loss > 20:
                raise QuantityError(
                    f"teacher loss is {self.loss}; cross-entropies in nats per token lie below 20."
                )
        if self.loss is None and (self.size is None or self.tokens is None):
            raise ProblemError(
                "a teacher needs its size and tokens, or its measured loss: "
                "size=7B,tokens=140B or size=7B,loss=2.05."
            )

    @classmethod
    def parse(cls, text: str) -> Teacher:
        """``size=7B,tokens=140B`` or ``size=7B,loss=2.05``, optionally with ``name=...``."""
        given: dict[str, str] = {}
        for part in text.split(","):
            key, equals, value = part.partition("=")
            key = key.strip()
            if not equals or key not in ("size", "tokens", "loss", "name"):
                raise ProblemError(
                    f"teacher '{text}': '{part.strip()}' is not size=..., tokens=..., loss=... "
                    "or name=...; write it like size=7B,tokens=140B."
                )
            if key in given:
                raise ProblemError(f"teacher '{text}' gives {key} twice; keep one.")
            given[key] = value.strip()
        return cls.from_mapping(given)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Teacher:
        """From size, tokens, loss and name in people's words or plain numbers."""
        only(given, ("size", "tokens", "loss", "name", "forward_flops"), "teacher")
        return cls(
            size=optional(given.get("size"), units.parse_count, "teacher size"),
            tokens=optional(given.get("tokens"), units.parse_count, "teacher tokens"),
            loss=optional(given.get("loss"), units.parse_plain, "teacher loss"),
            name=str(given.get("name", "")),
            forward_flops=optional(given.get("forward_flops"), units.parse_plain, "forward_flops"),
        )

    def __str__(self) -> str:
        parts = [self.name] if self.name else []
        if self.size is not None:
            parts.append(f"{units.format_count(self.size)} parameters")
        if self.tokens is not None:
            parts.append(f"{units.format_count(self.tokens)} tokens")
        if self.loss is not None:
            parts.append(f"loss {units.format_loss(self.loss)}")
        return ", ".join(parts)


def optional(value: Any, parse: Any, what: str) -> float | None:
    """A value read by `parse`, or None where there is none."""
    return None if value is None else float(parse(value, what))


def only(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Refuse a key that nobody reads."""
    for key in given:
        if key not in known:
            raise ProblemError(
                f"unknown {what} key '{key}'{suggest(key, known)}; known: {', '.join(known)}."
            )


def suggest(word: str, known: Any) -> str:
    """The known word nearest to an unknown one, for the end of a message; empty if none is."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""
