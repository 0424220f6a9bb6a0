"""Plans of every shape for hypothesis: odd names, unknown sizes, infinities, missing parts."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
from hypothesis import strategies as st

from laws import Architecture
from planner.problem import BOUNDS, Bounds, Problem, Teacher
from planner.questions.plan.answer import Plan
from planner.results import (
    Baseline,
    Certificate,
    Coefficients,
    Considered,
    ExistingTeacher,
    Flops,
    InDomain,
    Method,
    Model,
    Reason,
    Recipe,
    ScenarioResult,
    Verdict,
)
from planner.results import Warning as PlanWarning
from planner.scenarios import SCENARIOS

counts = st.floats(1e6, 1e17)
losses = st.floats(0.5, 10.0)
shares = st.sampled_from([0.0, 0.125, 0.5, 1.0])
texts = st.text(max_size=40)
names = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=20)


def floats_of_numpy(values: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """Python's and numpy's floats alike: solvers hand on either."""
    return st.one_of(values, values.map(np.float64))


architectures = st.builds(
    Architecture,
    *(st.integers(1, 10**5) for _ in range(5)),
    parameters=st.integers(1, 10**15),
)
students = st.builds(
    Model,
    floats_of_numpy(counts),
    floats_of_numpy(counts),
    floats_of_numpy(losses),
    st.none() | architectures,
)
teachers = students | st.builds(
    ExistingTeacher,
    st.none() | counts,
    st.none() | counts,
    losses,
    st.none() | architectures,
    name=texts,
)
costs = st.floats(0.0, 1e30)
flops = st.builds(
    Flops, st.floats(1.0, 1e30), costs, costs, costs, uncharged=st.none() | floats_of_numpy(costs)
)
recipes = st.builds(
    Recipe,
    students,
    teachers,
    flops,
    st.lists(texts, max_size=2).map(tuple),
    st.lists(st.sampled_from(["max-teacher-tokens", "min-student-size"]), max_size=2).map(tuple),
)
certificates = st.builds(
    Certificate,
    lower_bound=st.one_of(losses, st.just(-math.inf)),
    gap=st.one_of(st.floats(0, 1), st.just(math.inf)),
    tolerance=st.floats(1e-9, 1.0),
    boxes=st.integers(0, 10**7),
)
baselines = st.builds(Baseline, students, flops, st.just(()))


@st.composite
def scenarios(draw: st.DrawFn) -> ScenarioResult:
    """A scenario with a plan or without one."""
    scenario = draw(st.sampled_from(list(SCENARIOS.values())))
    chosen = draw(st.booleans())
    if not draw(st.booleans()):
        return ScenarioResult(scenario.name, chosen, *scenario.charges)
    difference = draw(st.floats(-2, 2))
    return ScenarioResult(
        scenario.name,
        chosen,
        *scenario.charges,
        draw(recipes),
        draw(certificates),
        difference,
        draw(st.booleans()),
    )


warnings = st.builds(
    PlanWarning,
    st.sampled_from(["outside-domain", "teacher-below-floor", "unknown-domain"]),
    texts,
    st.sampled_from(["", "student_tokens", "teacher_cross_entropy", "teacher_to_supervised"]),
    st.none() | counts,
    st.none() | st.tuples(st.floats(1, 100), st.one_of(st.floats(100, 1e12), st.just(math.inf))),
)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Valid problems, with and without existing teachers."""
    bounds = draw(st.sampled_from([*BOUNDS.values(), Bounds(student_size=(1e8, 3e11))]))
    known = st.builds(Teacher, size=counts, tokens=counts, name=names) | st.builds(
        Teacher, size=counts, loss=losses, name=names
    )
    return Problem(
        budget=draw(st.floats(1e15, 1e30)),
        student=draw(st.none() | st.floats(1e8, 3e11)),
        charge_inference=draw(shares),
        charge_pretraining=draw(shares),
        teachers=tuple(draw(st.lists(known, max_size=2))),
        bounds=bounds,
        serving_tokens=draw(st.sampled_from([0.0, 1e12])),
        tolerance=draw(st.floats(1e-9, 1.0)),
        stay_in_domain=draw(st.booleans()),
        round_to_architecture=draw(st.booleans()),
    )


plans = st.builds(
    Plan,
    problem=problems(),
    recipe=recipes,
    certificate=certificates,
    supervised=baselines,
    scenarios=st.lists(scenarios(), max_size=3).map(tuple),
    verdict=st.builds(
        Verdict,
        st.sampled_from(get_args(Method)),
        texts.filter(bool),
        texts,
        st.lists(st.sampled_from(get_args(Reason)), max_size=2, unique=True).map(tuple),
    ),
    warnings=st.lists(warnings, max_size=3).map(tuple),
    coefficients=st.builds(Coefficients, texts, texts, texts, texts.filter(bool)),
    in_domain=st.none() | st.builds(InDomain, st.none() | recipes, st.none() | certificates, texts),
    considered=st.lists(st.builds(Considered, texts, losses), max_size=3).map(tuple),
)
