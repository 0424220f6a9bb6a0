"""Models of ours in `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from planner.cli import export_model
from planner.trainer import checkpoint, export
from planner.trainer.data import Dataset
from planner.trainer.engine import Engine
from planner.trainer.files import StorageError
from planner.trainer.loss import Dense
from planner.trainer.model import build
from planner.trainer.teachers import load_teacher
from tests.trainer.conftest import VOCABULARY, config


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="the other side of an export")


@pytest.fixture(scope="module")
def folder(teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "model"
    found = CliRunner().invoke(export_model.command, [str(teacher_run), str(out)])
    assert found.exit_code == 0, found.output
    return out


def test_logits_are_the_same(transformers: Any, folder: Path, teacher_run: Path) -> None:
    """A trained model gives in transformers what it gives here."""
    ours, _ = checkpoint.load_model(teacher_run / "model", torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokens = torch.randint(VOCABULARY, (3, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = ours(tokens) @ ours.embedding.T
        found = theirs(tokens).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_it_writes_text(transformers: Any, folder: Path) -> None:
    """Text in, text out: model and tokenizer fit together."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer("My fellow citizens", return_tensors="pt")
    found = model.generate(given.input_ids, max_new_tokens=8, do_sample=False)
    text = tokenizer.decode(found[0])
    assert text.startswith("My fellow citizens")
    assert len(text) > len("My fellow citizens")


def test_groups_and_padding_are_exported(
    transformers: Any, tmp_path: Path, dataset: Dataset, engine: Engine
) -> None:
    """Grouped queries and a padded vocabulary come out as Qwen3 has them, and in as a teacher."""
    shape = config(2, kv_group=2, vocabulary_multiple=128)
    model = build(shape, 0)
    assert len(model.embedding) == 384
    count = sum(p.numel() for p in model.parameters()) - model.embedding.numel()
    assert shape.parameters == count
    settings = transformers.Qwen3Config(**export.configuration(shape, 0))
    theirs = transformers.Qwen3ForCausalLM(settings)
    missing = theirs.load_state_dict(export.weights(model), strict=False)
    assert missing.missing_keys == ["lm_head.weight"]
    assert not missing.unexpected_keys
    theirs.tie_weights()
    tokens = torch.arange(60).reshape(2, 30)
    with torch.no_grad():
        expected = (model(tokens) @ model.embedding.T)[..., :VOCABULARY]
        torch.testing.assert_close(theirs(tokens).logits, expected, rtol=1e-5, atol=1e-5)
    theirs.save_pretrained(tmp_path / "model")
    dataset.tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    teacher = load_teacher(str(tmp_path / "model"), dataset, engine, 30)
    signal = teacher.signal(tokens)
    assert isinstance(signal, Dense)
    torch.testing.assert_close(
        signal.hidden @ signal.head.T, expected.flatten(0, 1), rtol=1e-4, atol=1e-5
    )
    assert teacher.parameters == count


def test_what_is_there_is_not_overwritten(folder: Path, teacher_run: Path, tmp_path: Path) -> None:
    """A folder that exists, and a run without a model, are refused."""
    with pytest.raises(StorageError, match="exists already"):
        export.export_model(str(teacher_run), folder)
    with pytest.raises(StorageError, match="no finished model"):
        export.export_model(str(tmp_path), tmp_path / "out")
