"""Teachers from `transformers`, and teachers that do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from planner.errors import MissingExtraError, PlannerError
from planner.trainer import checkpoint, data
from planner.trainer.data import Dataset, DataSpec
from planner.trainer.engine import Engine, Machine
from planner.trainer.loss import Dense, Full, Objective, signal_rows
from planner.trainer.teachers import load_teacher
from planner.trainer.train import train
from tests.trainer.conftest import DATA, HYPER, VOCABULARY, config, supervised

SIZE: dict[str, Any] = {
    "vocab_size": VOCABULARY + 12,  # padded beyond the tokenizer, as many published models are
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="hub teachers need the package transformers")


def saved(transformers: Any, dataset: Dataset, out: Path, kind: str, **changes: Any) -> Path:
    """A tiny random model of a published architecture, with the data's tokenizer beside it."""
    torch.manual_seed(0)
    size = {**SIZE, **changes}
    if kind == "gemma2":  # caps its logits: its head alone does not give them
        # A cap this low bends even the small logits of a random model.
        settings = transformers.Gemma2Config(**size, head_dim=16, final_logit_softcapping=0.05)
        model = transformers.Gemma2ForCausalLM(settings)
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**size))
    model.save_pretrained(out)
    dataset.tokenizer.save(str(out / "tokenizer.json"))
    return out


@pytest.mark.parametrize(("kind", "form"), [("llama", Dense), ("gemma2", Full)])
def test_signals_are_the_models_logits(
    kind: str, form: type, transformers: Any, dataset: Dataset, engine: Engine, tmp_path: Path
) -> None:
    """From hidden states where that is exact, from logits elsewhere: the same distribution."""
    path = saved(transformers, dataset, tmp_path, kind)
    teacher = load_teacher(str(path), dataset, engine, 32)
    tokens = torch.arange(60).reshape(2, 30)
    signal = teacher.signal(tokens)
    assert isinstance(signal, form)
    logits = signal_rows(signal, slice(None))[0]
    model = transformers.AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        expected = model(tokens).logits.flatten(0, 1)[:, :VOCABULARY]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    count = sum(p.numel() for p in model.parameters())
    tables = 1 if kind == "gemma2" else 2  # one tied table, or two
    assert teacher.parameters == count - tables * (VOCABULARY + 12) * 32


def test_a_student_learns_from_a_foreign_teacher(
    transformers: Any, dataset: Dataset, cache: Path, tmp_path: Path
) -> None:
    """A whole distillation from a `transformers` model, recorded with its name and size."""
    path = saved(transformers, dataset, tmp_path / "teacher", "llama")
    spec = replace(supervised(25), objective=Objective(), teacher=str(path))
    result = train(spec, tmp_path / "run", Machine(device="cpu"), cache=cache)
    first = train(replace(spec, tokens=128), tmp_path / "first", Machine(device="cpu"), cache=cache)
    assert result.measures["kl"] < 0.5 * first.measures["kl"]  # type: ignore[operator]
    assert result.teacher is not None
    assert result.teacher["name"] == str(path)


def test_another_tokenizer_is_refused(
    transformers: Any, dataset: Dataset, engine: Engine, teacher_run: Path, tmp_path: Path
) -> None:
    """The message says which option makes the data fit, for their teachers and for ours."""
    path = saved(transformers, dataset, tmp_path / "model", "llama")
    other = data.prepare(replace(DATA, vocabulary=VOCABULARY - 20), tmp_path)
    with pytest.raises(PlannerError, match=f"--tokenizer {path}"):
        load_teacher(str(path), other, engine, 32)
    with pytest.raises(PlannerError, match="another tokenizer"):
        load_teacher(str(teacher_run), other, engine, 32)
    same = data.prepare(DataSpec(**{**vars(DATA), "tokenizer": str(path)}), tmp_path)
    assert load_teacher(str(path), same, engine, 32).vocabulary == VOCABULARY


def test_a_teacher_that_cannot_be_used_is_refused(
    transformers: Any, dataset: Dataset, engine: Engine, teacher_run: Path, tmp_path: Path
) -> None:
    """Too short a context, too few logits, nothing there at all."""
    path = saved(transformers, dataset, tmp_path / "model", "llama")
    with pytest.raises(PlannerError, match="--context 64"):
        load_teacher(str(path), dataset, engine, 65)
    with pytest.raises(PlannerError, match="--context 32"):
        load_teacher(str(teacher_run), dataset, engine, 33)
    narrow = saved(transformers, dataset, tmp_path / "narrow", "llama", vocab_size=VOCABULARY - 1)
    with pytest.raises(PlannerError, match="fewer than its tokenizer"):
        load_teacher(str(narrow), dataset, engine, 32)
    with pytest.raises(PlannerError, match="nowhere"):
        load_teacher(str(tmp_path / "nowhere"), dataset, engine, 32)


def test_teachers_are_charged_for_the_students_sequences(
    transformers: Any,
    dataset: Dataset,
    engine: Engine,
    cache: Path,
    teacher_run: Path,
    tmp_path: Path,
) -> None:
    """Attention over 16 tokens costs a teacher of context 32 what 16 tokens cost, ours or not."""
    long, short = (load_teacher(str(teacher_run), dataset, engine, c) for c in (32, 16))
    assert short.flops == config(2, context=16).flops
    assert short.flops.attention == long.flops.attention / 2
    expected = config(2, context=16).law_flops
    assert short.law_flops(short.parameters) == expected(short.parameters)
    assert short.law_flops(short.parameters) < long.law_flops(long.parameters)
    path = saved(transformers, dataset, tmp_path / "model", "llama")
    long, short = (load_teacher(str(path), dataset, engine, c) for c in (32, 16))
    assert short.flops.attention == long.flops.attention / 2

    spec = replace(
        supervised(2), model=config(1, context=16), objective=Objective(), teacher=str(teacher_run)
    )
    bill = train(spec, tmp_path / "run", Machine(device="cpu"), cache=cache).flops
    assert bill.teacher_exact == config(2, context=16).flops.dense * spec.tokens


def test_a_frozen_teacher_in_half_precision_says_the_same(teacher_run: Path) -> None:
    """Weights kept in bfloat16 give bit for bit what casting them at every use gives."""
    tokens = torch.arange(64).reshape(2, 32)
    found = []
    for stored in (torch.float32, torch.bfloat16):
        model, _ = checkpoint.load_model(teacher_run / "model", torch.bfloat16)
        with torch.no_grad():
            found.append(model.to(stored)(tokens))
    assert found[0].dtype == torch.bfloat16
    assert torch.equal(*found)


def test_an_unfinished_run_is_no_teacher(dataset: Dataset, engine: Engine, tmp_path: Path) -> None:
    """A run without a finished model asks to be resumed."""
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(PlannerError, match="has not finished"):
        load_teacher(str(tmp_path), dataset, engine, 32)


def test_without_transformers_the_extra_is_named(
    dataset: Dataset, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A foreign teacher without the package is answered with the line that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="hub"):
        load_teacher("hub:org/model", dataset, engine, 32)


def test_a_teachers_model_says_what_it_is(teacher_run: Path) -> None:
    """The finished model carries its shape, its tokenizer and how it was trained."""
    state = json.loads((teacher_run / "model" / "state.json").read_text())
    assert state["config"]["layers"] == config(2).layers
    assert state["spec"]["hyper"]["batch"] == HYPER.batch
    assert state["measures"]["cross_entropy"] > 0


def test_a_mistyped_path_is_not_looked_up_on_the_network(
    dataset: Dataset, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `hub:` nothing is asked for; the message says how a model there is named."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network was asked"))
    with pytest.raises(PlannerError, match=r"no run and no model.*hub:runs/nothing"):
        load_teacher("runs/nothing", dataset, engine, 32)
    with pytest.raises(PlannerError, match="hub:runs/nothing"):
        data.load_tokenizer("runs/nothing")
