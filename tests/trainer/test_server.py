"""A teacher behind an OpenAI-compatible server, which runs here on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from planner.errors import PlannerError
from planner.trainer import checkpoint
from planner.trainer.data import Dataset, Sampler
from planner.trainer.engine import Engine, Machine
from planner.trainer.logits import top_of, write_logits
from planner.trainer.loss import Objective, Sparse
from planner.trainer.record import read_log
from planner.trainer.teachers import load_teacher, measure_teacher
from planner.trainer.train import train
from tests.trainer.conftest import DATA, supervised


class Handler(BaseHTTPRequestHandler):
    """What vLLM answers to the few requests that are made, for a model of ours."""

    model: Any
    tokenizer: Any
    echo = False  # answer as servers that do not know prompt_logprobs
    failures = 0

    def do_GET(self) -> None:
        self.answer({"data": [{"id": "teacher"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            ids = self.tokenizer.encode(body["prompt"], add_special_tokens=False).ids
            self.answer({"tokens": ids})
            return
        if Handler.failures:
            Handler.failures -= 1
            self.send_error(503)
            return
        assert (self.path, body["model"], body["max_tokens"]) == ("/v1/completions", "teacher", 1)
        with torch.no_grad():
            hidden = self.model(torch.tensor([body["prompt"][:-1]]))
            best = torch.log_softmax(hidden[0] @ self.model.embedding.T, -1)
        best = best.topk(body["prompt_logprobs"])
        pairs = [list(zip(i, v, strict=True)) for i, v in zip(best.indices.tolist(), best.values.tolist(), strict=True)]  # fmt: skip # noqa: E501
        if self.echo:
            places: list[Any] = [{f"token_id:{i}": v for i, v in row} for row in pairs]
            choice: dict[str, Any] = {"logprobs": {"top_logprobs": [None, *places, {}]}}
        else:
            # the prompt's own token stands among them, in place of none
            places = [{str(i): {"logprob": v, "rank": 1} for i, v in row} for row in pairs]
            places = [{**row, "0": row.get("0", {"logprob": -99.0})} for row in places]
            choice = {"prompt_logprobs": [None, *places]}
        self.answer({"choices": [choice]})

    def answer(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def url(teacher_run: Path, dataset: Dataset) -> Iterator[str]:
    Handler.model, _ = checkpoint.load_model(teacher_run / "model", torch.float32)
    Handler.tokenizer, Handler.echo, Handler.failures = dataset.tokenizer, False, 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("echo", [False, True])
def test_log_probabilities_are_the_models(
    echo: bool, url: str, teacher_run: Path, dataset: Dataset, engine: Engine
) -> None:
    """By either way of asking, and after a failure that passes."""
    Handler.echo, Handler.failures = echo, 1
    teacher = load_teacher(url, dataset, engine, 32)
    teacher.model.entries = 5
    tokens = torch.arange(64).reshape(2, 32)
    signal = teacher.signal(tokens)
    assert isinstance(signal, Sparse)
    values, ids = top_of(load_teacher(str(teacher_run), dataset, engine, 32).signal(tokens), 64, 5)
    torch.testing.assert_close(signal.logprobs, values, rtol=1e-4, atol=1e-4)
    assert (signal.ids == ids).float().mean() > 0.99


def test_a_student_learns_from_a_server(
    url: str, dataset: Dataset, engine: Engine, cache: Path, tmp_path: Path
) -> None:
    """Online, and the same from what was stored of it."""
    machine, objective = Machine(device="cpu"), Objective(top_k=8, tail="bucket")
    spec = replace(supervised(2), objective=objective, teacher=f"{url}#teacher")
    online = train(spec, tmp_path / "online", machine, cache=cache)
    assert online.measures["kl"] is None
    teacher, split = load_teacher(f"{url}#teacher", dataset, engine, 32), dataset.split("student")
    windows = Sampler(split.windows(32), 4, 0).needed(2)
    write_logits(tmp_path / "logits", teacher, dataset, split, 32, 8, engine, windows=windows)
    stored = replace(spec, logits=str(tmp_path / "logits"))
    train(stored, tmp_path / "stored", machine, cache=cache)
    losses = [
        [line["loss"] for line in read_log(tmp_path / name / "log.jsonl")[1:-1]]
        for name in ("online", "stored")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_what_a_server_cannot_do_is_refused(
    url: str, dataset: Dataset, engine: Engine, cache: Path, tmp_path: Path
) -> None:
    """Whole distributions, a model it has not, another tokenizer, samples, no server at all."""
    spec = replace(supervised(2), objective=Objective(), teacher=url)
    with pytest.raises(PlannerError, match="--top-k 20"):
        train(spec, tmp_path / "run", Machine(device="cpu"), cache=cache)
    with pytest.raises(PlannerError, match="no model 'other', it has teacher"):
        load_teacher(f"{url}#other", dataset, engine, 32)
    with pytest.raises(PlannerError, match="no cross-entropy follows"):
        measure_teacher(url, DATA, 32, Machine(device="cpu"), cache=cache)
    teacher, split = load_teacher(url, dataset, engine, 32), dataset.split("student")
    with pytest.raises(PlannerError, match="whole distributions"):
        write_logits(
            tmp_path / "l", teacher, dataset, split, 32, 8, engine,
            scheme="sampled", windows=torch.arange(4).numpy(),
        )  # fmt: skip
    Handler.tokenizer = type("Other", (), {"encode": lambda *_, **__: type("E", (), {"ids": [1]})})
    with pytest.raises(PlannerError, match="another tokenizer"):
        load_teacher(url, dataset, engine, 32)
