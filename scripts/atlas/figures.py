"""The registry of figures and tables, and how they are drawn to files, on several cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atlas import curves, maps, sizes
from atlas.claims import TABLE_13
from atlas.data import Atlas
from atlas.picture import Picture, to_csv
from planner.files import write_whole
from planner.plots import style


def _table_13(atlas: Atlas) -> Picture:
    """The 34 models of Table 13 as printed, the formula's FLOPs for them, and what is buildable."""
    printed = np.array([size for size, _ in TABLE_13])
    flops = np.array([gigaflops * 1e9 for _, gigaflops in TABLE_13])
    ours = atlas.law.flops.per_token(printed)
    models = [atlas.law.architectures.build(layers) for layers in range(8, 8 + len(TABLE_13))]
    columns: dict[str, Any] = {
        "layers": [model.layers for model in models],
        "d_model": [model.d_model for model in models],
        "paper_parameters": printed,
        "paper_flops_per_token": flops,
        "flops_per_token": ours,
        "relative_difference": ours / flops - 1,
        "buildable_parameters": [model.parameters for model in models],
        "buildable_d_ff": [model.d_ff for model in models],
    }
    return Picture(
        None, columns,
        "The paper's models, their forward FLOPs per token as printed and by the formula, and the "
        "nearest buildable shape of the same depth (Table 13).",
    )  # fmt: skip


FIGURES: dict[str, tuple[str, Callable[[Atlas], Picture]]] = {
    "fig06": ("Figure 6", partial(maps.fixed_tokens, sizes=curves.SHOWN)),
    "fig07": ("Figure 7", maps.best_teacher),
    "fig08": ("Figure 8", partial(curves.losses, sizes=curves.SHOWN)),
    "fig09": ("Figure 9", curves.per_student),
    "fig13": ("Figure 13", lambda atlas: maps.fixed_tokens(atlas, tuple(atlas.sizes))),
    "fig14": ("Figure 14", maps.fixed_compute),
    "fig15": ("Figure 15", partial(maps.existing, paid=True)),
    "fig16": ("Figure 16", partial(maps.existing, paid=False)),
    "fig17": ("Figure 17", lambda atlas: curves.losses(atlas, tuple(atlas.sizes))),
    "fig18": ("Figure 18", curves.differences),
    "fig19": ("Figure 19", partial(curves.settings, scenario="best-case")),
    "fig20": ("Figure 20", partial(curves.ratios, scenario="best-case")),
    "fig21": ("Figure 21", partial(curves.settings, scenario="teacher-inference")),
    "fig22": ("Figure 22", partial(curves.ratios, scenario="teacher-inference")),
    "fig23": ("Figure 23", partial(curves.share_areas, scenario="teacher-inference")),
    "fig24": ("Figure 24", partial(curves.settings, scenario="teacher-pretraining")),
    "fig25": ("Figure 25", partial(curves.ratios, scenario="teacher-pretraining")),
    "fig26": ("Figure 26", partial(curves.share_areas, scenario="teacher-pretraining")),
    "fig27": ("Figure 27", partial(curves.ratios, scenario="full")),
    "fig28": ("Figure 28", partial(curves.settings, scenario="full")),
    "fig29": ("Figure 29", partial(curves.share_areas, scenario="full")),
    "fig30": ("Figure 30", maps.who_wins),
    "fig31": ("Figure 31", sizes.free_sizes),
    "fig32": ("Figure 32", sizes.free_losses),
    "fig33": ("Figure 33", partial(curves.equal_loss, what="compute")),
    "fig34": ("Figure 34", partial(curves.equal_loss, what="data")),
    "fig40": ("Figure 40", maps.unlimited),
    "fig41": ("Figure 41", maps.weak_to_strong),
    "table03": ("Table 3", sizes.table_3),
    "table13": ("Table 13", _table_13),
}
"""Name of the files -> (what it is called, how it is made)."""


DPI = 120  # of the pictures: wide ones have 1,800 columns


@dataclass(frozen=True)
class Shown:
    """A figure on disk; `picture` is None for a table of numbers alone."""

    key: str
    title: str
    caption: str
    picture: str | None
    data: str
    rows: int


def draw_all(
    atlas: Atlas, folder: Path, names: Sequence[str], jobs: int, say: Callable[[str], None]
) -> list[Shown]:
    """Draw the figures into the folder, each whole or not at all."""
    style.check(folder / "atlas.png")
    if jobs <= 1:
        found = []
        for key in names:
            found.append(_draw(atlas, folder, key))
            say(f"drew {key}")
        return found
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, _receive, (atlas, folder)) as pool:
        found = []
        for shown in pool.map(_draw_received, names):
            found.append(shown)
            say(f"drew {shown.key}")
        return found


_RECEIVED: dict[str, Any] = {}


def _receive(atlas: Atlas, folder: Path) -> None:
    _RECEIVED.update(atlas=atlas, folder=folder)


def _draw_received(key: str) -> Shown:
    return _draw(_RECEIVED["atlas"], _RECEIVED["folder"], key)


def _draw(atlas: Atlas, folder: Path, key: str) -> Shown:
    title, make = FIGURES[key]
    made = make(atlas)
    write_whole(folder / f"{key}.csv", to_csv(made.columns))
    picture = None
    if made.figure is not None:
        picture = f"{key}.png"
        write_whole(folder / picture, style.render(made.figure, "png", DPI))
    rows = len(next(iter(made.columns.values())))
    return Shown(key, title, made.caption, picture, f"{key}.csv", rows)
