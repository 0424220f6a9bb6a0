"""Fit scaling laws to measured runs, with uncertainty and judgement.

runs = read_runs("runs.csv", distillation=True)
task = Task(FORMS["distillation"], runs.rows, supervised_law=load().supervised)
point = fit(task, "paper")
draws = bootstrap(point, 4096, seed=0)
write(Path("my.toml"), point, draws, unidentified(point, draws), Provenance(data=runs))

Modules, each of which imports from those above it only:

    rows        measured runs as arrays; columns that look wrong
    runs        reading and checking files of runs
    model       coordinates; predicted log losses of many coefficient vectors, with slopes
    task        what to fit: the form of the law, the runs, what is held or bounded
    solver      objectives; robust nonlinear least squares in boxes, many at once
    prior       what is known of the coordinates before any run
    starts      where a fit begins
    determine   refuses what the runs say nothing of
    estimate    the point fit
    bootstrap   resampled fits
    identify    which coefficients the runs determine, and which combinations otherwise
    judge       held-out errors, extrapolation, outliers, misfit
    report      all of it as a typed document, and its tables for people
    analysis    from a fit to its report, with the warnings
    write       the coefficient file
    prediction  losses of new runs under a coefficient set, with intervals
"""

from __future__ import annotations

from planner.fit.bootstrap import Bootstrap as Bootstrap
from planner.fit.bootstrap import bootstrap as bootstrap
from planner.fit.estimate import Fit as Fit
from planner.fit.estimate import fit as fit
from planner.fit.identify import Unidentified as Unidentified
from planner.fit.identify import unidentified as unidentified
from planner.fit.rows import Rows as Rows
from planner.fit.runs import Runs as Runs
from planner.fit.runs import read_runs as read_runs
from planner.fit.solver import PROTOCOLS as PROTOCOLS
from planner.fit.solver import Protocol as Protocol
from planner.fit.task import FORMS as FORMS
from planner.fit.task import Form as Form
from planner.fit.task import Task as Task
from planner.fit.write import Provenance as Provenance
from planner.fit.write import write as write
