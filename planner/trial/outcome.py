"""From a trial to its document: predicted against measured, as plain numbers (report.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.trial.arms import charged
from planner.trial.design import EQUAL_FLOPS, EQUAL_TOKENS, PLAN, Arm, Design, Run
from planner.trial.law import BELIEVED, EXPONENT_SPREAD, Calibration
from planner.trial.study import Trial, replicated
from planner.trial.verdict import Difference, Judgement, compare, judge, pooled

Array = NDArray[np.float64]
Document = dict[str, Any]

INTERVAL = (0.05, 0.95)
"""Quantiles of every predicted interval."""

VERSION = 2


def outcome(trial: Trial) -> Document:
    """The whole report as numbers, strings, lists and None."""
    measured = {
        arm.key: [
            trial.records[run.key].cross_entropy
            for run in trial.runs
            if run.phase == "test" and run.arm == arm.key and run.method != "teacher"
        ]
        for arm in trial.arms
    }
    predicted = {arm.key: trial.calibration.arm(trial.design, arm) for arm in trial.arms}
    differences = {
        key: _difference(predicted[PLAN], value, trial.calibration)
        for key, value in predicted.items()
        if key != PLAN
    }
    replicates = replicated(trial.runs, trial.records)
    titles = {arm.key: arm.title for arm in trial.arms}
    judgement = judge(
        measured, differences, titles, replicates, neighbours_exist=_choices(trial),
        uncounted=_uncounted_question(trial.design),
    )  # fmt: skip
    runs = [_run(trial, run) for run in trial.runs]
    return {
        "schema_version": VERSION,
        "kind": "validation",
        "outcome": judgement.outcome,
        "judgement": _judgement(judgement),
        "recipe": _recipe(trial),
        "trial": _trial(trial),
        "machine": _machine(trial, runs),
        "calibration": _calibration(trial),
        "recommended": _recommended(trial),
        "tuning": [asdict(each) for each in trial.tuned],
        "power": asdict(trial.power),
        "arms": _arms(trial, measured, predicted, differences, replicates),
        "errors": _errors(runs),
        "order": _order(trial, measured, predicted, replicates),
        "runs": runs,
        "caveats": _caveats(trial),
    }


def _recommended(trial: Trial) -> Document:
    """The method that the recipe recommends, the one recommended at the trial's scale, its arm."""
    method = trial.plan.verdict.method
    keys = [arm.key for arm in trial.arms]
    supervised = EQUAL_FLOPS if EQUAL_FLOPS in keys else EQUAL_TOKENS
    arm = {"supervised": supervised, "distil": PLAN}.get(method)
    return {"recipe": trial.document["verdict"]["method"], "trial": method, "arm": arm}


def _choices(trial: Trial) -> bool:
    """Whether the recipe leaves anything to choose: a given teacher and student do not."""
    compared = {PLAN, EQUAL_TOKENS, EQUAL_FLOPS}
    return not trial.design.teachers or any(arm.key not in compared for arm in trial.arms)


def _difference(
    plan: tuple[float, Array], other: tuple[float, Array], calibration: Calibration
) -> Difference:
    """With the interval in which the difference of two measured runs is expected."""
    runs = plan[1] * calibration.noise(1) - other[1] * calibration.noise(2)
    low, high = np.quantile(runs, INTERVAL)
    likely = float(np.mean(plan[1] < other[1]))
    return Difference(plan[0] - other[0], float(low), float(high), likely)


def _uncounted_question(design: Design) -> str:
    """Why the sign at equal FLOPs follows from the accounting, if it does."""
    if design.whole_teacher and design.charge_inference == 1:
        return (
            "the budget pays for the teacher in full, so that supervised training wins at equal "
            "FLOPs under any plausible law"
        )
    return ""


def _judgement(found: Judgement) -> Document:
    return {
        "noise": found.noise,
        "regret": found.regret,
        "best": found.best,
        "answers": [asdict(answer) for answer in found.answers],
    }


def _recipe(trial: Trial) -> Document:
    """What the recipe says at full size, with the student's loss on the data alone."""
    recipe, baseline = trial.document["recipe"], trial.document["supervised"]["model"]
    student = recipe["student"]
    alone = float(trial.base.supervised.loss(student["parameters"], student["tokens"]))
    return {
        "budget": trial.problem.budget,
        "student_parameters": student["parameters"],
        "student_tokens": student["tokens"],
        "teacher_parameters": recipe["teacher"]["parameters"],
        "teacher_tokens": recipe["teacher"]["tokens"],
        "coefficients": trial.base.name,
        "cross_entropy": student["cross_entropy"],
        "minus_supervised_at_equal_tokens": student["cross_entropy"] - alone,
        "minus_supervised_at_equal_flops": student["cross_entropy"] - baseline["cross_entropy"],
    }


def _trial(trial: Trial) -> Document:
    design, plan = trial.design, trial.plan
    student, teacher = plan.recipe.student, plan.recipe.teacher
    return {
        "scale": asdict(design.shapes) | {"largest": None},
        "corpus": design.corpus,
        "split_tokens": design.split_tokens,
        "allowance": design.allowance,
        "expected_flops": design.expected,
        "budget": design.budget,
        "seeds": design.seeds,
        "seed": design.seed,
        "ratio": design.ratio,
        "baseline_ratio": design.baseline() / design.parameters(design.layers),
        "coincide": design.coincide,
        "neighbours_exist": _choices(trial),
        "charge_inference": design.charge_inference,
        "charge_pretraining": design.charge_pretraining,
        "student_parameters": student.parameters,
        "student_tokens": student.tokens,
        "teacher_parameters": teacher.parameters,
        "teacher_tokens": teacher.tokens,
        "cross_entropy": student.cross_entropy,
        "supervised": plan.supervised.model.cross_entropy,
        "certified_gap": plan.certificate.gap,
        "ladder_runs": len(design.ladder),
        "test_runs": len(trial.runs) - len(design.before),
        "tuning_flops": sum(map(design.cost, design.tuning)),
        "ladder_flops": sum(map(design.cost, design.ladder)),
        "test_flops": sum(design.cost(run) for run in trial.runs if run.phase == "test"),
        "uncharged_flops": _uncharged(trial),
        "spent_flops": sum(_spent(trial, run) for run in trial.runs),
        "remarks": list(design.remarks),
    }


def _spent(trial: Trial, run: Run) -> float:
    """FLOPs of a run by the tokens that it recorded."""
    return trial.design.cost(run) / run.tokens * trial.records[run.key].tokens


def _uncharged(trial: Trial) -> float:
    """FLOPs of the tests that the recipe's accounting leaves out."""
    design, total = trial.design, 0.0
    for run in trial.runs:
        if run.phase == "test" and run.method == "teacher":
            total += (1 - design.charge_pretraining) * design.cost(run)
        elif run.phase == "test" and run.teacher_layers:
            total += (1 - design.charge_inference) * design.forward(run.teacher_layers) * run.tokens
    return total


def _machine(trial: Trial, runs: Sequence[Document]) -> Document:
    probe = trial.probe
    seconds = sum(each["seconds"] for each in runs)
    flops = sum(each["flops"] for each in runs)
    shares = [each["mfu"] for each in runs if each["mfu"] is not None]
    return {
        "device": probe["device"],
        "workers": probe["workers"],
        "matmul": probe["matmul"],
        "peak": probe["peak"],
        "models": probe["models"],
        "allowed_seconds": trial.asked_seconds,
        "expected_seconds": probe["expected_seconds"],
        "wall_seconds": trial.seconds,
        "training_seconds": seconds,
        "flops_per_second": flops / seconds if seconds else None,
        "of_matmul": flops / seconds / probe["matmul"] if seconds else None,
        "mfu": float(np.mean(shares)) if shares else None,
        "environment": trial.records[trial.runs[0].key].environment,
    }


def _calibration(trial: Trial) -> Document:
    law, found = trial.calibration.law, trial.calibration
    supervised, base = law.supervised, trial.base
    assert base.distillation is not None
    return {
        "runs": found.rows,
        "rms_relative_error": found.rms,
        "believed_relative_error": BELIEVED,
        "prior": base.name,
        "prior_spread_of_exponents": EXPONENT_SPREAD,
        "supervised": {name: float(getattr(supervised, name)) for name in supervised.COEFFICIENTS},
        "distillation": {name: float(getattr(law, name)) for name in law.COEFFICIENTS},
        "published_supervised": {
            name: float(getattr(base.supervised, name)) for name in supervised.COEFFICIENTS
        },
        "published_distillation": {
            name: float(getattr(base.distillation, name)) for name in law.COEFFICIENTS
        },
    }


def _arms(
    trial: Trial, measured: Mapping[str, Sequence[float]],
    predicted: Mapping[str, tuple[float, Array]], differences: Mapping[str, Difference],
    replicates: Sequence[Sequence[float]],
) -> list[Document]:  # fmt: skip
    design, noise = trial.design, pooled([*measured.values(), *replicates])
    found = []
    for arm in trial.arms:
        point, draws = predicted[arm.key]
        low, high = np.quantile(draws * trial.calibration.noise(), INTERVAL)
        values = measured[arm.key]
        difference = None
        if arm.key != PLAN:
            difference = asdict(compare(measured, differences[arm.key], arm.key, noise, 0.025))
        teacher = None
        if arm.teacher_layers is not None and arm.teacher_tokens is not None:
            teacher = _teacher(trial, arm)
        found.append(
            {
                "key": arm.key,
                "title": arm.title,
                "student_parameters": design.parameters(arm.layers),
                "student_tokens": arm.tokens,
                "teacher": teacher,
                "charged_flops": charged(design, arm),
                "predicted": point,
                "predicted_low": float(low),
                "predicted_high": float(high),
                "measured": float(np.mean(values)),
                "seeds": values,
                "half_width": None
                if noise is None or design.seeds < 2
                else noise.half_width(0.025, values),
                "minus": difference,
            }
        )
    return found


def _teacher(trial: Trial, arm: Arm) -> Document:
    assert arm.teacher_layers is not None
    taught = [run.teacher for run in trial.runs if run.phase == "test" and run.arm == arm.key]
    own = dict.fromkeys(key for key in taught if key is not None)  # one for all seeds, if given
    size = trial.design.parameters(arm.teacher_layers)
    values = [trial.records[key].cross_entropy for key in own]
    return {
        "parameters": size,
        "tokens": arm.teacher_tokens,
        "predicted": trial.calibration.supervised(size, float(arm.teacher_tokens or 0))[0],
        "measured": float(np.mean(values)),
        "seeds": values,
    }


def _run(trial: Trial, run: Run) -> Document:
    design, record = trial.design, trial.records[run.key]
    size, tokens = design.parameters(run.layers), float(record.tokens)
    teacher = None
    if run.teacher:
        teacher = next(each for each in trial.runs if each.key == run.teacher)
        given = (design.parameters(teacher.layers), float(teacher.tokens))
        point, draws = trial.calibration.distilled(size, tokens, given)
    else:
        point, draws = trial.calibration.supervised(size, tokens)
    low, high = np.quantile(draws * trial.calibration.noise(), INTERVAL)
    bill, value = record.flops, record.cross_entropy
    flops = design.cost(run)
    speed = flops / run.tokens * record.tokens_per_second
    return {
        "key": run.key,
        "phase": run.phase,
        "arm": run.arm,
        "method": run.method,
        "parameters": size,
        "tokens": record.tokens,
        "seed": run.seed,
        "teacher": run.teacher,
        "teacher_cross_entropy": trial.records[run.teacher].cross_entropy if run.teacher else None,
        "predicted": point,
        "low": float(low),
        "high": float(high),
        "measured": value,
        "relative_error": point / value - 1.0,
        "inside": bool(low <= value <= high),
        "flops": flops,
        "law_flops": bill.law + bill.teacher_law,
        "dense_flops": bill.exact + bill.teacher_exact,
        "seconds": record.seconds,
        "flops_per_second": speed,
        "of_matmul": speed / trial.probe["matmul"] if speed else None,
        "mfu": record.mfu,
        "epochs": record.epochs,
        "bits_per_byte": record.measures["bits_per_byte"],
        "kl_to_teacher": record.measures["kl"],
        "ece": record.measures["ece"],
    }


def _errors(runs: Sequence[Document]) -> list[Document]:
    """How well the ladder is fitted and the held-back runs are predicted."""
    found = []
    groups = [("ladder", None), *(("test", m) for m in ("supervised", "teacher", "distilled"))]
    for phase, method in (*groups, ("test", None)):
        chosen = [
            r for r in runs if r["phase"] == phase and (method is None or r["method"] == method)
        ]
        if not chosen:
            continue
        errors = np.array([r["relative_error"] for r in chosen])
        found.append(
            {
                "phase": phase,
                "method": method,
                "runs": len(chosen),
                "mean_absolute": float(np.mean(np.abs(errors))),
                "largest": float(np.max(np.abs(errors))),
                "bias": float(np.mean(errors)),
                "inside": float(np.mean([r["inside"] for r in chosen])),
            }
        )
    return found


def _order(
    trial: Trial, measured: Mapping[str, Sequence[float]],
    predicted: Mapping[str, tuple[float, Array]], replicates: Sequence[Sequence[float]],
) -> Document:  # fmt: skip
    """Of the pairs of distilled arms that measurement tells apart, how many are as predicted."""
    keys = [arm.key for arm in trial.arms if arm.teacher_layers is not None]
    noise = pooled([*measured.values(), *replicates])
    resolved = agreeing = 0
    for i, one in enumerate(keys):
        for other in keys[i + 1 :]:
            difference = float(np.mean(measured[one]) - np.mean(measured[other]))
            half = noise.half_width(0.025, measured[one], measured[other]) if noise else np.inf
            if abs(difference) <= half:
                continue
            resolved += 1
            agreeing += (difference < 0) == (predicted[one][0] < predicted[other][0])
    pairs = len(keys) * (len(keys) - 1) // 2
    return {"pairs": pairs, "resolved": resolved, "agreeing": int(agreeing)}


def _caveats(trial: Trial) -> list[str]:
    """What limits the trial, found in its own numbers."""
    design, found = trial.design, list(trial.design.remarks)
    repeated = {
        run.arm: trial.records[run.key].epochs
        for run in trial.runs
        if trial.records[run.key].epochs > 1
    }
    for arm, epochs in repeated.items():
        found.append(f"Runs of '{arm}' repeat their data ({epochs:.1f} epochs); the laws do not.")
    steps = min(trial.records[run.key].steps for run in trial.runs)
    if steps < 100:
        found.append(
            f"The shortest run takes {steps} updates, most of them warming up: losses hardly "
            "follow a power law there, and predictions suffer."
        )
    found += [
        f"The learning rate of {each.kind} runs is at the end of those tried ({each.chosen:g}); "
        "the best one may lie beyond."
        for each in trial.tuned
        if each.at_edge
    ]
    bound = [name for name in trial.plan.recipe.binding if "student-size" not in name]
    if design.coincide:
        found.append(
            "Nothing of the teacher is charged, so that equal student tokens are equal total "
            "FLOPs: one set of supervised runs answers both questions."
        )
    if not _choices(trial):
        found.append(
            "Teacher and student are given, so that the budget fixes the tokens: there is no other "
            "allocation of equal FLOPs to compare with."
        )
    elif not design.whole_teacher and any("teacher-tokens" in name for name in bound):
        found.append(
            "The re-planned teacher is trained as long as the trial pays for or the corpus lasts, "
            "so that it has neighbours on one side only."
        )
    elif bound and design.whole_teacher:
        found.append(
            f"The re-planned optimum rests on {', '.join(bound)} of the trial (corpus or buildable "
            "sizes), so that it has neighbours on one side only."
        )
    if design.seeds < 3:
        found.append("Fewer than three seeds: nothing is concluded.")
    return found


def without_times(document: Document) -> Document:
    """What does not depend on how fast the machine was: equal for a resumed trial."""
    timed = ("seconds", "flops_per_second", "of_matmul", "mfu")
    runs = [
        {key: value for key, value in each.items() if key not in timed} for each in document["runs"]
    ]
    kept = {key: value for key, value in document.items() if key not in ("machine", "notes")}
    return kept | {"runs": runs}
