"""The science: scaling laws and FLOP counts. Pure numpy, no files, no printing.

`SUPERVISED_LAWS` and `DISTILLATION_LAWS` name every law a coefficient file can ask for by its
`form`; a new one is one class and one line here.
"""

from __future__ import annotations

from laws.architecture import Architecture as Architecture
from laws.architecture import Family as Family
from laws.cost import Cost as Cost
from laws.cost import affordable_size as affordable_size
from laws.distillation import DistillationForm as DistillationForm
from laws.distillation import DistillationLaw as DistillationLaw
from laws.flops import ForwardFlops as ForwardFlops
from laws.supervised import HoffmannLaw as HoffmannLaw
from laws.supervised import KaplanLaw as KaplanLaw
from laws.supervised import SupervisedForm as SupervisedForm
from laws.supervised import SupervisedLaw as SupervisedLaw

SUPERVISED_LAWS: dict[str, type[SupervisedForm]] = {
    "busbridge": SupervisedLaw,
    "hoffmann": HoffmannLaw,
    "kaplan": KaplanLaw,
}

DISTILLATION_LAWS: dict[str, type[DistillationForm]] = {"busbridge": DistillationLaw}
