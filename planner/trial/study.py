"""A whole trial: probe, design, calibrate, re-plan, test, judge. `run` is what the command calls.

An output folder holds::

    design.json    what was decided before the first run: a resumed trial keeps to it
    clock.json     seconds that it took so far, interruptions left out
    runs/KEY/      one folder per run, see `planner.trainer.train`
    report.json    the outcome; report.md, report.html, figure.png and CSV files beside it
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coefficients import CoefficientSet
from planner.errors import InfeasibleError, ProblemError
from planner.problem import Problem
from planner.questions.plan.answer import Plan
from planner.trainer.data import SPLITS, Dataset, DataSpec, prepare
from planner.trainer.files import exclusive, read_json, storage, write_json
from planner.trainer.spec import RunRecord
from planner.trial import machine as speed
from planner.trial.arms import plan_tests
from planner.trial.design import (
    EQUAL_TOKENS,
    PLAN,
    SCALES,
    Arm,
    Design,
    Run,
    Scale,
    Tier,
    scale_for,
    tier_of,
)
from planner.trial.ladder import FEWEST_TOKENS, Question, allocation, make_design
from planner.trial.law import Calibration, Row, calibrate
from planner.trial.runs import Pool, RunFolder, execute, open_pool, recipe_of_training
from planner.trial.tuning import CLASSES, Tuned, tune
from planner.trial.verdict import Power, power

OVERHEAD_SECONDS = 20.0
"""Starting workers, cutting the corpus, fitting and reporting."""

EFFICIENCY = 0.8
"""Share of the probed speed that remains after evaluation, checkpoints and idle workers."""


@dataclass(frozen=True)
class Request:
    """What the user asked for. One of `tier`, `seconds`, `flops` says how much."""

    output: Path
    tier: Tier | None = None
    seconds: float | None = None
    flops: float | None = None
    corpus: str = "sotu"
    field: str = "text"
    seed: int = 0
    workers: str = "local"
    device: str | None = None
    cache: Path | None = None
    max_documents: int | None = None

    def data(self, scale: Scale) -> DataSpec:
        """The corpus, cut for the models of a scale."""
        return DataSpec(
            corpus=self.corpus,
            vocabulary=scale.vocabulary,
            field=self.field,
            max_documents=self.max_documents,
        )


class Watcher:
    """Progress callbacks of a trial; the default ignores them."""

    def phase(self, name: str, flops: float) -> None:
        """A phase of so many FLOPs begins."""

    def progress(self, flops: float, what: str) -> None:
        """FLOPs of the phase that are done, and what is being trained."""

    def say(self, text: str) -> None:
        """A remark."""


@dataclass(frozen=True)
class Trial:
    """Everything a report is made from. seconds: of the whole trial, interruptions left out.
    asked_seconds: the time that was allowed, if it was one."""

    document: Mapping[str, Any]
    problem: Problem
    base: CoefficientSet
    design: Design
    probe: Mapping[str, Any]
    calibration: Calibration
    plan: Plan
    arms: tuple[Arm, ...]
    runs: tuple[Run, ...]
    records: Mapping[str, RunRecord]
    tuned: tuple[Tuned, ...]
    power: Power
    seconds: float
    asked_seconds: float | None = None


def run(document: Mapping[str, Any], request: Request, watcher: Watcher | None = None) -> Trial:
    """The trial of a recipe document, from wherever the output folder says it stopped.

    Raises PlannerError for what the caller can mend: an allowance too small, a corpus that cannot
    be read, a folder that holds another trial or cannot be written.
    """
    watcher = watcher or Watcher()
    question = Question.of(document)
    base = question.problem.coefficient_set()
    if base.distillation is None:
        raise ProblemError(f"the coefficient set '{base.name}' has no distillation law to test.")
    with storage("the trial", request.output):
        request.output.mkdir(parents=True, exist_ok=True)
        (request.output / "runs").mkdir(exist_ok=True)
        lock = exclusive(request.output / ".lock")
    with lock:
        return _run(document, question, base, request, watcher)


def _run(
    document: Mapping[str, Any], question: Question, base: CoefficientSet, request: Request,
    watcher: Watcher,
) -> Trial:  # fmt: skip
    clock = _Clock(request.output / "clock.json")
    gpu = _gpu(request.device)
    machine = {"device": request.device} if request.device else {}
    with open_pool(request.workers, gpu) as pool:
        store = _DesignStore(question, base, request, machine, pool, watcher)
        design, probe, data = store.design()
        for remark in design.remarks:
            watcher.say(remark)
        spec = request.data(design.shapes)
        folder = RunFolder(request.output, spec, machine, request.cache, data)
        told = (watcher.progress, clock.lap, watcher.say)
        watcher.phase("tuning learning rates", sum(map(design.cost, design.tuning)))
        records = execute(design, design.tuning, folder, pool, *told)
        tuned = tune(design, records)
        chosen = {each.kind: each.chosen for each in tuned}
        folder = replace(folder, rates={name: chosen[kind] for name, kind in CLASSES.items()})
        watcher.phase("calibrating", sum(map(design.cost, design.ladder)))
        records |= execute(design, design.ladder, folder, pool, *told)
        calibration = calibrate(rows(design, design.ladder, records), base)
        flops = design.shapes.config(design.layers, design.vocabulary).law_flops
        calibrated = calibration.coefficients(flops, design.shapes.family)
        design, plan, compared, tests = plan_tests(design, calibrated)
        resolves = _power(design, calibration, compared, replicated(design.ladder, records))
        watcher.say(in_words(resolves))
        watcher.phase("testing", sum(map(design.cost, tests)))
        records |= execute(design, tests, folder, pool, *told)
    return Trial(
        document, question.problem, base, design, probe, calibration, plan, compared,
        (*design.before, *tests), records, tuned, resolves, clock.seconds, request.seconds,
    )  # fmt: skip


def replicated(runs: Sequence[Run], records: Mapping[str, RunRecord]) -> list[list[float]]:
    """Losses of the ladder's supervised runs that differ by their seed alone."""
    groups: dict[tuple[int, int], list[float]] = {}
    for run in runs:
        if run.phase == "ladder" and run.method == "supervised":
            groups.setdefault((run.layers, run.tokens), []).append(records[run.key].cross_entropy)
    return [group for group in groups.values() if len(group) > 1]


def _power(
    design: Design, calibration: Calibration, compared: Sequence[Arm],
    replicates: Sequence[Sequence[float]],
) -> Power:  # fmt: skip
    losses = {arm.key: calibration.arm(design, arm)[0] for arm in compared}
    expected = losses[PLAN] - losses[EQUAL_TOKENS]
    return power(losses[PLAN], expected, design.seeds, len(compared), replicates)


def in_words(found: Power) -> str:
    """What a trial can resolve, in one sentence."""
    needed = "more than 100 seeds" if found.needed is None else f"{found.needed} seeds"
    return (
        f"Power: with {found.seeds} seed(s) and noise of about {found.noise:.3f} nats a run, a "
        f"difference of {found.resolvable:.3f} nats between two arms is found in 8 of 10 trials; "
        f"the law expects {found.expected:+.3f} at equal student tokens, for which {needed} "
        "would do."
    )


class _Clock:
    """Seconds over all sessions of a trial, up to the last run that finished in each."""

    def __init__(self, path: Path) -> None:
        self.path, self.begun = path, time.perf_counter()
        self.before = read_json(path, "clock of a trial")["seconds"] if path.exists() else 0.0
        self.seconds: float = self.before

    def lap(self) -> None:
        """A run finished."""
        self.seconds = self.before + time.perf_counter() - self.begun
        with storage("the trial's clock", self.path):
            write_json(self.path, {"seconds": self.seconds})


def rows(design: Design, runs: Sequence[Run], records: Mapping[str, RunRecord]) -> list[Row]:
    """Finished runs as the fit sees them; teachers are supervised runs."""
    return [
        Row(
            design.parameters(run.layers),
            float(records[run.key].tokens),
            records[run.key].cross_entropy,
            records[run.teacher].cross_entropy if run.teacher else None,
        )
        for run in runs
    ]


@dataclass(frozen=True)
class _DesignStore:
    """Where the design is made, or taken up again."""

    question: Question
    base: CoefficientSet
    request: Request
    machine: dict[str, Any]
    pool: Pool
    watcher: Watcher

    def design(self) -> tuple[Design, speed.Probe, dict[str, str]]:
        """The design in the output folder or a new one, the probe of the machine that it was made
        with, and the hashes of its data."""
        path = self.request.output / "design.json"
        if path.exists():
            return self._held(path)
        design, dataset, probe = self._new()
        data = _hashes(dataset)
        value = {
            "asked": self._asked(),
            "data": data,
            "training": recipe_of_training(design.shapes),
            "design": design.to_dict(),
            "probe": probe,
        }
        with storage("the trial's design", path):
            write_json(path, value)
        return design, probe, data

    def _asked(self) -> dict[str, Any]:
        request = self.request
        return {
            "problem": repr(self.question.problem),
            "tier": request.tier.name if request.tier else None,
            "time": request.seconds,
            "flops": request.flops,
            "data": request.corpus,
            "field": request.field,
            "max-documents": request.max_documents,
            "seed": request.seed,
            "device": "cuda" if _gpu(request.device) else "cpu",
        }

    def _held(self, path: Path) -> tuple[Design, speed.Probe, dict[str, str]]:
        """What the folder holds, if it is this trial on this text."""
        held, folder = read_json(path, "design of a trial"), self.request.output
        begun = held.get("asked", {})
        differing = [key for key, value in self._asked().items() if begun.get(key) != value]
        if differing:
            raise ProblemError(
                f"{folder} holds another trial (its {', '.join(differing)} differ); choose "
                "another --output, or the same options to go on with it."
            )
        scale = next(each for each in SCALES if each.name == held["design"]["scale"])
        if held["training"] != recipe_of_training(scale):
            raise ProblemError(
                f"the trial in {folder} was begun by a version that trains differently; choose "
                "another --output."
            )
        data = _hashes(prepare(self.request.data(scale), self.request.cache))
        changed = [name for name, value in data.items() if held["data"].get(name) != value]
        if changed:
            raise ProblemError(
                f"the text of {self.request.corpus} changed since the trial in {folder} began (its "
                f"{', '.join(changed)} differ), and its runs would not compare; choose another "
                "--output, or put the old text back. Nothing was overwritten."
            )
        self.watcher.say(f"Going on with the trial in {folder}.")
        return Design.from_dict(held["design"]), held["probe"], data

    def _new(self) -> tuple[Design, Dataset, speed.Probe]:
        request, tier = self.request, self.request.tier
        if request.seconds is None:  # whatever is wrong with corpus or allowance shows at once
            design, dataset = self._sized(tier or tier_of(request.flops or 0.0))
            self.watcher.phase("measuring the machine", 0.0)
            probe = self._probe(design)
        else:
            design, dataset, probe = self._timed(request.seconds)
        rate = speed.of_design(probe, design)
        probe["expected_seconds"] = OVERHEAD_SECONDS + design.expected / rate / EFFICIENCY
        return design, dataset, probe

    def _timed(self, seconds: float) -> tuple[Design, Dataset, speed.Probe]:
        """A design for a time: speed is measured at the sizes that it leads to."""
        useful = max(1.0, seconds - OVERHEAD_SECONDS) * EFFICIENCY
        scale = SCALES[0]
        prepare(self.request.data(scale), self.request.cache)
        self.watcher.phase("measuring the machine", 0.0)
        probe = speed.measure(scale, speed.FIRST_LAYERS, scale.vocabulary, self.machine, self.pool)
        guess = useful * speed.first_guess(probe, True)
        beyond = scale_for(allocation(self.question, tier_of(guess))) != scale
        rate = speed.first_guess(probe, beyond)
        design, dataset = self._sized(tier_of(useful * rate))
        for _ in range(2):
            if not speed.covers(probe, design):
                probe = self._probe(design)
            rate = speed.of_design(probe, design)
            design, dataset = self._sized(tier_of(useful * rate))
            if speed.covers(probe, design):
                return design, dataset, probe
        return design, dataset, self._probe(design)

    def _probe(self, design: Design) -> speed.Probe:
        layers = speed.sizes(design)
        return speed.measure(design.shapes, layers, design.vocabulary, self.machine, self.pool)

    def _sized(self, tier: Tier) -> tuple[Design, Dataset]:
        """The design of an allowance, at a smaller scale where there is too little text."""
        request = self.request
        scales = SCALES[: 1 + SCALES.index(scale_for(allocation(self.question, tier)))]
        for scale in scales[::-1]:
            dataset = prepare(request.data(scale), request.cache)
            tokens = min(dataset.split(name).tokens for name in ("teacher", "student"))
            try:
                design = make_design(
                    self.question, self.base, tier, scale, dataset.vocabulary, tokens,
                    request.corpus, request.seed,
                )  # fmt: skip
            except InfeasibleError:
                if scale == scales[0]:
                    raise
                continue
            if design.baseline() >= FEWEST_TOKENS * design.parameters(design.layers):
                break
        return design, dataset


def _hashes(dataset: Dataset) -> dict[str, str]:
    """What identifies the text, by its content."""
    splits = {f"{name} tokens": dataset.split(name).hash for name in SPLITS}
    return {"tokenizer": dataset.tokenizer_hash} | splits


def _gpu(device: str | None) -> bool:
    import torch

    return torch.cuda.is_available() if device is None else device.startswith("cuda")
