"""A small real corpus, one small teacher, and one thread, so that results repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the trainer's tests need PyTorch (extra `test-all`)")

import torch

from planner.trainer.data import Dataset, DataSpec, prepare
from planner.trainer.engine import Engine, Machine
from planner.trainer.model import Config
from planner.trainer.optim import Hyper
from planner.trainer.spec import RunSpec
from planner.trainer.train import train

VOCABULARY = 320
DATA = DataSpec(vocabulary=VOCABULARY, max_documents=24, validation_share=0.1)
HYPER = Hyper(batch=4)


def config(layers: int = 1, **changes: int) -> Config:
    """A model of 32 columns per layer."""
    shape = {"aspect_ratio": 32, "head_size": 16, "context": 32, "ffn_multiple": 8}
    return Config(layers, vocabulary=VOCABULARY, **{**shape, **changes})


def supervised(steps: int = 8, **changes: object) -> RunSpec:
    """A short supervised run."""
    given = {"data": DATA, "hyper": HYPER, "evaluation_tokens": 512, **changes}
    return RunSpec(config(), steps * HYPER.batch * 32, **given)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which no file grows beyond some bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="limits of files need a POSIX system")

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tests' corpus is tokenised, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def dataset(cache: Path) -> Dataset:
    return prepare(DATA, cache)


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine(Machine(device="cpu"))


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The directory of a finished teacher of two layers."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "teacher"
    spec = RunSpec(config(2), 60 * 128, split="teacher", data=DATA, hyper=HYPER)
    train(spec, out, cache=cache)
    return out
