"""How an allowance becomes a design: speed measured at its own sizes, text that suffices."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="a trial's models need the extra `trainer`")

from coefficients import load
from planner.problem import Problem
from planner.trial import machine as probing
from planner.trial import study
from planner.trial.design import SCALES, TIERS, Tier
from planner.trial.ladder import Question
from planner.trial.runs import Task
from planner.trial.study import Request, Watcher, _DesignStore

QUESTION = Question(Problem.from_mapping({"budget": "1e21", "student": "1B"}), 1e9, 136.0)


@dataclass
class Machine:
    """Workers of a made-up machine: seconds of a step and the speed of its matrix products."""

    launch: float
    matmul: float
    count: int = 1
    probed: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)

    def submit(self, task: Task) -> Future[Any]:
        found: dict[str, Any] = {"matmul": self.matmul, "peak": None, "device": "made up"}
        models = task["models"]
        scale = next(each for each in SCALES if each.context == models[0]["context"])
        self.probed.append((scale.context, tuple(model["layers"] for model in models)))
        found["models"] = []
        for model in models:
            config = scale.config(model["layers"], model["vocabulary"])
            flops = 3 * config.flops.causal * scale.tokens_per_step
            rate = flops / (self.launch * model["layers"] + flops / (0.4 * self.matmul))
            found["models"].append({"layers": model["layers"], "flops_per_second": rate})
        done: Future[Any] = Future()
        done.set_result(found)
        return done

    def restart(self) -> None:
        """Nothing dies here."""


@dataclass(frozen=True)
class Text:
    """A corpus of so many tokens in each half."""

    vocabulary: int
    tokens: int

    def split(self, name: str) -> Text:
        return self


def store(
    monkeypatch: pytest.MonkeyPatch, machine: Machine, tokens: float, **asked: Any
) -> tuple[_DesignStore, Machine]:
    def prepare(spec: Any, cache: Path | None) -> Text:
        return Text(spec.vocabulary, int(tokens))

    monkeypatch.setattr(study, "prepare", prepare)
    request = Request(Path("nowhere"), **asked)
    return _DesignStore(QUESTION, load(), request, {}, machine, Watcher()), machine


def test_a_time_is_measured_at_the_sizes_it_buys(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator that tiny models keep idle: half an hour buys larger ones, probed themselves,
    and the FLOPs are what they do in that time."""
    made, machine = store(monkeypatch, Machine(2e-3, 5e14), 1e10, seconds=1_800.0)
    design, _, probe = made._new()

    assert design.scale != SCALES[0].name
    assert probing.covers(probe, design)
    assert machine.probed[-1] == (design.shapes.context, probing.sizes(design))
    rate = probing.of_design(probe, design)
    tiny = Machine(2e-3, 5e14)
    first = probing.measure(SCALES[0], (1, 2, 3), 1_024, {}, tiny)
    assert rate > 50 * probing.of_design(first)
    assert design.allowance == pytest.approx(rate * 1_780 * 0.8, rel=0.3)
    assert probe["expected_seconds"] == pytest.approx(1_800, rel=0.35)


def test_a_slow_machine_is_probed_at_its_own_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few minutes of a CPU stay at the smallest scale, and cost two probes at most."""
    made, machine = store(monkeypatch, Machine(1e-4, 4e10, 2), 1.94e6, seconds=300.0)
    design, _, probe = made._new()

    assert design.scale == "tiny"
    assert probing.covers(probe, design)
    assert {context for context, _ in machine.probed} == {128}
    assert len(machine.probed) <= 2 * 2
    assert design.allowance == pytest.approx(probing.of_design(probe, design) * 280 * 0.8, rel=0.3)


def test_an_amount_is_timed_at_its_own_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected time of --flops comes from the models that will be trained."""
    made, machine = store(monkeypatch, Machine(2e-3, 5e14), 1e10, flops=1e17)
    design, _, probe = made._new()

    assert machine.probed == [(design.shapes.context, probing.sizes(design))]
    rate = probing.of_design(probe, design)
    assert probe["expected_seconds"] == pytest.approx(20 + design.expected / rate / 0.8)


def test_too_little_text_leads_to_a_smaller_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """1e17 FLOPs and two million tokens: models that they can teach, most of the FLOPs unspent,
    and a remark that says what is missing."""
    small, large = (
        store(monkeypatch, Machine(2e-3, 5e14), tokens, flops=1e17)[0]._new()[0]
        for tokens in (1.94e6, 1e9)
    )

    assert (small.scale, large.scale) == ("tiny", "small")
    assert small.baseline() >= 10 * small.parameters(small.layers)
    assert small.expected < 1e-2 * 1e17 < large.expected
    assert any("limits the trial" in r and "--max-documents" in r for r in small.remarks)
    assert not any("limits the trial" in remark for remark in large.remarks)


def test_documents_can_be_limited() -> None:
    """`--max-documents` reaches whatever reads the corpus."""
    request = Request(Path("nowhere"), TIERS["quick"], corpus="hub:allenai/c4:en", max_documents=7)

    assert request.data(SCALES[0]).max_documents == 7
    assert isinstance(request.tier, Tier)
