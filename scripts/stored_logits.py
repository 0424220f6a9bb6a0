"""How near do students of stored logits come to the student of the whole teacher, by bytes?

    python scripts/stored_logits.py --output runs/stored [--tokens 200K] [--entries 4,12,32]

Trains one teacher on the default corpus and then, from the same seed and on the same tokens, a
student of the whole teacher, a supervised one, and students of its top k and of k samples. Prints
held-out cross-entropies and the bytes that were stored for a token. Interrupted runs continue.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from planner.trainer.engine import Machine
from planner.trainer.logits import store_logits
from planner.trainer.loss import Objective
from planner.trainer.model import Config
from planner.trainer.optim import Hyper
from planner.trainer.spec import RunSpec
from planner.trainer.train import train
from planner.units import parse_count


def model(layers: int) -> Config:
    """64 columns a layer, heads of 32, 128 tokens of context."""
    return Config(
        layers, aspect_ratio=64, head_size=32, vocabulary=1_024, context=128, ffn_multiple=16
    )


def main() -> None:
    """Train, and print one line a student."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--tokens", default="200K", help="tokens of every run")
    parser.add_argument("--entries", default="4,12,32", help="tokens stored of a position")
    given = parser.parse_args()
    tokens, out = int(parse_count(given.tokens, "tokens")), given.output
    cache, machine = out / "cache", Machine(device="cpu")
    hyper = Hyper(batch=8)
    teacher = RunSpec(model(2), tokens, split="teacher", hyper=hyper, evaluation_tokens=60_000)
    train(teacher, out / "teacher", machine, cache=cache)
    direct = replace(teacher, model=model(1), split="student")
    full = replace(direct, objective=Objective(), teacher=str(out / "teacher"))
    losses = {
        "whole teacher": train(full, out / "full", machine, cache=cache).cross_entropy,
        "supervised": train(direct, out / "supervised", machine, cache=cache).cross_entropy,
    }
    sizes = {"whole teacher": 2.0 * full.model.vocabulary, "supervised": 0.0}
    for entries in map(int, given.entries.split(",")):
        for scheme in ("top-k", "sampled"):
            logits = out / f"{scheme}-{entries}"
            store_logits(
                full.teacher, full.data, logits, context=full.model.context, entries=entries,
                scheme=scheme, steps=(full.steps, hyper.batch, full.seed), machine=machine,
                cache=cache,
            )  # fmt: skip
            stored = replace(full, logits=str(logits))
            name = f"{scheme}, {entries}"
            record = train(stored, out / f"student-{scheme}-{entries}", machine, cache=cache)
            losses[name] = record.cross_entropy
            held = sum(path.stat().st_size for path in logits.rglob("*.npy"))
            sizes[name] = held / record.tokens
    print(f"{'student of':<16} bytes/token  held-out nats  behind the whole teacher's")
    for name, loss in losses.items():
        behind = loss - losses["whole teacher"]
        print(f"{name:<16} {sizes[name]:>11.1f} {loss:>14.4f} {behind:>+27.4f}")


if __name__ == "__main__":
    main()
