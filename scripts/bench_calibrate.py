"""Laws moved by a few pilots, against direct fits to the same pilots, on public studies.

    python scripts/bench_calibrate.py FOLDER [--pilots 6] [--draws 8]

FOLDER holds gadre2024_runs.csv (mlfoundations/scaling, arXiv 2403.08540, MIT),
olmo_ladder2024_final.csv (allenai/OLMo-ladder, arXiv 2412.04403, Apache-2.0),
gemstones2025_cooldown_end.csv (mcleish7/gemstone-scaling-laws, arXiv 2502.06857, MIT) and
chinchilla_runs.csv (read off Hoffmann et al. 2022 by Besiroglu et al. 2024, arXiv 2404.10102); none
of them is part of the planner.

The targets are the dearest fifth of a study's runs; pilots are drawn at 1/100 to 1/10 of their
median compute with 10 tokens per parameter or more, the best spread of 20 random sets. Errors are
medians over the targets, then over the draws of pilots. Columns: the moved law; the share of
targets in its 90% intervals for a single run and their half width, with the misfit; the old law
times one factor; Hoffmann's law fitted to the pilots alone (Eq. 1 has as many coefficients as
there are pilots); Eq. 1 fitted to all runs of the study, targets included: what a law can reach
there; the share of draws in which the report says that the law may not hold.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from coefficients import CoefficientSet, load
from planner.calibrate import Moved, move, moving_task
from planner.calibrate.report import doubts
from planner.errors import PlannerError
from planner.fit import FORMS, Rows, Task, fit

SHARE, NEAR, FAR, LEAST_RATIO = 0.8, 10.0, 100.0, 10.0
GADRE = "cross_entropy_paloma_dolma_100_programing_languages"
STUDIES = {
    "Gadre C4 -> C4": ("gadre2024_runs.csv", "cross_entropy_c4_val", "c4_original"),
    "Gadre RedPajama -> C4": ("gadre2024_runs.csv", "cross_entropy_c4_val", "rpj"),
    "Gadre RefinedWeb -> C4": ("gadre2024_runs.csv", "cross_entropy_c4_val", "rw_original"),
    "Gadre RedPajama -> code": ("gadre2024_runs.csv", GADRE, "rpj"),
    "Gadre C4 -> code": ("gadre2024_runs.csv", GADRE, "c4_original"),
    "OLMo -> C4": ("olmo_ladder2024_final.csv", "cross_entropy_c4_en", ""),
    "OLMo -> Common Crawl": ("olmo_ladder2024_final.csv", "cross_entropy_dolma_common-crawl", ""),
    "OLMo -> Pile": ("olmo_ladder2024_final.csv", "cross_entropy_pile", ""),
    "OLMo -> S2ORC": ("olmo_ladder2024_final.csv", "cross_entropy_m2d2_s2orc", ""),
    "OLMo -> code": ("olmo_ladder2024_final.csv", "cross_entropy_dolma_stack", ""),
    "Gemstones": ("gemstones2025_cooldown_end.csv", "cross_entropy", ""),
    "Chinchilla": ("chinchilla_runs.csv", "cross_entropy", ""),
}
SISTERS = {"Gadre": "Gadre C4 -> C4", "OLMo": "OLMo -> C4"}
OVERLAPPING = "peteish"
FINAL = ("peteish7_eval_anneal", "peteish13_eval_final")


def study(folder: Path, name: str) -> Rows:
    """The runs of a study; of Chinchilla, like the replication, all but five of highest loss."""
    file, loss, corpus = STUDIES[name]
    with (folder / file).open(encoding="utf-8", newline="") as lines:
        table = [row for row in csv.DictReader(lines) if row[loss] not in ("", "nan")]
    if corpus:
        table = [row for row in table if row["dataset"] == corpus]
    runs = [row.get("run", "") for row in table]
    table = [
        row for row, run in zip(table, runs, strict=True) if OVERLAPPING not in run or run in FINAL
    ]
    if name == "Chinchilla":
        table = sorted(table, key=lambda row: -float(row[loss]))[5:]
    size = "parameters" if "parameters" in table[0] else "parameters_active"
    return Rows(*(np.array([float(row[key]) for row in table]) for key in (size, "tokens", loss)))


def pilots(runs: Rows, count: int, draws: int) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Which runs are targets, and sets of pilots."""
    compute = runs.parameters * runs.tokens
    target = compute >= np.quantile(compute, SHARE)
    share = np.median(compute[target]) / compute
    cheap = (share >= NEAR) & (share <= FAR) & (runs.tokens / runs.parameters >= LEAST_RATIO)
    pool = np.flatnonzero(cheap & ~target)
    place = np.stack([runs.log_parameters, runs.log_tokens], axis=1)

    def sets() -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for _ in range(draws if len(pool) >= count else 0):
            tried = [random.choice(pool, count, replace=False) for _ in range(20)]
            yield max(tried, key=lambda each: _closest(place[each]))

    return target, sets()


def _closest(place: np.ndarray) -> float:
    apart = np.linalg.norm(place[:, None] - place[None], axis=2)
    return float(apart[np.triu_indices(len(place), 1)].min())


def off(predicted: np.ndarray, runs: Rows) -> float:
    """Median relative error."""
    return float(np.median(np.abs(predicted / runs.loss - 1.0)))


def direct(form: str, runs: Rows, at: Rows) -> float:
    """Median error of a law fitted to runs alone, NaN where they do not determine it."""
    try:
        point = fit(Task(FORMS[form], runs), "plain")
    except PlannerError:
        return float("nan")
    return off(np.asarray(point.form.loss(at.parameters, at.tokens)), at)


def interval(moved: Moved, at: Rows) -> tuple[np.ndarray, np.ndarray]:
    """90% of single runs, as `planner predict` gives it."""
    law = moved.point.task.model(at)
    many = moved.scatter.spread(np.exp(law.predict(moved.draws.theta)))
    low, high = np.quantile(many, [0.05, 0.95], axis=0)
    middle = np.exp(law.predict(moved.point.theta[None])[0])
    wide = moved.misfit.half_width(at.parameters, at.tokens)
    return moved.misfit.widen(low, middle, high, wide)


def measure(old: CoefficientSet, runs: Rows, count: int, draws: int) -> list[float] | None:
    """One line of the table; None where there are too few cheap runs."""
    target, sets = pilots(runs, count, draws)
    out, lines = runs.take(target), []
    for chosen in sets:
        own = runs.take(chosen)
        moved = move(old, moving_task(old, own, None), draws=256)
        predicted = np.asarray(moved.law.loss(out.parameters, out.tokens))
        low, high = interval(moved, out)
        inside = np.mean((low <= out.loss) & (out.loss <= high))
        scaled = moved.factor * np.asarray(old.form.loss(out.parameters, out.tokens))
        lines.append([
            off(predicted, out), float(inside), float(np.median(np.log(high / low))) / 2,
            off(scaled, out), direct("hoffmann", own, out), float(bool(doubts(moved))),
        ])  # fmt: skip
    if not lines:
        return None
    table = np.array(lines)
    middle = np.median(table, axis=0)  # NaN where a direct fit failed
    middle[[1, 5]] = table[:, [1, 5]].mean(axis=0)
    return [*middle[:5], direct("supervised", runs, out), middle[5]]


def sister(folder: Path, name: str) -> CoefficientSet | None:
    """The law of the same study's runs on C4, where that is another corpus."""
    of = SISTERS.get(name.split()[0], name)
    if of == name:
        return None
    point = fit(Task(FORMS["supervised"], study(folder, of)), "plain")
    return replace(load("besiroglu2024"), name=of, form=point.form.canonical())


def main() -> None:
    """Print the table, one line per study and old law."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pilots", type=int, default=6)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--old", default="besiroglu2024", help="The old law.")
    given = parser.parse_args()
    absent = sorted({file for file, *_ in STUDIES.values() if not (given.folder / file).is_file()})
    if absent:
        sys.exit(f"{given.folder} lacks {', '.join(absent)}; see this script's first lines.")
    shipped = replace(load(given.old), distillation=None)
    laws: tuple[Callable[[str], CoefficientSet | None], ...] = (
        lambda name: shipped,
        lambda name: sister(given.folder, name),
    )
    print(
        "| study | old law | moved | in 90% | half width | factor | Hoffmann | all runs | doubts |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in STUDIES:
        runs = study(given.folder, name)
        for law in laws:
            old = law(name)
            found = None if old is None else measure(old, runs, given.pilots, given.draws)
            if old is not None and found is not None:
                shares = (1, 6)
                cells = [f"{v:.0%}" if k in shares else f"{v:.2%}" for k, v in enumerate(found)]
                cells = ["-" if cell == "nan%" else cell for cell in cells]
                print(f"| {name} | {old.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
