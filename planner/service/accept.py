"""The Accept header: which of the known formats a client likes best (RFC 9110, 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner.reports import FORMATS

_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


def choose(header: str) -> str:
    """The format whose media type the header likes best; JSON where it names none of them."""
    ranges = _media_ranges(header)
    best, chosen = (0.0, 9), "json"  # a quality of 0 is a refusal
    for name in sorted(FORMATS, key=lambda name: name != "json"):
        liking = _liking(FORMATS[name].media_type, ranges)
        if liking > best:
            best, chosen = liking, name
    return chosen


def _media_ranges(header: str) -> list[tuple[str, float]]:
    """(media range, quality) of each entry; an entry that is none is left out."""
    found = []
    for each in header.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        weights = [text[2:].strip() for text in parameters if text.startswith("q=")]
        text = weights[0] if weights else "1"
        if name.count("/") == 1 and _QUALITY.fullmatch(text):
            found.append((name, float(text)))
    return found


def _liking(media_type: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """(quality, closeness) of a media type; the range that names it most closely decides."""
    kind = media_type.partition("/")[0]
    for closeness, name in ((3, media_type), (2, f"{kind}/*"), (1, "*/*")):
        for given, quality in ranges:
            if given == name:
                return (quality, closeness)
    return (0.0, 0)
