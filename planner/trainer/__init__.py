"""The reference trainer: teachers, supervised baselines and distilled students (extra `trainer`).

Modules, in the order in which a run meets them: `spec` (what is asked), `corpora` and `data` (text
to token shards), `model`, `optim`, `teachers`, `logits` (stored teacher distributions), `loss`,
`engine` (devices), `checks`, `train` (the loop), `checkpoint`, `record`, `measure`; `hardware` and
`capacity_gap` stand alone. Importing the package itself does not import PyTorch.
"""

from planner.trainer.environment import calm_openmp

calm_openmp()
