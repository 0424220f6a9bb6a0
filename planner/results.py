"""The parts that answers are made of, as frozen values: recipes, proofs, intervals, warnings.

Documents hold their fields and `derived` properties; sheets only arrange them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from coefficients import CoefficientSet
from laws import Architecture
from planner.documents import OpenFloat, OrInfinite, Record, Unwritten, derived

Law = Annotated[CoefficientSet, Unwritten()]
"""The coefficient set that an answer was found under: kept for its picture, not written."""


@dataclass(frozen=True)
class Model(Record):
    """A model that a plan trains: a student, a planned teacher or a supervised model.

    parameters: non-embedding. tokens: trained on, or distilled on (student). architecture: the
    nearest buildable shape.
    """

    parameters: float
    tokens: float
    cross_entropy: float
    architecture: Architecture | None = None
    existing: Literal[False] = False
    name: str = ""

    @derived
    def tokens_per_parameter(self) -> float:
        """D / N."""
        return self.tokens / self.parameters


@dataclass(frozen=True)
class ExistingTeacher(Record):
    """A teacher that no plan trains. Its size and tokens are None where they are not known.

    forward_flops: per token where its own architecture says them; F(N) otherwise.
    """

    parameters: float | None
    tokens: float | None
    cross_entropy: float
    architecture: Architecture | None = None
    existing: Literal[True] = True
    name: str = ""
    forward_flops: float | None = None

    @derived
    def tokens_per_parameter(self) -> float | None:
        """D / N where both are known."""
        if self.parameters is None or self.tokens is None:
            return None
        return self.tokens / self.parameters


AnyModel: TypeAlias = Model | ExistingTeacher


@dataclass(frozen=True)
class Flops(Record):
    """What the budget pays, FLOPs by term (Eq. 9), and what the teacher costs beyond that.

    `uncharged` is the rest of the teacher's cost that this scenario leaves to somebody else; it is
    not part of the total. None where the teacher's size is unknown.
    """

    student_training: float
    teacher_inference: float = 0.0
    teacher_pretraining: float = 0.0
    serving: float = 0.0
    uncharged: float | None = 0.0

    TERMS = ("student_training", "teacher_inference", "teacher_pretraining", "serving")

    @derived
    def total(self) -> float:
        """FLOPs charged to the budget."""
        return float(sum(getattr(self, term) for term in self.TERMS))

    @derived
    def shares(self) -> dict[str, float]:
        """Each term over the total."""
        return {term: getattr(self, term) / self.total for term in self.TERMS}


@dataclass(frozen=True)
class Recipe:
    """Train this teacher, distil this student.

    notes: what the user should know about the choice itself (ties, sunk costs, unspent budget).
    binding: bounds the optimum rests on, such as "max-teacher-tokens".
    """

    student: Model
    teacher: AnyModel
    flops: Flops
    notes: tuple[str, ...] = ()
    binding: tuple[str, ...] = ()


@dataclass(frozen=True)
class Certificate(Record):
    """Proof of optimality: no feasible plan reaches less than `lower_bound` nats.

    The bound includes a margin for rounding in floating point; `gap` is the recipe's cross-entropy
    minus the bound; `boxes` counts the boxes of the branch and bound that proves it.
    """

    lower_bound: Annotated[float, OrInfinite(-math.inf)]
    gap: Annotated[float, OrInfinite(math.inf)]
    tolerance: float
    boxes: int = 0

    @derived
    def proven(self) -> bool:
        """Whether the gap is within the tolerance asked for."""
        return self.gap <= self.tolerance


@dataclass(frozen=True)
class Baseline:
    """The supervised model at the same budget: same size (or the best size where it is free)."""

    model: Model
    flops: Flops
    binding: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScenarioResult(Record):
    """One scenario's optimum. `recipe` is None where the scenario has no feasible plan.

    chosen: the scenario that was asked for. difference: the student's cross-entropy minus the
    supervised one; negative where distilling is better.
    """

    name: str
    chosen: bool
    charge_inference: float
    charge_pretraining: float
    recipe: Recipe | None = None
    certificate: Certificate | None = None
    difference: float | None = None
    outside_domain: bool = False

    @derived
    def feasible(self) -> bool:
        """Whether the scenario has a plan."""
        return self.recipe is not None

    @derived
    def cross_entropy(self) -> float | None:
        """The student's cross-entropy; None where no plan is feasible."""
        return None if self.recipe is None else self.recipe.student.cross_entropy


Method: TypeAlias = Literal["distil", "supervised", "undecided"]

Reason: TypeAlias = Literal[
    "within-error", "outside-domain", "coefficients-disagree", "held-by-a-cap"
]
"""within-error: the methods differ by less than the law's own error, or than the draws tell apart.
outside-domain: the optimum, or the supervised model it is compared with, was not measured.
coefficients-disagree: the second coefficient set prefers the other method.
held-by-a-cap: a default bound on sizes or tokens holds the optimum or the supervised model."""


@dataclass(frozen=True)
class Verdict:
    """What to do, and what stands against it.

    headline: a few words that hold every qualification of the method. text: a few sentences.
    reasons: what keeps the optimum from deciding; a method that stands beside reasons was decided
    by the plans inside the measured range (`Plan.in_domain`).
    """

    method: Method
    headline: str
    text: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """The recipe to take. teacher: None for supervised training."""

    method: Literal["distil", "supervised"]
    student: Model
    teacher: AnyModel | None
    flops: Flops


Scope: TypeAlias = Literal["recipe", "baseline", "coefficients"]
"""What a warning is about: one recipe, or what all scenarios share."""


@dataclass(frozen=True)
class Warning:  # noqa: A001 - the word users know; nothing here raises Python's
    """Something to know before acting on the plan; `planner.verdict` makes all of them.

    code: for machines. text: for people. quantity, value, range: what left which range. scope: what
    it is about. alarm: whether the recipe's predicted numbers cannot be relied on.
    """

    code: str
    text: str
    quantity: str = ""
    value: float | None = None
    range: (
        tuple[
            Annotated[float, OrInfinite(-math.inf)],
            Annotated[float, OrInfinite(math.inf)],
        ]
        | None
    ) = None
    scope: Scope = "recipe"
    alarm: bool = False


@dataclass(frozen=True)
class Interval:
    """A central interval over the draws of a coefficient set, with the median."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Uncertainty:
    """What the spread of the fitted coefficients does to a plan, from paired draws.

    cross_entropy, supervised, difference: of this recipe and of the baseline, over the draws. These
    are intervals of the law's values; `new_run` is the interval for the loss of one run of this
    recipe, with the scatter of the fitted runs (None for a set that does not state it), `coverage`
    the share of held-out runs that lay in such intervals, `coverage_sizes` with sizes left out.
    misfit: half width of the 90% interval of log(truth / law) at this recipe, which the fit learned
    by extrapolating and which the intervals of this recipe hold: 0 inside its runs, None for a set
    that does not state it.
    probability: share of draws under which distilling by this recipe beats supervised training.
    reoptimised: each draw's own optimum, by quantity (student_tokens, teacher_parameters, ...).
    fixed: parts of the law that the draws do not vary, so that the intervals leave them out.
    """

    source: str
    draws: int
    level: float
    cross_entropy: Interval
    supervised: Interval
    difference: Interval
    probability: float
    reoptimised: Mapping[str, Interval]
    fixed: tuple[str, ...] = ()
    new_run: Interval | None = None
    misfit: float | None = None
    coverage: float | None = None
    coverage_sizes: float | None = None


@dataclass(frozen=True)
class SecondOpinion:
    """Another coefficient set's view of the same recipe, and its own optimum for the problem.

    `disagrees`: the sets' predictions differ by more than their intervals.
    """

    source: str
    cross_entropy: float
    supervised: float
    disagrees: bool
    interval: Interval | None = None
    optimum: Recipe | None = None
    regret: float | None = None


@dataclass(frozen=True)
class InDomain:
    """The best plan inside the measured range; `recipe` None with the reason if there is none.

    supervised: the best supervised model of the same budget within the sizes and tokens at which
    the supervised law was measured. second_opinion: the second set's view of these two.
    """

    recipe: Recipe | None = None
    certificate: Certificate | None = None
    reason: str = ""
    supervised: Baseline | None = None
    second_opinion: SecondOpinion | None = None


@dataclass(frozen=True)
class View(Record):
    """One way to judge recipes: a coefficient set's point estimate, or a criterion over its draws.

    loss: nats per token of each recipe of the risk table; best: of the view's own best plan.
    """

    name: str
    loss: tuple[float, ...]
    best: OpenFloat

    @derived
    def regret(self) -> tuple[OpenFloat, ...]:
        """What each recipe loses against the best plan under this view, nats."""
        return tuple(loss - self.best for loss in self.loss)


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe of the risk table."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Robust:
    """The recipe with the best expected (or worst) loss over the draws.

    value: its criterion, nats. lower_bound: no recipe can have a smaller criterion, since each
    draw's own optimum is at least as good as any fixed recipe. recipes, views: the risk table.
    """

    criterion: str
    recipe: Recipe
    value: float
    lower_bound: float
    recipes: tuple[NamedRecipe, ...]
    views: tuple[View, ...]


WITH_OTHERS = "with the others"
ALONE = "alone, by 1%"


@dataclass(frozen=True)
class Pull(Record):
    """How one coefficient moves the plan: both ends of its way from low to high.

    how: "with the others", through its 90% interval, the other coefficients going along as they do
    in the draws (the plan's mean given the coefficient); or "alone, by 1%", for coefficients
    that no draws vary. recipe_share, loss_share: of the variance over the draws, the share that
    goes with this coefficient; correlated coefficients share theirs, so the shares may sum to more
    than 1. None for a coefficient moved alone.
    """

    coefficient: str
    low: float
    high: float
    cross_entropy: tuple[float, float]
    student_tokens: tuple[float, float]
    teacher_parameters: tuple[float, float]
    teacher_tokens: tuple[float, float]
    how: str = ALONE
    recipe_share: float | None = None
    loss_share: float | None = None

    @derived
    def recipe_change(self) -> float:
        """Largest factor by which any variable of the recipe moves, as a logarithm."""
        from math import log

        pairs = (self.student_tokens, self.teacher_parameters, self.teacher_tokens)
        return max((abs(log(high / low)) for low, high in pairs if low > 0 and high > 0), default=0)


@dataclass(frozen=True)
class Coefficients:
    """Which set answered: its name, what it counts, where it comes from."""

    name: str
    source: str
    flop_convention: str
    parameter_convention: str = "non-embedding parameters"

    @classmethod
    def of(cls, used: CoefficientSet) -> Coefficients:
        """The provenance of a set."""
        parts = [part for part in (used.source.citation, used.source.location) if part]
        return cls(used.name, ", ".join(parts), used.flops.convention)


@dataclass(frozen=True)
class Considered:
    """An existing teacher that was considered, and the student's cross-entropy under it."""

    teacher: str
    cross_entropy: float
