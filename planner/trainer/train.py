"""The training loop: one function for teachers, supervised baselines and distilled students.

A run lives in a directory::

    spec.json      what was asked and of which data and teacher; another run is refused
    log.jsonl      one line per update, and what surrounded them
    checkpoints/   complete states, the newest two
    model/         the finished model, which `load_teacher` reads
    record.json    the `RunRecord`, written last: a directory with it and `model/` is finished
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from planner.errors import PlannerError
from planner.trainer import checkpoint, measure, memory, record
from planner.trainer.checks import check_batch, check_data, check_teacher, claim, held_by
from planner.trainer.data import Dataset, Sampler, prepare
from planner.trainer.engine import Clock, Engine, Machine, open_engine
from planner.trainer.files import StorageError, exclusive, storage, write_json
from planner.trainer.hardware import Peak, describe, peak_of, utilisation
from planner.trainer.logits import LEAST_MASS, StoredLogits, key_of
from planner.trainer.loss import (
    TERMS,
    Dense,
    FusedLoss,
    LinearLoss,
    Objective,
    Signal,
    Sparse,
    make_loss,
)
from planner.trainer.model import Decoder
from planner.trainer.optim import make_optimizer, set_rate
from planner.trainer.spec import FlopBill, RunRecord, RunSpec, check_stored, read_record
from planner.trainer.teachers import OwnHead, Teacher, load_teacher

SETTLING_STEPS = 10  # left out of timings: compilation, caches, allocator
AGREEMENT = 10  # steps between those after which processes agree about a checkpoint


def train(
    spec: RunSpec,
    out_dir: Path,
    machine: Machine = Machine(),  # noqa: B008 (frozen)
    *,
    cache: Path | None = None,
    progress: record.Progress = record.silent,
    sinks: Sequence[record.Sink] = (),
) -> RunRecord:
    """Do the run `spec` in `out_dir`, or finish it, or read back that it is done.

    Idempotent: a finished run is not repeated, an interrupted one goes on from its newest
    checkpoint with exactly the updates it would have made. Raises `PlannerError` for whatever the
    caller can mend, before any training wherever that is possible.
    """
    with ExitStack() as closing:
        for sink in sinks:  # whatever happens: what they hold back is written then
            closing.callback(sink.close)
        claim(spec, out_dir)
        finished = read_record(out_dir)
        if finished is not None:
            return finished
        engine = closing.enter_context(open_engine(machine))
        run = _Run.begin(spec, out_dir, engine, cache, progress, sinks, closing)
        result = run.finish()
        engine.wait()
        return result


class Part(NamedTuple):
    """A microbatch as it is stored: tokens (B, T + 1), the numbers of their documents (B, T) and
    the teacher's ids and log-probabilities (B * T, k) where they are wanted."""

    tokens: NDArray[Any]
    documents: NDArray[np.int64] | None
    stored: tuple[NDArray[Any], NDArray[np.float16]] | None


@dataclass
class _Run:
    spec: RunSpec
    out_dir: Path
    engine: Engine
    dataset: Dataset
    teacher: Teacher | None
    stored: StoredLogits | None
    sampler: Sampler
    decoder: Decoder
    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: LinearLoss | FusedLoss
    peak: Peak
    log: record.Log
    progress: record.Progress
    sinks: Sequence[record.Sink]
    microbatch: int
    watch: record.Watch
    step: int = 0
    seconds: float = 0.0
    saved: float = 0.0

    @classmethod
    def begin(
        cls,
        spec: RunSpec,
        out_dir: Path,
        engine: Engine,
        cache: Path | None,
        progress: record.Progress,
        sinks: Sequence[record.Sink],
        closing: ExitStack | None = None,
    ) -> _Run:
        """Load everything, refuse what cannot work, and restore the newest checkpoint.

        With `closing` the run's folder is locked until that closes.
        """
        check_batch(spec, engine)
        loss = make_loss(
            engine.machine.kernel, spec.objective, spec.hyper.z_loss, engine.device,
            vocabulary=spec.model.vocabulary, compiled=engine.machine.compile,
        )  # fmt: skip
        with storage("the run", out_dir):
            out_dir.mkdir(parents=True, exist_ok=True)
            if closing is not None and engine.main:  # a run's processes share its folder
                closing.enter_context(exclusive(out_dir / ".lock", wait=False))
        dataset = prepare(spec.data, cache)
        windows = check_data(spec, dataset)
        teacher = None
        if spec.teacher is not None:
            teacher = load_teacher(spec.teacher, dataset, engine, spec.model.context)
            check_teacher(spec, teacher)
        split = dataset.split(spec.split)
        stored = None
        if spec.logits is not None and teacher is not None:
            key = key_of(teacher.hash, dataset, split, spec.model.context)
            stored = StoredLogits(Path(spec.logits), key)
            check_stored(spec.objective, stored.manifest.scheme)
            stored.require(Sampler(windows, spec.hyper.batch, spec.seed).needed(spec.steps))
        width = None
        if spec.objective is not None and spec.objective.hidden and teacher is not None:
            width = round(teacher.held()[1])
        with torch.device("meta"):
            decoder = Decoder(spec.model, engine.dtype, width)
        model = engine.place(decoder)
        run = cls(
            spec,
            out_dir,
            engine,
            dataset,
            teacher,
            stored,
            Sampler(windows, spec.hyper.batch, spec.seed),
            decoder,
            model,
            make_optimizer(decoder, spec.hyper),
            loss,
            peak_of(engine.device, engine.machine.peak),
            record.Log(out_dir / "log.jsonl"),
            progress,
            sinks,
            memory.microbatch(
                spec.model,
                spec.hyper.batch // engine.world,
                engine,
                *(teacher.held() if teacher and stored is None else ()),
            ),
            record.Watch(spec.model.vocabulary),
        )
        run.open()
        return run

    def open(self) -> None:
        """Write down the run's identity, or compare with what is there, and restore its state."""
        identity = {
            "spec": self.spec.to_dict(),
            "dataset": self.dataset.split(self.spec.split).hash,
            "teacher": self.teacher.hash if self.teacher else None,
        }
        path = self.out_dir / "spec.json"
        if path.exists():
            held = held_by(path)
            changed = [name for name in ("dataset", "teacher") if held.get(name) != identity[name]]
            if changed:
                raise StorageError(
                    f"the {' and the '.join(changed)} of the run in {self.out_dir} changed since "
                    "it began; put the old back, or start again in another directory"
                )
        elif self.engine.main:
            with storage("the run", path):
                write_json(path, identity)
        found = checkpoint.restore(self.out_dir / "checkpoints", self.decoder, self.optimizer)
        if found is None:
            self.decoder.initialise(self.spec.seed, checkpoint.placed)
        else:
            self.step, self.seconds = found["step"], found["seconds"]
        if self.engine.main:
            self.log.truncate(self.step)
            event = "resume" if found else "start"
            about = record.environment(self.engine) | {"microbatch": self.microbatch}
            self.log.write([{"event": event, "at": self.step, **identity, "environment": about}])
        self.engine.wait()

    def finish(self) -> RunRecord:
        """Take the remaining steps, then measure and write the results."""
        clock = self._loop()
        # before measuring: a sharded model's forward pass leaves its root in compute precision
        tensors = checkpoint.gather(self.decoder, keep=self.engine.main)
        measures = self._measure()
        result = self._record(measures, clock)
        if self.engine.main:
            about = {
                "tokenizer": self.dataset.tokenizer_hash,
                "spec": self.spec.to_dict(),
                "measures": measures.to_dict(),
            }
            tokenizer = self.dataset.tokenizer
            checkpoint.save_model(self.out_dir / "model", self.decoder, about, tensors, tokenizer)
            with storage("the run record", self.out_dir):
                write_json(self.out_dir / "record.json", result.to_dict())
            self.log.write([{"event": "end", **result.to_dict()}])
        return result

    def _loop(self) -> Clock:
        steps, evaluate = self.spec.steps, self.engine.machine.evaluate_every
        pending: list[tuple[int, Tensor, Tensor]] = []
        clock = Clock(self.engine, settle=min(SETTLING_STEPS, (steps - self.step) // 5))
        with ThreadPoolExecutor(1) as reader:
            upcoming = reader.submit(self._read, self.step)
            while self.step < steps:
                parts = upcoming.result()
                if self.step + 1 < steps:  # read, and checked when first touched, during this step
                    upcoming = reader.submit(self._read, self.step + 1)
                pending.append((self.step, *self._update(parts)))
                self.step += 1
                clock.tick()
                more = self.step < steps
                save = more and self._due(clock)
                measure_now = more and evaluate is not None and self.step % evaluate == 0
                if clock.due() or save or measure_now or not more:
                    self._report(pending, clock)
                    pending = []
                if save:
                    with clock.paused():
                        self._save(clock)
                if measure_now:
                    with clock.paused():
                        self._evaluate()
        self.seconds += clock.total
        return clock

    def _due(self, clock: Clock) -> bool:
        """Whether a checkpoint is due after this step; the same in every process."""
        machine = self.engine.machine
        if machine.checkpoint_minutes is not None:
            late = clock.total - self.saved > 60 * machine.checkpoint_minutes
            # processes agree now and then only: they wait for one another in it
            if self.engine.world > 1:
                late = self.step % AGREEMENT == 0 and self.engine.any(late)
            return late
        every = machine.checkpoint_every or max(1, min(self.spec.steps // 10, 1_000))
        return self.step % every == 0

    def _read(self, step: int) -> list[Part]:
        """What this process trains on in a step, a microbatch at a time, as it is stored."""
        spec, engine = self.spec, self.engine
        share = spec.hyper.batch // engine.world
        mine = self.sampler.indices(step)[engine.rank * share : (engine.rank + 1) * share]
        split, context = self.dataset.split(spec.split), spec.model.context
        return [
            Part(
                split.batch(indices, context),
                split.document_of(indices, context) if spec.mask_documents else None,
                self.stored.rows(indices) if self.stored is not None else None,
            )
            for indices in mine.reshape(-1, self.microbatch)
        ]

    def _update(self, parts: Sequence[Part] | None = None) -> tuple[Tensor, Tensor]:
        """One optimiser step: sums of the loss terms over all its tokens, and the gradient norm."""
        spec, engine = self.spec, self.engine
        parts = self._read(self.step) if parts is None else parts
        set_rate(self.optimizer, spec.hyper.schedule(self.step, spec.steps))
        sums = torch.zeros(len(TERMS), device=engine.device)
        for number, part in enumerate(parts):
            data = engine.tensor(part.tokens).long()  # widened there: fewer bytes go over
            tokens, labels = data[:, :-1].contiguous(), data[:, 1:].contiguous()
            documents = None if part.documents is None else engine.tensor(part.documents)
            signal = self._signal(part, tokens, documents)

            def objective(
                hidden: Tensor,
                head: Tensor,
                labels: Tensor = labels,
                signal: Signal | None = signal,
            ) -> tuple[Tensor, Tensor]:
                flat = hidden.flatten(0, 1)
                loss, sums = self.loss(flat, head, labels.flatten(), signal)
                return loss + self._hidden_loss(flat, signal), sums

            with engine.accumulating(self.model, last=number == len(parts) - 1):
                loss, part_sums = self.model(tokens, objective, documents)
                # Over the tokens of the whole step: a mean of means would weigh them unequally.
                # Wrappers average gradients over processes, hence the factor.
                (loss * (engine.world / spec.tokens_per_step)).backward()
            sums += part_sums
        norm = torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), spec.hyper.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        full = norm.full_tensor() if isinstance(norm, DTensor) else norm
        return engine.total(sums), full

    def _signal(self, part: Part, tokens: Tensor, documents: Tensor | None) -> Signal | None:
        if part.stored is not None:
            return Sparse(*map(self.engine.tensor, part.stored))
        return self.teacher.signal(tokens, documents) if self.teacher else None

    def _hidden_loss(self, hidden: Tensor, signal: Signal | None) -> Tensor | float:
        """The sum over tokens of one minus the cosine of mapped hidden states and the teacher's."""
        projector = self.decoder.projector
        if projector is None:
            return 0.0
        assert self.spec.objective is not None
        assert isinstance(signal, Dense)
        alike = torch.nn.functional.cosine_similarity(
            projector(hidden).float(), signal.hidden.float(), dim=-1
        )
        return self.spec.objective.hidden * (1 - alike).sum()

    def _evaluate(self) -> None:
        """Measure during the run, for the log alone."""
        measures = self._measure().to_dict()
        if self.engine.main:
            self.log.write([{"event": "evaluation", "step": self.step, **measures}])
            for sink in self.sinks:
                known = {f"held-out {k}": v for k, v in measures.items() if v is not None}
                sink.log(self.step, known)

    def _report(self, pending: list[tuple[int, Tensor, Tensor]], clock: Clock) -> None:
        """Write the steps since the last report; reading them waits for the device."""
        lines = [self._line(*entry) for entry in pending]
        clock.report()
        if self.engine.main:
            self.log.write(lines)  # before anything is refused: they say how it came to that
        for line in lines:
            if not np.isfinite(line["loss"]):
                raise PlannerError(
                    f"the loss became {line['loss']} at step {line['step']}; "
                    f"{self.log.path} holds the steps before it. Lower --learning-rate and start "
                    "again in another directory"
                )
        if not self.engine.main:
            return
        for line in lines:
            found = self.watch.see(line["step"], line["cross_entropy"])
            if found is not None:
                self.log.write([{"event": "warning", "step": line["step"], "text": found}])
        for sink in self.sinks:
            for line in lines:
                values = {k: v for k, v in line.items() if isinstance(v, float)}
                sink.log(line["step"], values)
        speed = clock.steps_per_second * self.spec.tokens_per_step
        share = describe(self._mfu(speed)[0], self.peak).partition(" (")[0]
        status = f"loss {lines[-1]['loss']:.4f}, {speed:,.0f} tokens/s, {share}"
        if self.watch.found is not None:
            status += ", diverging"
        self.progress(self.step, self.spec.steps, status)

    def _line(self, step: int, sums: Tensor, norm: Tensor) -> dict[str, Any]:
        values = dict(zip(TERMS, sums.double().tolist(), strict=True))
        count = values.pop("tokens")
        if self.spec.objective is None:
            values = {name: values[name] for name in ("loss", "cross_entropy", "z")}
        means = {name: value / count for name, value in values.items()}
        rate = self.spec.hyper.learning_rate * self.spec.hyper.schedule(step, self.spec.steps)
        return {"event": "step", "step": step, **means, "norm": norm.item(), "rate": rate}

    def _save(self, clock: Clock) -> None:
        self.saved = clock.total
        state = {"seconds": self.seconds + clock.total}
        directory = self.out_dir / "checkpoints"
        if isinstance(self.model, FSDPModule):
            checkpoint.save_shared(
                directory, self.step, self.decoder, self.optimizer, state, self.engine
            )
            return
        if self.engine.main:  # under DDP every process has the same
            tensors = checkpoint.gather(self.decoder, self.optimizer)
            checkpoint.save(directory, self.step, tensors, state)
        self.engine.wait()

    def _measure(self) -> measure.Measures:
        return measure.evaluate(
            OwnHead(self.model, self.spec.model),
            self.dataset.split("validation"),
            self.spec.model.context,
            self.engine,
            batch=self.microbatch,
            max_tokens=self.spec.evaluation_tokens,
            source=self.teacher.signal if self.teacher and self.teacher.dense else None,
            masked=self.spec.mask_documents,
        )

    def _mfu(self, tokens_per_second: float) -> tuple[float | None, float | None]:
        """Utilisation with causal and with full attention, of all devices together."""
        student, teacher = self.spec.model.flops, self._online_teacher()
        rate = tokens_per_second / self.engine.world
        causal = 3 * student.causal + (teacher.flops.causal if teacher else 0.0)
        dense = 3 * student.dense + (teacher.flops.dense if teacher else 0.0)
        share = utilisation(rate * causal, self.peak)
        return (
            share,
            None if share is None or self.peak.flops is None else rate * dense / self.peak.flops,
        )

    def _online_teacher(self) -> Teacher | None:
        return None if self.stored is not None else self.teacher

    def _record(self, measures: measure.Measures, clock: Clock) -> RunRecord:
        spec, teacher = self.spec, self._online_teacher()
        tokens = spec.steps * spec.tokens_per_step
        exact = 3 * spec.model.flops.dense * tokens
        recomputed = (spec.model.flops.dense - spec.model.flops.head) * tokens
        bill = FlopBill(
            law=float(spec.model.law_flops.training(spec.model.parameters, tokens)),
            exact=exact,
            hardware=exact + (recomputed if self.engine.machine.recompute else 0.0),
            teacher_law=float(teacher.law_flops(teacher.parameters)) * tokens if teacher else 0.0,
            teacher_exact=teacher.flops.dense * tokens if teacher else 0.0,
        )
        speed = clock.steps_per_second * spec.tokens_per_step
        mfu, mfu_dense = self._mfu(speed)
        last = [line for line in record.read_log(self.log.path) if line["event"] == "step"][-10:]
        kept = float(np.mean([line["kept_mass"] for line in last])) if spec.objective else None
        about = None
        if self.teacher:
            about = {
                "name": self.teacher.name,
                "hash": self.teacher.hash,
                "parameters": self.teacher.parameters,
                "kept_mass": kept,
                "stored": self.stored.manifest.scheme if self.stored else None,
            }
        return RunRecord(
            spec=spec,
            steps=spec.steps,
            tokens=tokens,
            epochs=spec.steps * spec.hyper.batch / self.sampler.windows,
            parameters=spec.model.parameters,
            flops=bill,
            measures=measures.to_dict(),
            train_cross_entropy=float(np.mean([line["cross_entropy"] for line in last])),
            seconds=self.seconds,
            tokens_per_second=speed,
            mfu=mfu,
            mfu_dense=mfu_dense,
            peak=self.peak.reference,
            peak_memory=self.engine.peak_memory(),
            environment=record.environment(self.engine) | {"microbatch": self.microbatch},
            dataset=self.dataset.split(spec.split).hash,
            teacher=about,
            mfu_text=describe(mfu, self.peak),
            documents=[list(each) for each in measures.documents],
            warnings=[
                found for found in (self.watch.found, _cut_off(spec.objective, kept)) if found
            ],
        )


def _cut_off(objective: Objective | None, kept: float | None) -> str | None:
    """A warning for a student whose teacher lost much of its mass, and none of its tail's."""
    if objective is None or kept is None or kept >= LEAST_MASS or not objective.mixing:
        return None
    if objective.tail == "bucket":
        return (
            f"the teacher's tokens hold {kept:.1%} of its mass and the rest is matched as one "
            "outcome: less is learned than from all of it; use --samples, a larger --top-k, or "
            "the whole teacher"
        )
    return (
        f"the teacher's tokens hold {kept:.1%} of its mass, and the student learns a distribution "
        "without the rest, which held-out text is full of; use --samples, --tail bucket, a larger "
        "--top-k, or the whole teacher"
    )
