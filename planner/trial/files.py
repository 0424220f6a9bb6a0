"""The files of a finished trial: report, picture, and the runs as `planner fit` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.files import write_whole
from planner.plots import style
from planner.reports import render
from planner.trial import picture, report


def write_report(document: Mapping[str, Any], folder: Path) -> None:
    """report.json, report.md, report.html, figure.png, supervised.csv and distillation.csv."""
    made = report.sheet(document)
    full = replace(made, grids=(*made.grids, report.runs_grid(document)))
    write_whole(folder / "report.json", render(made, "json"))
    text = render(full, "markdown") + "\n![predicted against measured](figure.png)\n"
    write_whole(folder / "report.md", text)
    write_whole(folder / "supervised.csv", report.supervised_csv(document))
    write_whole(folder / "distillation.csv", report.distillation_csv(document))
    drawn = picture.draw(document)
    style.save(drawn, folder / "figure.png")
    write_whole(folder / "report.html", report.page(document, style.svg(picture.draw(document))))
