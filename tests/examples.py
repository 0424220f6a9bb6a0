"""How many random examples a property test tries, and from which seed.

Plain `pytest` tries the same examples on every machine and every day. `PLANNER_EXAMPLES=10 pytest
-m hypothesis --hypothesis-seed=N` tries ten times as many, drawn from seed N; .ci/run does it with
a seed of its own for each commit.
"""

from __future__ import annotations

import os

from hypothesis import settings

EXAMPLES = int(os.environ.get("PLANNER_EXAMPLES", "1"))
"""By how much the number of examples is multiplied; 1 takes the fixed ones."""


def examples(count: int) -> settings:
    """The decorator of a property test that tries `count` examples (10 of them for 10 x `count`
    with PLANNER_EXAMPLES=10)."""
    return settings(max_examples=count * EXAMPLES)
