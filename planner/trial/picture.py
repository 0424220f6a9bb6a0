"""A trial in one picture: predicted against measured, and the allocations that were compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner import units
from planner.plots import style

COLOURS = {"supervised": "#222222", "teacher": "#E69F00", "distilled": "#D55E00"}
NAMES = {"supervised": "supervised", "teacher": "teachers", "distilled": "distilled"}


def draw(document: Mapping[str, Any]) -> Any:
    """Two panels side by side."""
    with style.drawing():
        made, grid = style.figures(1, 2, 14.0, 6.2, width_ratios=[1, 1.15])
        _runs(grid[0][0], document)
        _arms(grid[0][1], document)
        style.figure_title(made, headline(document), _small(document))
        return made


def headline(document: Mapping[str, Any]) -> str:
    """What came out."""
    answers = document["judgement"]["answers"]
    tokens = answers[0]["difference"]["measured"]
    word = "better" if tokens < 0 else "worse"
    regret = f", regret {document['judgement']['regret']:.3f}"
    return (
        f"{document['outcome'].capitalize()}: distilled {abs(tokens):.2f} nats {word} than "
        f"supervised at equal tokens{regret if document['trial']['neighbours_exist'] else ''}"
    )


def _small(document: Mapping[str, Any]) -> str:
    trial = document["trial"]
    return (
        f"{units.format_count(trial['student_parameters'])} student, "
        f"{units.format_flops(trial['budget'])} FLOPs per allocation, {trial['seeds']} seed(s), "
        f"corpus {trial['corpus']}"
    )


def _runs(axes: Any, document: Mapping[str, Any]) -> None:
    runs = [run for run in document["runs"] if run["phase"] != "tuning"]
    values = [run[name] for run in runs for name in ("measured", "predicted")]
    room = 0.06 * (max(values) - min(values))
    low, high = min(values) - room, max(values) + room
    axes.plot([low, high], [low, high], color=style.FAINT, lw=1.2, zorder=1)
    for method, colour in COLOURS.items():
        for phase, face in (("ladder", "white"), ("test", colour)):
            chosen = [r for r in runs if r["method"] == method and r["phase"] == phase]
            if not chosen:
                continue
            x = [run["measured"] for run in chosen]
            y = [run["predicted"] for run in chosen]
            errors = [
                [run["predicted"] - run["low"] for run in chosen],
                [run["high"] - run["predicted"] for run in chosen],
            ]
            if phase == "test":
                axes.errorbar(x, y, errors, fmt="none", ecolor=colour, alpha=0.25, lw=1, zorder=2)
            label = NAMES[method] + (" (fitted)" if phase == "ladder" else "")
            axes.plot(
                x, y, "o", ms=6.5, mfc=face, mec=colour, mew=1.4, label=label, zorder=3, ls="none"
            )
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_xlabel("Measured cross-entropy, nats per token")
    axes.set_ylabel("Predicted")
    axes.legend(frameon=False, fontsize=10, loc="upper left")


def _arms(axes: Any, document: Mapping[str, Any]) -> None:
    arms = document["arms"][::-1]
    for place, arm in enumerate(arms):
        colour = COLOURS["supervised" if arm["teacher"] is None else "distilled"]
        axes.plot(
            [arm["predicted_low"], arm["predicted_high"]], [place + 0.2] * 2,
            color=colour, alpha=0.3, lw=5, solid_capstyle="butt",
        )  # fmt: skip
        axes.plot([arm["predicted"]], [place + 0.2], "|", ms=11, mew=2.2, color=colour)
        axes.plot(
            arm["seeds"], [place - 0.14] * len(arm["seeds"]), "o", ms=4.5, mfc="none",
            mec=colour, alpha=0.7,
        )  # fmt: skip
        half = arm["half_width"] or 0.0
        axes.errorbar(
            [arm["measured"]], [place - 0.14], xerr=[half], fmt="D", ms=6, color=colour, lw=1.6,
            capsize=3,
        )  # fmt: skip
    axes.set_yticks(range(len(arms)), [arm["title"] for arm in arms])
    for tick, arm in zip(axes.get_yticklabels(), arms, strict=True):
        tick.set_color(style.INK)
        tick.set_fontweight("bold" if arm["key"] == document["recommended"]["arm"] else "normal")
    axes.set_ylim(-0.6, len(arms) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(
        "Nats per token. Bar: predicted, 90%. Diamond: measured mean, 95%. Rings: seeds",
        fontsize=10.5,
        loc="right",
    )
