"""A trial's document as a sheet (table, Markdown, JSON), a page and files of runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from planner import units
from planner.reports.sheet import Grid, Sheet, without_bars

Document = Mapping[str, Any]

EXIT_CODES = {"pass": 0, "fail": 1, "sign only": 3, "inconclusive": 3}
METHODS = {None: "all held back", "supervised": "supervised", "teacher": "teachers",
           "distilled": "distilled"}  # fmt: skip


def sheet(document: Document) -> Sheet:
    """Everything for the terminal, Markdown and JSON."""
    trial, recipe = document["trial"], document["recipe"]
    answers = document["judgement"]["answers"]
    verdict = conclusion(document) + _another_sign(document)
    return Sheet(
        kind="validation",
        title=(
            f"Trial of a recipe for {units.format_flops(recipe['budget'])} FLOPs and a "
            f"{units.format_count(recipe['student_parameters'])} student, at "
            f"{units.format_flops(trial['budget'])} FLOPs and "
            f"{units.format_count(trial['student_parameters'])}"
        ),
        verdict=verdict,
        grids=(
            Grid(
                "Questions",
                ("Question", "Outcome", "Measured"),
                tuple(
                    (
                        a["question"],
                        a["outcome"] if a["counted"] else f"({a['outcome']})",
                        _sentence(a["text"]),
                    )
                    for a in answers
                ),
                left=(1, 2),
            ),
            _arms(document),
            _rates(document),
            _errors(document),
            _flops(document),
            _whole(document),
        ),
        notes=(*full_size(document), *method(document), *document["caveats"]),
        data=document,
        method={"pass": "distil", "fail": "supervised"}.get(document["outcome"], "undecided"),
    )


BETTER = {True: "distilling", False: "supervised training"}


def conclusion(document: Document) -> str:
    """What held, and which method was better, in one sentence."""
    answers, outcome = document["judgement"]["answers"], document["outcome"]
    counted = [answer for answer in answers if answer["counted"]]
    held = [answer for answer in counted if answer["outcome"] == outcome]
    share = f"{len(held)} of the {len(counted)} predictions"
    words = {
        "pass": f"PASS: {len(counted)} prediction(s) held",
        "sign only": f"SIGN ONLY: {share} had the right sign but missed the size",
        "fail": f"FAIL: {share} did not hold",
        "inconclusive": f"INCONCLUSIVE: {share} could not be decided",
    }[outcome]
    flops = answers[1]["difference"]
    if outcome == "inconclusive" or flops["low"] is None or flops["low"] <= 0 <= flops["high"]:
        return f"{words}."
    method = document["recommended"]["recipe"]
    better = flops["measured"] < 0
    agrees = {"distil": better, "supervised": not better}.get(method)
    says = "" if agrees is None else ", as the plan says" if agrees else ", against the plan"
    return f"{words}; at equal FLOPs {BETTER[better]} was better{says}."


FULL_SIZE = (
    ("minus_supervised_at_equal_tokens", "equal student tokens"),
    ("minus_supervised_at_equal_flops", "equal total FLOPs"),
)
"""What a recipe says of the differences that a trial measures, in the order of the answers."""


def _another_sign(document: Document) -> str:
    """A reservation where the law itself has the trial's answer come out otherwise than the
    recipe's: then the trial tries the law, and the recipe's own sign is not what it measured."""
    recipe, answers = document["recipe"], document["judgement"]["answers"]
    differing = [
        where
        for (key, where), answer in zip(FULL_SIZE, answers, strict=False)
        if (recipe[key] < 0) != (answer["difference"]["predicted"] < 0)
    ]
    if not differing:
        return ""
    return (
        " At this scale the law predicts the opposite of what it predicts for the recipe at "
        f"{' and at '.join(differing)}: the law was tried, the recipe's own sign was not."
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _arms(document: Document) -> Grid:
    rows = []
    for arm in document["arms"]:
        teacher, minus = arm["teacher"], arm["minus"]
        mark = " (recommended)" if arm["key"] == document["recommended"]["arm"] else ""
        rows.append(
            (
                arm["title"] + mark,
                units.format_count(arm["student_tokens"]),
                ""
                if teacher is None
                else f"{units.format_count(teacher['parameters'])} on "
                f"{units.format_count(teacher['tokens'])}",
                units.format_flops(arm["charged_flops"]),
                _interval(arm["predicted"], arm["predicted_low"], arm["predicted_high"]),
                f"{arm['measured']:.3f}"
                + ("" if arm["half_width"] is None else f" ± {arm['half_width']:.3f}"),
                "" if minus is None else _minus(minus),
                "" if minus is None else f"{-minus['measured']:+.3f}",
            )
        )
    head = (
        "Allocation", "D_S", "Teacher", "FLOPs", "Pred.", "Meas.",
        "Δ pred.", "Δ meas.",
    )  # fmt: skip
    title = (
        f"Cross-entropy, nats per token: predicted (90%), mean of {document['trial']['seeds']} "
        "seed(s) measured (95%); Δ against the best distillation"
    )
    return Grid(title, head, tuple(rows), strong=(0,))


def _minus(minus: Mapping[str, Any]) -> str:
    """The arm minus the best distillation, as predicted."""
    low, high = -minus["predicted_high"], -minus["predicted_low"]
    return f"{-minus['predicted']:+.3f} ({low:+.2f} to {high:+.2f})"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.2f} to {high:.2f})"


def _rates(document: Document) -> Grid:
    tuned = document["tuning"]
    rows = [
        (each["kind"], *(f"{loss:.3f}" for loss in each["losses"]), f"{each['chosen']:.3g}")
        for each in tuned
    ]
    rates = tuple(f"{rate:g}" for rate in tuned[0]["rates"])
    return Grid(
        "Peak learning rates tried (held-out cross-entropy), and the one all other runs have",
        ("Runs", *rates, "Chosen"),
        tuple(rows),
    )


def _errors(document: Document) -> Grid:
    rows = []
    for each in document["errors"]:
        name = (
            "the ladder itself (fitted)" if each["phase"] == "ladder" else METHODS[each["method"]]
        )
        rows.append(
            (
                name,
                str(each["runs"]),
                f"{each['mean_absolute']:.1%}",
                f"{each['largest']:.1%}",
                f"{each['bias']:+.1%}",
                f"{each['inside']:.0%}",
            )
        )
    return Grid(
        "Prediction errors of single runs, relative to the measured cross-entropy",
        ("Runs", "Number", "Mean", "Largest", "Bias", "Inside 90% interval"),
        tuple(rows),
    )


def _flops(document: Document) -> Grid:
    rows = []
    for method in ("supervised", "teacher", "distilled"):
        runs = [run for run in document["runs"] if run["method"] == method]
        if not runs:
            continue
        counted = sum(run["flops"] for run in runs)
        law = sum(run["law_flops"] for run in runs)
        dense = sum(run["dense_flops"] for run in runs)
        seconds = sum(run["seconds"] for run in runs)
        shares = [run["mfu"] for run in runs if run["mfu"] is not None]
        rows.append(
            (
                METHODS[method],
                units.format_flops(counted),
                f"{law / counted:.3f}",
                f"{dense / counted:.3f}",
                units.format_flops(counted / seconds) if seconds else "",
                f"{counted / seconds / document['machine']['matmul']:.0%}" if seconds else "",
                f"{sum(shares) / len(shares):.1%}" if shares else "n/a",
            )
        )
    return Grid(
        "Compute: counted from shapes (causal attention), by the law, with dense attention",
        ("Runs", "FLOPs", "Law", "Dense", "FLOP/s per worker", "Of matrix products", "MFU"),
        tuple(rows),
    )


def _whole(document: Document) -> Grid:
    """What the trial was allowed, what it was expected to take, and what it took."""
    trial, machine = document["trial"], document["machine"]
    planned = trial["tuning_flops"] + trial["ladder_flops"] + trial["test_flops"]
    allowed = machine["allowed_seconds"]
    return Grid(
        "The whole trial: allowed, expected before the first run, planned after calibration",
        ("", "Allowed", "Expected", "Planned", "Measured"),
        (
            (
                "FLOPs of training",
                units.format_flops(trial["allowance"]),
                units.format_flops(trial["expected_flops"]),
                units.format_flops(planned),
                units.format_flops(trial["spent_flops"]),
            ),
            (
                "of them not compared",
                "",
                "",
                units.format_flops(trial["uncharged_flops"]),
                "",
            ),
            (
                "wall time",
                "" if allowed is None else _time(allowed),
                _time(machine["expected_seconds"]),
                "",
                _time(machine["wall_seconds"]),
            ),
        ),
    )


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def full_size(document: Document) -> tuple[str, ...]:
    """What the trial means for the recipe itself, and what it cannot say."""
    recipe, trial = document["recipe"], document["trial"]
    answers = document["judgement"]["answers"]
    parts = []
    for (key, where), answer in zip(FULL_SIZE, answers, strict=False):
        value = recipe[key]
        parts.append(
            f"At full size {recipe['coefficients']} has distilled minus supervised at {value:+.4f} "
            f"nats at {where}; the trial measured {_signs(value, answer['difference'])}."
        )
    factor = recipe["student_parameters"] / trial["student_parameters"]
    parts.append(
        f"What the trial cannot say: the recipe's student is {factor:,.0f} times larger, and the "
        "published constants are not tested here. Absolute losses, the place of the full-size "
        "optimum and small differences at full size stay as uncertain as the plan says; what was "
        "tried is the form of the laws, the planner's arithmetic on them, and the training recipe."
    )
    return tuple(parts)


def _signs(value: float, difference: Mapping[str, Any]) -> str:
    """How a predicted sign compares with a measured difference and its interval."""
    measured, low, high = (difference[name] for name in ("measured", "low", "high"))
    word = "the same" if (value < 0) == (measured < 0) else "the opposite"
    if low is None or high is None:
        return f"{word} sign, but its noise is unknown"
    if low <= 0 <= high:
        return f"{word} sign, but the interval includes zero ({low:+.3f} to {high:+.3f})"
    return f"{word} sign ({low:+.3f} to {high:+.3f})"


def method(document: Document) -> tuple[str, ...]:
    """How the numbers came about."""
    trial, fit, order = document["trial"], document["calibration"], document["order"]
    probe = document["machine"]
    ratio = [model["counted_over_expected"] for model in probe["models"]]
    noise, ordered = document["judgement"]["noise"], []
    if order["pairs"]:
        ordered = [
            f"Order: of {order['pairs']} pairs of distilled allocations, {order['resolved']} are "
            f"told apart by the measurements, {order['agreeing']} of them in the predicted order."
        ]
    regret = (
        " Best distillation by plan minus best tried (regret): "
        f"{document['judgement']['regret']:.3f} nats."
        if trial["neighbours_exist"]
        else ""
    )
    return (
        f"Calibration: {fit['runs']} runs cannot determine the laws' coefficients, so "
        f"{fit['prior']} lends its exponents as priors (spread "
        f"{fit['prior_spread_of_exponents']:.0%}); the fit leaves "
        f"{fit['rms_relative_error']:.2%} on them. Predictions are made before the tested runs, "
        "which share no run and no seed with the calibration.",
        *ordered,
        _power(document["power"]),
        "Noise: "
        + ("unknown" if noise is None else f"{noise:.3f} nats")
        + " from seed to seed, pooled over all allocations (one that scatters more counts with its "
        f"own spread).{regret}",
        f"Corpus {trial['corpus']}: {units.format_count(trial['split_tokens'])} tokens in the "
        f"smaller half; {units.format_flops(trial['tuning_flops'])} FLOPs to tune learning rates, "
        f"{trial['ladder_runs']} runs of {units.format_flops(trial['ladder_flops'])} "
        f"FLOPs to calibrate, {trial['test_runs']} of {units.format_flops(trial['test_flops'])} to "
        "test.",
        f"Machine: {probe['device']}, {probe['workers']} worker(s), matrix products "
        f"{units.format_flops(probe['matmul'])} FLOP/s each; PyTorch counts "
        f"{min(ratio):.4f} to {max(ratio):.4f} of the FLOPs expected from the shapes.",
    )


def _power(power: Mapping[str, Any]) -> str:
    needed = "more than 100" if power["needed"] is None else str(power["needed"])
    return (
        f"Power, computed before the tests: {power['seeds']} seed(s) resolve a difference of "
        f"{power['resolvable']:.3f} nats between two arms in 8 of 10 trials (noise of "
        f"{power['noise']:.3f} nats a run expected); the {power['expected']:+.3f} predicted at "
        f"equal student tokens needs {needed}."
    )


def page(document: Document, picture: str) -> str:
    """A page of its own with the tables and the picture (an <svg> element)."""
    from planner.plots import style

    made = sheet(document)
    parts = [f"<p><strong>{escape(made.verdict)}</strong></p>"]
    for grid in made.grids:
        parts += [f"<h2>{escape(grid.title)}</h2>", _table(*without_bars(grid))]
    items = "".join(f"<li>{escape(note)}</li>" for note in made.notes)
    parts.append(f"<h2>What it means</h2><ul>{items}</ul>")
    parts += ["<h2>Every run</h2>", _table(RUN_HEAD, [run_cells(run) for run in document["runs"]])]
    caption = "Left: predicted against measured. Right: the allocations compared."
    return style.page(made.title, [(caption, picture)], "".join(parts))


RUN_HEAD = ("Run", "N", "D", "Predicted", "Measured", "Error", "FLOPs", "Epochs")


def run_cells(run: Document) -> tuple[str, ...]:
    """One run as text."""
    return (
        run["key"],
        units.format_count(run["parameters"]),
        units.format_count(run["tokens"]),
        _interval(run["predicted"], run["low"], run["high"]),
        f"{run['measured']:.4f}",
        f"{run['relative_error']:+.1%}",
        units.format_flops(run["flops"]),
        f"{run['epochs']:.2f}",
    )


def runs_grid(document: Document) -> Grid:
    """Every run, for the Markdown report."""
    return Grid("Every run", RUN_HEAD, tuple(run_cells(run) for run in document["runs"]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def supervised_csv(document: Document) -> str:
    """Supervised runs, teachers among them, as `planner fit --law supervised` reads them."""
    rows = [
        (run["parameters"], run["tokens"], run["measured"], run["arm"], run["key"], run["seed"])
        for run in document["runs"]
        if run["method"] != "distilled" and run["phase"] != "tuning"
    ]
    return _csv(("parameters", "tokens", "cross_entropy", "group", "run", "seed"), rows)


def distillation_csv(document: Document) -> str:
    """Distilled runs as `planner fit --law distillation` reads them."""
    rows = [
        (run["parameters"], run["tokens"], run["teacher_cross_entropy"], run["measured"],
         run["arm"], run["key"], run["seed"])
        for run in document["runs"]
        if run["method"] == "distilled" and run["phase"] != "tuning"
    ]  # fmt: skip
    head = (
        "student_parameters", "student_tokens", "teacher_cross_entropy", "student_cross_entropy",
        "group", "run", "seed",
    )  # fmt: skip
    return _csv(head, rows)


def _csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return file.getvalue()
