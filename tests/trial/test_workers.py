"""Pools: results and errors come back, dead processes are replaced, none is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="workers train with the extra `trainer`")

from planner.errors import PlannerError
from planner.trainer.data import SPLITS, DataSpec, prepare
from planner.trainer.optim import Hyper
from planner.trainer.spec import RunSpec, read_record
from planner.trial.design import SCALES, Design, Run
from planner.trial.runs import LocalPool, RunFolder, Task, execute, open_pool, result_of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    for number, text in enumerate(DataSpec(max_documents=30).documents()):
        (root / f"{number}.txt").write_text(text, encoding="utf-8")
    return root


def task(corpus: Path, folder: Path) -> Task:
    """A run of two steps."""
    data = DataSpec(corpus=str(corpus), vocabulary=320)
    config = SCALES[0].config(1, 320)
    spec = RunSpec(config, 256, data=data, hyper=Hyper(batch=1), evaluation_tokens=256)
    return {
        "kind": "train",
        "spec": spec.to_dict(),
        "directory": str(folder),
        "machine": {"device": "cpu"},
        "cache": str(folder.parent / "cache"),
    }


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_results_and_errors_come_back(kind: str, corpus: Path, tmp_path: Path) -> None:
    """A run is trained; what goes wrong in another process arrives as what it was."""
    if kind == "ray":
        pytest.importorskip("ray", reason="spreading runs over machines needs the extra `cluster`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, of its start
        with open_pool(kind, gpu=False) as pool:
            good = pool.submit(task(corpus, tmp_path / "good"))
            bad = pool.submit(task(corpus / "missing", tmp_path / "bad"))
            result_of(good)
            with pytest.raises(PlannerError, match="no corpus"):
                result_of(bad)

    record = read_record(tmp_path / "good")
    assert record is not None
    assert record.steps == 2


def design(folder: Path, corpus: Path) -> tuple[Design, Run, RunFolder]:
    """A trial of one run of forty steps."""
    tokens = 40 * SCALES[0].tokens_per_step
    run = Run("only", "ladder", "ladder", "supervised", 1, tokens, 0, rate=0.02)
    made = Design("tiny", 320, 2, 1e10, 1e11, 1, 1, 0, str(corpus), 100_000, 20.0, 1.0, 1.0, (run,))
    data = DataSpec(corpus=str(corpus), vocabulary=320)
    dataset = prepare(data, folder / "cache")
    hashes = {f"{name} tokens": dataset.split(name).hash for name in SPLITS}
    return made, run, RunFolder(folder, data, {"device": "cpu"}, folder / "cache", hashes)


def test_a_killed_process_is_replaced(corpus: Path, tmp_path: Path) -> None:
    """It is reported, and its run is finished by another one."""
    made, run, folder = design(tmp_path, corpus)
    said: list[str] = []
    killed: list[int] = []

    def progress(flops: float, what: str) -> None:
        children = multiprocessing.active_children()
        if not killed and children and folder.directory(run.key).exists():
            killed.append(children[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    with open_pool("local", gpu=False) as pool:
        records = execute(made, [run], folder, pool, progress, lambda: None, said.append)

    assert killed
    assert records[run.key].steps == 40
    assert said == [
        "A worker process died while training only; going on from the last checkpoints."
    ]


def test_a_run_that_keeps_killing_its_process_ends_the_trial(corpus: Path, tmp_path: Path) -> None:
    """Three deaths are enough: a sentence, and no endless loop."""
    made, run, folder = design(tmp_path, corpus)

    with open_pool("local", gpu=False) as pool:
        assert isinstance(pool, LocalPool)
        pool.submit = lambda task: pool._executor.submit(os._exit, 1)  # type: ignore[method-assign]
        with pytest.raises(PlannerError, match="died 3 times"):
            execute(made, [run], folder, pool, lambda *_: None, lambda: None)


def test_no_process_outlives_an_interrupt(corpus: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of a run: its process is gone when the pool is closed."""
    made, run, folder = design(tmp_path, corpus)

    def progress(flops: float, what: str) -> None:
        if folder.directory(run.key).exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_pool("local", gpu=False) as pool:
        execute(made, [run], folder, pool, progress, lambda: None)

    assert multiprocessing.active_children() == []
    assert read_record(folder.directory(run.key)) is None
