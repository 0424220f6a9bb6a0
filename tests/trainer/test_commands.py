"""The trainer's commands, from the words a user types."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli import benchmark, measure_teacher, train
from planner.errors import PlannerError
from planner.trainer.data import DataSpec
from planner.trainer.record import read_log
from planner.trainer.spec import read_record
from tests.trainer.conftest import VOCABULARY

ROOT = Path(__file__).parents[2]
SMALL = [
    *("--aspect-ratio", "32", "--head-size", "16", "--context", "32", "--batch", "4"),
    *("--vocabulary", str(VOCABULARY), "--device", "cpu"),
    *("--threads", "1"),
]


def run(command: object, *words: object) -> str:
    """What a command prints to stdout."""
    found = CliRunner().invoke(command, [str(w) for w in words], catch_exceptions=False)  # type: ignore[arg-type]
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """A teacher trained from the command line, and the options that go with it."""
    root = tmp_path_factory.mktemp("commands")
    corpus = root / "speeches.jsonl"
    pieces = [text[:2_000] for text in DataSpec(max_documents=100).documents()]
    corpus.write_text("".join(json.dumps({"text": piece}) + "\n" for piece in pieces))
    options: list[object] = [*SMALL, "--cache", root / "cache", "--corpus", corpus]
    words = ["teacher", "--layers", "2", "--tokens", "6K", "--output", root / "teacher"]
    text = run(train.command, *words, *options)
    assert "cross-entropy" in text
    assert "MFU n/a" in text
    return root, options


def test_train_teacher_then_students(runs: tuple[Path, list[object]]) -> None:
    """The three roles, on the halves of the corpus they belong to, with an optional sink."""
    root, options = runs
    words = ["student", "--layers", "1", "--tokens", "1.5K", "--teacher", root / "teacher"]
    text = run(train.command, *words, "--output", root / "s", "--quiet", *options)
    assert "KL" in text
    supervised = ["supervised", "--size", "10K", "--tokens", "1.5K", "--seed", "3"]
    run(train.command, *supervised, "--output", root / "b", "--quiet", *options)
    records = [read_record(root / name) for name in ("teacher", "s", "b")]
    assert [r.spec.split for r in records if r] == ["teacher", "student", "student"]
    assert records[1] is not None
    assert records[1].tokens == 1_536
    assert records[2] is not None
    assert records[2].spec.model.layers == 1


def test_train_from_stored_logits(runs: tuple[Path, list[object]]) -> None:
    """Logits are stored on first use, and later students read them and add what they lack."""
    root, options = runs
    words = ["student", "--layers", "1", "--tokens", "1K", "--teacher", root / "teacher"]
    words += ["--logits", root / "logits"]
    with pytest.raises(PlannerError, match="--top-k 128"):
        run(train.command, *words, "--output", root / "l0", "--quiet", *options)
    first = [*words, "--output", root / "l1", "--top-k", "40", "--tail", "bucket"]
    assert "of the mass" in run(train.command, *first, *options)
    before = {path: path.stat().st_mtime_ns for path in (root / "logits").rglob("*")}
    run(train.command, *words, "--output", root / "l2", "--seed", "1", "--quiet", *options)
    after = {path: path.stat().st_mtime_ns for path in (root / "logits").rglob("*.npy")}
    kept = {path: time for path, time in before.items() if path.suffix == ".npy"}
    assert kept.items() < after.items()
    run(train.command, *words, "--output", root / "l3", "--layers", "2", "--quiet", *options)
    assert {path: path.stat().st_mtime_ns for path in (root / "logits").rglob("*.npy")} == after
    sampled = [*words[:-1], root / "sampled", "--output", root / "l4", "--samples", "12"]
    assert "hold 100.0" in run(train.command, *sampled, "--quiet", *options)
    with pytest.raises(PlannerError, match="instead of --top-k"):
        run(train.command, *sampled, "--top-k", "12", "--quiet", *options)


def test_train_writes_tensorboard_events(runs: tuple[Path, list[object]]) -> None:
    """The sink gets the numbers that the log gets."""
    pytest.importorskip("tensorboard", reason="the sink needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    root, options = runs
    words = ["supervised", "--layers", "1", "--tokens", "640", "--output", root / "tb"]
    run(train.command, *words, "--tensorboard", root / "events", "--quiet", *options)
    events = EventAccumulator(str(root / "events"))
    events.Reload()
    written = [event.value for event in events.Scalars("cross_entropy")]
    logged = [line["cross_entropy"] for line in read_log(root / "tb" / "log.jsonl")[1:-1]]
    assert written == pytest.approx(logged, rel=1e-5)


def wandb_history(file: Path) -> list[dict[str, float]]:
    """What an offline W&B run logged: its file is a LevelDB log of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, record, found = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 32_768 - place % 32_768  # records never begin in the last bytes of a block
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last of several parts
            read = Record.FromString(record)
            record = b""
            if read.HasField("history"):
                items = read.history.item
                found.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in items})
    return found


def test_train_writes_an_offline_wandb_run(runs: tuple[Path, list[object]], tmp_path: Path) -> None:
    """The real package, without a network, gets the numbers that the log gets, and keeps them."""
    pytest.importorskip("wandb", reason="the sink needs the package wandb")
    _, options = runs
    words = ["supervised", "--layers", "1", "--tokens", "640", "--output", tmp_path / "run"]
    command = [sys.executable, "-m", "planner.cli", "train", *words, "--wandb", "trial", "--quiet"]
    offline = {
        "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_ERROR_REPORTING": "false",
        "WANDB_CACHE_DIR": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path),
    }  # fmt: skip
    done = subprocess.run(
        [str(word) for word in (*command, *options)],
        env={**os.environ, **offline, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cross-entropy")
    assert "wandb" not in done.stdout
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    written = wandb_history(file)
    logged = [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "step"]
    assert len(logged) == 5
    assert [line["_step"] for line in written] == [line["step"] for line in logged]
    for name in ("loss", "cross_entropy", "norm", "rate"):
        assert [line[name] for line in written] == [line[name] for line in logged]


def test_train_from_a_recipe(tmp_path: Path, runs: tuple[Path, list[object]]) -> None:
    """A recipe gives layers and tokens; at its own scale it is refused where the data is small."""
    from planner import Problem, solve

    recipe = tmp_path / "recipe.json"
    recipe.write_text(solve(Problem(budget=1e20, student=3e8)).render("json"))
    words = ["student", "--recipe", recipe, "--teacher", "t", "--output", tmp_path / "s"]
    with pytest.raises(PlannerError, match="would repeat the student split"):
        run(train.command, *words, "--quiet", *runs[1])
    document = json.loads(recipe.read_text())["recipe"]["student"]["architecture"]
    held = {"recipe": str(recipe), "scale": None, "layers": None, "tokens": None, "quiet": False}
    train._fill_from_recipe("student", held)
    assert held["layers"] == document["layers"]
    assert held["scale"] == "paper"


@pytest.mark.parametrize("role", ["supervised", "student", "teacher"])
def test_a_recipe_trains_what_decided_the_plan(
    role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the optimum is an extrapolation, the models inside the measured range; whoever trains
    another method than the recommended one is told."""
    from planner import Problem, solve

    plan = solve(Problem(budget=1e21, student=1e9, charge_pretraining=0.0))
    assert plan.decisive.recipe != plan.recipe
    path = tmp_path / "recipe.json"
    path.write_text(plan.render("json"))
    held = {"recipe": str(path), "scale": None, "layers": None, "tokens": None, "quiet": False}
    train._fill_from_recipe(role, held)
    student, teacher, alone = plan.decisive.models
    model = {"student": student, "teacher": teacher, "supervised": alone}[role]
    assert held["tokens"] == str(model.tokens)
    other = (role == "supervised") != (plan.recommendation.method == "supervised")
    assert ("recommends" in capsys.readouterr().err) is other


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["student", "--layers", "1", "--tokens", "1K"], "needs a --teacher"),
        (["teacher", "--tokens", "1K"], "--layers"),
        (["teacher", "--layers", "1"], "--tokens"),
        (["teacher", "--layers", "1", "--tokens", "many"], "okens"),
        (["teacher", "--layers", "1", "--tokens", "1K", "--head-size", "24"], "head size"),
    ],
)
def test_train_refuses_what_is_incomplete(
    words: list[str], message: str, tmp_path: Path, runs: tuple[Path, list[object]]
) -> None:
    """What is missing is named by the option that gives it."""
    with pytest.raises(PlannerError, match=message):
        run(train.command, *words[:1], *runs[1], *words[1:], "--output", tmp_path / "x", "--quiet")
    assert not (tmp_path / "x").exists()


def test_measure_teacher(runs: tuple[Path, list[object]]) -> None:
    """L_T is the run's own measure, printed as the option of a plan."""
    root, _ = runs
    record = read_record(root / "teacher")
    assert record is not None
    given = ["--cache", root / "cache", "--threads", "1", "--device", "cpu"]
    text = run(measure_teacher.command, root / "teacher", *given)
    assert f"loss={record.cross_entropy:.4f}" in text
    found = json.loads(run(measure_teacher.command, root / "teacher", *given, "--format", "json"))
    assert found["cross_entropy"] == pytest.approx(record.cross_entropy)
    assert found["parameters"] == record.parameters


def test_measure_teacher_on_other_text(runs: tuple[Path, list[object]], tmp_path: Path) -> None:
    """Other text is cut by the teacher's own tokenizer."""
    (tmp_path / "corpus").mkdir()
    for number in range(40):
        (tmp_path / "corpus" / f"{number}.txt").write_text(
            f"A quite different text, number {number}. " * 60
        )
    given = ["--cache", tmp_path / "cache", "--device", "cpu", "--corpus", tmp_path / "corpus"]
    text = run(measure_teacher.command, runs[0] / "teacher", *given, "--format", "json")
    assert json.loads(text)["cross_entropy"] > 0


def test_benchmark() -> None:
    """Training and inference rates, in words and as JSON."""
    words = ["--layers", "1", "--teacher-layers", "2", "--seconds", "0.2", "--device", "cpu"]
    words += ["--aspect-ratio", "32", "--head-size", "16", "--context", "32", "--vocabulary", "320"]
    assert "MFU n/a" in run(benchmark.command, *words)
    found = json.loads(run(benchmark.command, *words, "--format", "json", "--peak", "1e14"))
    assert 0 < found["training"]["utilisation"] < 1
    assert found["inference"]["tokens_per_second"] > 0
    assert 0 < found["training"]["of_matmul"] < 1
