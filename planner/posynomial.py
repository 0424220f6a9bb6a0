"""Extra constraints as people write them: ``18*teacher_size + 4*student_size <= 640e9``.

A posynomial is a sum of products of variables to real powers with positive factors: token and size
caps, memory, money, wall-clock time, ratios of tokens to parameters. It is what a geometric program
can hold, so nothing else is accepted. Text is parsed by a small grammar; nothing is evaluated.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from planner import units
from planner.errors import ProblemError

Term = tuple[float, Mapping[str, float]]

NAMES = (
    "student_size", "student_tokens", "teacher_size", "teacher_tokens",
    "student_flops", "teacher_flops", "inference_flops",
)  # fmt: skip
"""What a constraint may mention: ``3 F(N_S) D_S`` is what training the student costs,
``3 F(N_T) D_T`` the teacher, ``F(N_T) D_S`` the teacher's logits, charged or not."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?[KMBGTP]?(?![A-Za-z_]))"
    r"|(?P<name>[A-Za-z_]+)|(?P<power>\^|\*\*)|(?P<sign>[-+*/()]))"
)
_POWER = re.compile(r"\s*(?:\(\s*([-+]?[\d.]+(?:\s*/\s*[\d.]+)?)\s*\)|([-+]?(?:\d+\.?\d*|\.\d+)))")


@dataclass(frozen=True)
class Posynomial:
    """``sum of c * product of variable^exponent <= limit``, every c and the limit positive.

    Variables: student_size, student_tokens, teacher_size, teacher_tokens (parameters and tokens),
    student_flops and teacher_flops (FLOPs of training them, ``3 F(N) D``) and inference_flops (of
    the teacher's logits, ``F(N_T) D_S``), charged to the budget or not.
    """

    terms: tuple[Term, ...]
    limit: float
    text: str = ""

    def __post_init__(self) -> None:
        if not self.terms:
            raise ProblemError(f"constraint '{self}' has no terms; write sum <= limit.")
        for value in (self.limit, *(factor for factor, _ in self.terms)):
            if not (math.isfinite(value) and value > 0):
                raise ProblemError(
                    f"constraint '{self.text}' has the factor {value:g}; factors and limits must "
                    "be positive and finite, or it is no geometric program."
                )
        for name in self.variables:
            if name not in NAMES:
                near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise ProblemError(
                    f"constraint '{self.text}' has the unknown variable '{name}'{hint}; "
                    f"known: {', '.join(NAMES)}."
                )
        for factor, powers in self.terms:
            for name, power in powers.items():
                if name.endswith("flops") and power < 0:
                    term = _written(factor / self.limit, powers)
                    raise ProblemError(
                        f"constraint '{self.text}' bounds {name} from below or divides by it, in "
                        f"the term {term} <= 1: FLOPs are sums, so that is no posynomial; bound "
                        "sizes and tokens from below instead."
                    )

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables that occur."""
        return frozenset(name for _, powers in self.terms for name in powers)

    def value(self, values: Mapping[str, Any]) -> Any:
        """The left side at a point (numbers or expressions); at most `limit` where it holds."""
        return sum(
            math.prod((values[name] ** power for name, power in powers.items()), start=factor)
            for factor, powers in self.terms
        )

    @classmethod
    def parse(cls, text: str) -> Posynomial:
        """From ``sum <= product`` or ``product >= sum``; raises ProblemError that says where.

        Products take ``*``, ``/`` and powers (``^0.5``, ``**(2/3)``), numbers take ``640e9`` or
        ``640B``. A product of variables on the larger side is divided through:
        ``teacher_tokens <= 20*teacher_size``.
        """
        small, sign, large = text.replace("≤", "<=").replace("≥", ">=").partition("<=")
        if not sign:
            large, sign, small = text.replace("≥", ">=").partition(">=")
        if not sign or re.search("[<>=]", small + large):
            raise ProblemError(f"constraint '{text}' needs exactly one <= or >=.")
        terms, bound = _sum(small, text), _sum(large, text)
        if len(bound) != 1:
            raise ProblemError(
                f"constraint '{text}' has the sum '{large.strip()}' on its larger side, so its "
                f"second term, {_written(*bound[1])}, makes it no posynomial: one product may "
                "stand there; bound each term by itself."
            )
        limit, divisor = bound[0]
        divided = []
        for factor, powers in terms:
            joined = {
                name: powers.get(name, 0.0) - divisor.get(name, 0.0)
                for name in (*powers, *(extra for extra in divisor if extra not in powers))
            }
            divided.append((factor, {name: power for name, power in joined.items() if power}))
        return cls(tuple(divided), limit, text)

    def __str__(self) -> str:
        return self.text or f"{self.terms} <= {self.limit:g}"


def _sum(side: str, text: str) -> list[Term]:
    """Terms of one side: products joined by plus signs."""
    if not side.strip():
        raise ProblemError(f"constraint '{text}' has nothing on one side.")
    terms: list[Term] = []
    position = 0
    while True:
        term, position = _product(side, position, text)
        terms.append(term)
        if position == len(side):
            return terms
        position += 1  # past the plus sign


def _product(side: str, position: int, text: str) -> tuple[Term, int]:
    """One product from a position on; ends at a plus sign or the side's end."""
    factor, powers = 1.0, dict[str, float]()
    direction = 1.0
    while True:
        match = _TOKEN.match(side, position)
        if match is None or not (match["number"] or match["name"]):
            raise _unreadable(side, position, text)
        position, power = _power(side, match.end(), text)
        if match["number"]:
            number = units.parse_count(match["number"], f"a number in '{text}'")
            factor *= number ** (direction * power)
        else:
            name = match["name"]
            powers[name] = powers.get(name, 0.0) + direction * power
        rest = side[position:].lstrip()
        if not rest or rest[0] == "+":
            return (factor, powers), len(side) - len(rest)
        if rest[0] not in "*/":
            raise _unreadable(side, position, text)
        direction = 1.0 if rest[0] == "*" else -1.0
        position = len(side) - len(rest) + 1


def _power(side: str, position: int, text: str) -> tuple[int, float]:
    """Where a power ends and its exponent; 1 where there is none."""
    match = _TOKEN.match(side, position)
    if match is None or not match["power"]:
        return position, 1.0
    exponent = _POWER.match(side, match.end())
    if exponent is None:
        raise _unreadable(side, match.end(), text)
    numerator, _, denominator = (exponent[1] or exponent[2]).replace(" ", "").partition("/")
    try:
        return exponent.end(), float(Fraction(numerator) / Fraction(denominator or 1))
    except (ValueError, ZeroDivisionError):
        raise _unreadable(side, match.end(), text) from None


def _unreadable(side: str, position: int, text: str) -> ProblemError:
    rest = side[position:].strip()
    if rest.startswith("-"):
        return ProblemError(
            f"constraint '{text}' subtracts at '{rest}'; a geometric program allows plus signs "
            "only: bring the term to the other side."
        )
    return ProblemError(
        f"constraint '{text}' cannot be read at '{rest or 'its end'}'; write it like "
        "18*teacher_size + 4*student_size <= 640e9."
    )


def _written(factor: float, powers: Mapping[str, float]) -> str:
    """A term as one would type it."""
    parts = [f"{factor:g}"] if factor != 1 or not powers else []
    parts += [name if power == 1 else f"{name}^{power:g}" for name, power in powers.items()]
    return "*".join(parts)
