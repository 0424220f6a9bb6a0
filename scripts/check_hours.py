"""Hours that the planner predicts, beside the measured ones of a public study.

    python scripts/check_hours.py [--data FILE] [--utilisation 0.4]

FILE is gemstones2025_cooldown_end.csv (default: ../shared/data beside this repository): 22 shapes
of up to 2B parameters trained on nodes of 8 MI250X devices (McLeish et al. 2025, arXiv 2502.06857),
with seconds per step. Printed are the utilisation that each shape's time implies and the hours that
the planner would have predicted at a given one. FLOPs per token are 3 (2N + 2 L n_ctx d), with the
study's context of 2,048 tokens.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from planner.accelerators import UTILISATION, named  # noqa: E402
from planner.resources import Cluster, Utilisation, implied_utilisation, of_terms  # noqa: E402

DEVICES_PER_NODE = 8
CONTEXT = 2_048


def main() -> None:
    """Print one line per shape, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared" / "data" / "gemstones2025_cooldown_end.csv",
    )
    parser.add_argument("--utilisation", type=float, default=UTILISATION)
    given = parser.parse_args()
    if not given.data.exists():
        sys.exit(f"{given.data} is not there; give the file with --data")
    with given.data.open(encoding="utf-8", newline="") as file:
        last = {row["run"]: row for row in csv.DictReader(file)}  # the longest of each shape
    device = named("MI250X")
    print("run                            devices  hours measured  predicted  implied utilisation")
    shares, errors = [], []
    for name, row in sorted(last.items()):
        steps, tokens = float(row["step"]), float(row["tokens"])
        devices = DEVICES_PER_NODE * float(row["nodes"])
        per_token = 3 * (
            2 * float(row["parameters_active"])
            + 2 * float(row["depth"]) * CONTEXT * float(row["width"])
        )
        seconds = float(row["seconds_per_step"]) * steps
        share = implied_utilisation(per_token * tokens, seconds, devices, device)
        cluster = Cluster(device, devices, Utilisation(training=given.utilisation))
        days = of_terms({"student_training": per_token * tokens}, cluster).total.days
        shares.append(share)
        errors.append(24 * days / (seconds / 3600))
        print(
            f"{name:<30} {devices:>7.0f} {seconds / 3600:>15.1f} {24 * days:>10.1f} {share:>20.1%}"
        )
    print(
        f"median utilisation {statistics.median(shares):.1%} (from {min(shares):.1%} to "
        f"{max(shares):.1%}); hours predicted at {given.utilisation:.0%} over measured: median "
        f"{statistics.median(errors):.2f}"
    )


if __name__ == "__main__":
    main()
