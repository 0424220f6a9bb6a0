"""A Slurm script that runs our trainer's legs under torchrun, on whole nodes."""

from __future__ import annotations

from math import ceil

from planner.export import ours
from planner.export.job import Exporter, Job

PER_NODE = 8
"""Devices of a usual node."""


def _make(job: Job) -> dict[str, str]:
    devices = job.settings.devices
    per_node = min(devices, PER_NODE)
    nodes = ceil(devices / PER_NODE)
    header = [
        "#SBATCH --job-name=distil",
        f"#SBATCH --nodes={nodes}",
        "#SBATCH --ntasks-per-node=1",
        f"#SBATCH --gpus-per-node={per_node}",
        "#SBATCH --time=TIME",
        "#SBATCH --output=%x-%j.log",
    ]
    launch = (
        'HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)\n'
        "launch() {\n"
        f"  srun torchrun --nnodes={nodes} --nproc-per-node={per_node} --rdzv-backend=c10d \\\n"
        '    --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$HEAD:29500" \\\n'
        '    --no-python "$@"\n'
        "}\n"
    )
    commands = ours.EXPORTER.make(job)["train.sh"].replace(
        "\nplanner train", "\nlaunch planner train"
    )
    first, _, rest = commands.partition("\n")
    return {"train.sbatch": "\n".join(header) + f"\n{first}\n{launch}{rest}"}


class _Slurm(Exporter):
    def files(self, job: Job) -> dict[str, str]:
        """The shebang stands before the comments, as sbatch wants it."""
        return {name: "#!/bin/bash\n" + text for name, text in super().files(job).items()}


EXPORTER = _Slurm(
    "slurm",
    "Slurm 24.11, sbatch; torchrun of PyTorch 2",
    _make,
    ("the wall-clock limit (TIME), partition and account, which are your cluster's.",),
    carries=ours.EXPORTER.carries,
)
