"""The reference trainer: teachers, supervised baselines and distilled students (extra `trainer`).

Modules, in the order in which a run meets them: `spec` (what is asked), `corpora` and `data` (text
to token shards), `model`, `optim`, `teachers` and `server` (one behind a server), `logits` (stored
teacher distributions), `loss`, `engine` (devices and time), `memory`, `checks` (what is refused),
`train` (the loop), `checkpoint`, `record`, `measure`, `export` (the model for `transformers`).
`files` reads and writes whole files for all of them; `hardware` and `benchmark` stand alone.
Importing the package itself does not import PyTorch.
"""

import os
import sys

# Idle OpenMP threads sleep instead of spinning; what the user set is kept. A spinning team loses
# most of its speed as soon as another process wants one of the cores: a 2-thread matrix product
# beside one busy neighbour runs several times faster with these settings, and at about the same
# speed on a quiet machine. They are read once, when PyTorch loads.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
