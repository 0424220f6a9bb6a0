"""Searches random boxed robust fits for points that the solver calls optimal and are not.

    python scripts/search_solver.py --seeds 0:4000

The property tests of tests/fit/test_solver.py run from fixed seeds; this is the wide search. Every
problem is convex, so a point is optimal exactly where no derivative points into the box.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from planner.fit.solver import minimise
from tests.fit.test_solver import problem

DELTAS = (1e-3, 0.1, 1e6)
WORST_SLOPE = 1e-7  # in units of the largest slope that residuals of size delta could make


def main() -> int:
    """Number of wrong or unfinished fits as the exit status (at most 1)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="0:1000", help="first:last")
    first, last = map(int, parser.parse_args().seeds.split(":"))
    wrong = unfinished = fits = 0
    for seed in range(first, last):
        model, observed, start = problem(seed, size := 2 + seed % 6)
        for delta in DELTAS:
            found = minimise(model, observed, start, delta=delta)
            residual = found.theta @ model.matrix.T - observed
            slope = np.clip(residual, -delta, delta) @ model.matrix
            inward = np.maximum(
                np.where(found.theta > model.lower, slope, 0.0),
                np.where(found.theta < model.upper, -slope, 0.0),
            ).max(axis=1)
            scale = min(delta, float(np.abs(residual).max())) * np.abs(model.matrix).sum()
            bad = found.converged & (inward > WORST_SLOPE * max(scale, 1e-9))
            fits += found.converged.size
            wrong += int(bad.sum())
            unfinished += int((~found.converged).sum())
            if bad.any() or not found.converged.all():
                print(f"seed {seed}, size {size}, delta {delta:g}: slopes {inward}, "
                      f"converged {found.converged}")  # fmt: skip
    print(f"{fits} fits: {wrong} called optimal and are not, {unfinished} did not converge")
    return int(wrong + unfinished > 0)


if __name__ == "__main__":
    raise SystemExit(main())
