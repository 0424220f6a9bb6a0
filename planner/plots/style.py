"""How every picture looks: colours, type, log axes with readable ticks, direct labels, saving.

    with style.drawing():
        figure, axes = style.figure()
        ...                                   # plot, set limits
        style.log_axis(axes.xaxis, 1e19, 1e26, "Budget, FLOPs", style.flops)
        style.title(axes, "Distilling wins up to 6e22 FLOPs", "1B student, full costs")
        style.label_lines(axes, [style.Label(x, y, "full", style.colour("full")), ...])
    style.save(figure, "picture.svg")

Colours are those of Okabe and Ito, told apart by colour-blind readers; one per scenario everywhere.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from planner import units
from planner.errors import require
from planner.files import check_folder, check_suffix, write_whole

SUFFIXES = (".png", ".svg", ".pdf", ".html")

INK, FAINT, GRID = "#222222", "#6b6b6b", "#e4e4e4"
DOMAIN = "#e6efe9"  # where the law was measured
SUPERVISED = "#222222"
COLOURS = {
    "supervised": SUPERVISED,
    "best-case": "#56B4E9",
    "teacher-inference": "#0072B2",
    "teacher-pretraining": "#E69F00",
    "full": "#D55E00",
    "custom": "#CC79A7",
}
TERMS = {
    "student_training": "#0072B2",
    "teacher_inference": "#56B4E9",
    "teacher_pretraining": "#E69F00",
    "serving": "#999999",
}
"""Colours of the terms of Eq. 9, for pictures of shares."""

CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c6d31", "#222222")
"""For things that are no scenario: several students, several teachers."""

_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.size": 12.0,
    "text.color": INK,
    "axes.edgecolor": "#9a9a9a",
    "axes.labelcolor": INK,
    "axes.labelsize": 12.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 11.0,
    "ytick.labelsize": 11.0,
    "lines.linewidth": 2.4,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "distillation-planner",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Label:
    """A direct label: the end of a line in data coordinates, its words and its colour."""

    x: float
    y: float
    text: str
    colour: str = INK


def check(path: str | Path) -> str:
    """The suffix of a picture's path; FileError unless it can be written there. Call it early."""
    suffix = check_suffix(path, SUFFIXES, "the picture")
    check_folder(path)
    require("matplotlib", extra="plot")
    return suffix


def colour(method: str) -> str:
    """The colour of a scenario, of "supervised" or of custom charges."""
    return COLOURS.get(method, COLOURS["custom"])


def shades(count: int, low: float = 0.12, high: float = 0.88) -> list[str]:
    """Ordered colours (dark to light) for an ordered quantity such as student sizes."""
    matplotlib = require("matplotlib", extra="plot")
    colours = require("matplotlib.colors", extra="plot")
    scale = matplotlib.colormaps["viridis"]
    return [colours.to_hex(scale(each)) for each in np.linspace(low, high, max(count, 1))]


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """The style's settings, for as long as a picture is drawn."""
    matplotlib = require("matplotlib", extra="plot")
    with matplotlib.rc_context(_RC):
        yield


def figure(width: float = 10.0, height: float = 5.6) -> tuple[Any, Any]:
    """(Figure, Axes) in inches; the default fills a slide."""
    drawn, grid = figures(1, 1, width, height)
    return drawn, grid[0][0]


def figures(
    rows: int, columns: int, width: float, height: float, **rest: Any
) -> tuple[Any, list[list[Any]]]:
    """(Figure, rows of Axes) for small multiples; `rest` goes to subplots (sharex, sharey, ...)."""
    made = require("matplotlib.figure", extra="plot").Figure(
        figsize=(width, height), layout="constrained"
    )
    made.get_layout_engine().set(w_pad=0.08, h_pad=0.1, wspace=0.04, hspace=0.06)
    grid = made.subplots(rows, columns, squeeze=False, **rest)
    return made, [list(row) for row in grid]


def title(axes: Any, finding: str, small: str = "") -> None:
    """The finding in bold over a picture, and what it is about in small print below it."""
    width = axes.get_figure().get_figwidth() - 1.0
    finding, small = _wrapped(finding, 15, width), _wrapped(small, 11, width)
    lines = 1 + small.count("\n") if small else 0
    axes.set_title(
        finding, loc="left", fontsize=15, fontweight="bold", pad=10 + 15.5 * lines, wrap=False
    )
    if small:
        note = axes.annotate(
            small, (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points",
            fontsize=11, color=FAINT, ha="left", va="bottom", annotation_clip=False,
        )  # fmt: skip
        note.set_in_layout(False)  # the title's pad has made room for it


def figure_title(made: Any, finding: str, small: str = "") -> None:
    """The same for small multiples."""
    width, height = made.get_figwidth() - 0.3, made.get_figheight()
    finding, small = _wrapped(finding, 16, width), _wrapped(small, 11, width)
    below = "\n" * (1 + small.count("\n")) if small else ""
    made.suptitle(finding + below, x=0.012, ha="left", fontsize=16, fontweight="bold")
    if small:
        top = 0.4 + 0.27 * finding.count("\n")  # inches that the finding takes
        made.text(0.012, 1 - top / height, small, fontsize=11, color=FAINT, ha="left", va="top")


def _wrapped(text: str, size: float, width: float) -> str:
    """Text in lines that fit a width in inches, by the mean width of letters of that size."""
    letters = max(20, int(72 * width / (0.58 * size)))
    return "\n".join(line for part in text.split("\n") for line in wrap(part, letters) or [""])


def flops(value: float) -> str:
    """``1e21``."""
    return units.format_flops(value, 2)


def count(value: float) -> str:
    """``10B``, ``300M``; powers of ten beyond 10,000 trillion."""
    return units.format_count(value, 2)


def ratio(value: float) -> str:
    """``2x``, ``0.5x``."""
    return f"{units.format_ratio(value)}×"


def log_axis(
    axis: Any,
    low: float,
    high: float,
    label: str,
    words: Callable[[float], str] = count,
    most: int = 9,
) -> None:
    """A logarithmic axis between limits, with at most `most` round ticks in people's words."""
    axes = axis.axes
    horizontal = axis.axis_name == "x"
    (axes.set_xscale if horizontal else axes.set_yscale)("log")
    (axes.set_xlim if horizontal else axes.set_ylim)(low, high)
    ticks = log_ticks(low, high, most)
    axis.set_ticks(ticks, [words(tick) for tick in ticks])
    axis.set_ticks([], minor=True)
    axis.set_label_text(label)


def log_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Round numbers between two positive limits: 1-2-5 steps, decades, or every few decades."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [s * 10.0**e for e in range(first, last + 1) for s in steps]
        inside = [t for t in ticks if low * (1 - 1e-9) <= t <= high * (1 + 1e-9)]
        if len(inside) <= most:
            return inside
    stride = math.ceil((last - first + 1) / most)
    return [
        10.0**e
        for e in range(first, last + 1)
        if e % stride == 0 and low * (1 - 1e-9) <= 10.0**e <= high * (1 + 1e-9)
    ]


def label_lines(axes: Any, labels: Sequence[Label], size: float = 11.0) -> None:
    """Names right of the axes beside the ends of their lines, moved apart where they would overlap.

    Call it when limits and scales are final. A hairline joins a name to a line that ends elsewhere.
    """
    if not labels:
        return
    heights = [_fraction(axes, label)[1] for label in labels]
    made = axes.get_figure()
    points = made.get_figheight() * 72 * axes.get_position().height
    lines = [1 + label.text.count("\n") for label in labels]
    places = spread(heights, [1.25 * size * each / points for each in lines])
    for label, place, height in zip(labels, places, heights, strict=True):
        x, _ = _fraction(axes, label)
        far = abs(place - height) > 0.004 or x < 0.985
        axes.annotate(
            label.text, (min(x, 1.0), min(max(height, 0.0), 1.0)), (1.025, place),
            xycoords="axes fraction", textcoords="axes fraction", color=label.colour,
            fontsize=size, va="center", ha="left", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": label.colour, "lw": 0.8, "alpha": 0.55,
                "shrinkA": 1, "shrinkB": 1, "relpos": (0, 0.5),
            } if far else None,
        )  # fmt: skip


def spread(wanted: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Places near the wanted ones, `sizes` apart, that stay between 0 and 1 while there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    total = sum(sizes)
    low, high = (0.0, 1.0) if total <= 1 else (0.5 - total / 2, 0.5 + total / 2)
    groups: list[tuple[list[int], float]] = []  # members and the centre of the group
    for i in order:
        members, centre = [i], min(max(wanted[i], low + sizes[i] / 2), high - sizes[i] / 2)
        while groups:
            before, at = groups[-1]
            reach = 0.5 * (sum(sizes[j] for j in before) + sum(sizes[j] for j in members))
            if centre - at >= reach - 1e-12:
                break
            groups.pop()
            members = before + members
            half = 0.5 * sum(sizes[j] for j in members)
            centre = sum(wanted[j] for j in members) / len(members)
            centre = min(max(centre, low + half), high - half)
        groups.append((members, centre))
    places = [0.0] * len(wanted)
    for members, centre in groups:
        edge = centre - 0.5 * sum(sizes[j] for j in members)
        for j in members:
            places[j] = edge + 0.5 * sizes[j]
            edge += sizes[j]
    return places


def shade_domain(
    axes: Any,
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    words: str = "law measured here",
) -> None:
    """The domain of validity as a quiet field; None leaves a direction unbounded."""
    x_limits, y_limits = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    x0, x1 = (max(x[0], x_limits[0]), min(x[1], x_limits[1])) if x else tuple(x_limits)
    y0, y1 = (max(y[0], y_limits[0]), min(y[1], y_limits[1])) if y else tuple(y_limits)
    if x0 >= x1 or y0 >= y1:
        return
    patch = require("matplotlib.patches", extra="plot").Rectangle
    axes.add_patch(patch((x0, y0), x1 - x0, y1 - y0, facecolor=DOMAIN, edgecolor="none", zorder=0))
    if words:
        axes.annotate(
            words, (x0, y0), (5, 5), textcoords="offset points", fontsize=9.5, color="#4c7a5c",
            ha="left", va="bottom", zorder=1,
        )  # fmt: skip


def shade_where(
    axes: Any, x: Sequence[float] | np.ndarray, inside: Sequence[bool] | np.ndarray,
    words: str = "inside the law's domain",
) -> None:  # fmt: skip
    """The same along a line of plans: every stretch of `x` where `inside` holds."""
    x, inside = np.asarray(x, dtype=float), np.asarray(inside, dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    for start, stop in edges.reshape(-1, 2):
        axes.axvspan(x[start], x[stop - 1], facecolor=DOMAIN, edgecolor="none", zorder=0)
    if edges.size and words:
        axes.annotate(
            words, (x[edges[0]], 0), (5, 5), xycoords=("data", "axes fraction"),
            textcoords="offset points", fontsize=9.5, color="#4c7a5c", ha="left", va="bottom",
        )  # fmt: skip


def mark(
    axes: Any,
    x: float,
    y: float,
    words: str = "your plan",
    offset: tuple[float, float] = (12, 14),
    ring: str = INK,
) -> None:
    """The user's point: a ring with a few words beside it."""
    axes.plot([x], [y], "o", ms=11, mfc="white", mec=ring, mew=2.4, zorder=10, clip_on=False)
    axes.annotate(
        words, (x, y), offset, textcoords="offset points", fontsize=11.5, fontweight="bold",
        color=ring, ha="left" if offset[0] >= 0 else "right", zorder=11, annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.2},
    )  # fmt: skip


def save(made: Any, path: str | Path, caption: str = "") -> None:
    """Write a picture whole or not at all; the suffix says how. HTML is one page of its own."""
    suffix = check(path)
    if suffix == ".html":
        write_whole(path, page(caption or Path(path).stem, [(caption, svg(made))]))
        return
    write_whole(path, render(made, suffix.lstrip(".")))


def render(made: Any, form: str, dpi: int = 160) -> bytes:
    """A picture as bytes of png, svg or pdf, the same bytes for the same picture."""
    matplotlib = require("matplotlib", extra="plot")
    buffer = io.BytesIO()
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    with matplotlib.rc_context(_RC):
        made.savefig(buffer, format=form, dpi=dpi, metadata=metadata[form])
    return buffer.getvalue()


def svg(made: Any) -> str:
    """A picture as an <svg> element to stand in a page, scaling with it."""
    text = render(made, "svg").decode("utf-8")
    element = text[text.index("<svg") :]
    head, rest = element.split(">", 1)
    kept = [part for part in head.split("\n") if part.strip()]
    joined = " ".join(kept)
    for name in ("width", "height"):
        start = joined.find(f' {name}="')
        if start >= 0:
            end = joined.index('"', start + len(name) + 3)
            joined = joined[:start] + joined[end + 1 :]
    return f'{joined} style="width:100%;height:auto">{rest}'


def page(heading: str, parts: Sequence[tuple[str, str]], body: str = "") -> str:
    """A self-contained HTML page: heading, further HTML, then pictures with their captions."""
    figures_html = "".join(
        f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, picture in parts
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{CSS}</style></head>"
        f"<body><h1>{escape(heading)}</h1>{body}{figures_html}</body></html>\n"
    )


CSS = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:1080px;"
    "margin:2rem auto;padding:0 1rem}h1{font-size:1.5rem}h2{margin-top:2.5rem;font-size:1.2rem}"
    "figure{margin:1.5rem 0}figcaption{color:#6b6b6b;font-size:.9rem}"
    "table{border-collapse:collapse;font-size:.9rem}th,td{padding:.3rem .6rem;text-align:left;"
    "border-bottom:1px solid #e4e4e4;vertical-align:top}.agrees{color:#00714f;font-weight:600}"
    ".differs{color:#b54600;font-weight:600}img{max-width:100%;height:auto}"
)


def _fraction(axes: Any, label: Label) -> tuple[float, float]:
    """A point in data coordinates as fractions of the axes."""
    x, y = axes.transLimits.transform(axes.transScale.transform((label.x, label.y)))
    return float(x), float(y)
