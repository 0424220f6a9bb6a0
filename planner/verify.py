"""A plan's document recomputed from the laws: losses, FLOPs, limits, domain and optimality.

Nothing of the solver is used: losses come from Eq. 1 and 8, FLOPs from Eq. 9, and the bound behind
every certificate from another method (`planner.verify_bound`). Only numbers and flags are compared,
never sentences. `NOT_CHECKED` lists what a document holds beyond that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from coefficients import CoefficientSet, load
from laws import Cost
from planner.constraints import values
from planner.errors import NoDistillationLawError
from planner.posynomial import Posynomial
from planner.problem import Problem, Range, Teacher
from planner.verify_bound import second_bound

Part = Mapping[str, Any]

CLOSE = 1e-9
"""Relative agreement asked of recomputed numbers."""

SECOND_TOLERANCE = 1e-4
"""Nats that the second proof may leave open; the plan's own certificate is tighter."""

LOOSEST = 1e-3
"""Nats by which another plan may beat the recipe, however large a tolerance was asked for."""

NOT_CHECKED = (
    "texts (verdict, warnings, notes)",
    "warnings about the fit",
    "active bounds",
    "intervals and probabilities over draws",
    "the second opinion's optimality",
    "the risk table",
    "sensitivities",
    "losses under teachers that were not chosen",
    "further analyses",
)
"""What the tests of the planner check, and nothing here does."""

SHOWN = 3


@dataclass(frozen=True)
class Check:
    """One part of the document: whether it holds, and how in words."""

    name: str
    passed: bool
    detail: str


@dataclass
class _Comparison:
    """Comparisons of one part of the document; `check` sums them up."""

    name: str
    compared: int = 0
    faults: list[str] = field(default_factory=list)

    def near(self, what: str, ours: float | None, stated: Any, room: float = 0.0) -> None:
        """Numbers agree to CLOSE of the larger, or to `room`; inf and NaN agree with None."""
        ours = None if ours is None or not math.isfinite(ours) else ours
        if ours is None or stated is None:
            agree = ours is None and stated is None
        else:
            agree = abs(ours - stated) <= max(CLOSE * max(abs(ours), abs(stated)), room)
        self.holds(f"{what} is {_show(stated)} in the document, {_show(ours)} here", agree)

    def same(self, what: str, ours: Any, stated: Any) -> None:
        """Names, flags and nested values agree exactly."""
        agree = ours == stated and isinstance(ours, bool) == isinstance(stated, bool)
        self.holds(f"{what} is {_show(stated)} in the document, {_show(ours)} here", agree)

    def holds(self, fault: str, true: bool) -> None:
        """Count a comparison; `fault` says what is wrong if it is not true."""
        self.compared += 1
        if not true:
            self.faults.append(fault)

    def check(self, detail: str = "") -> Check:
        """The result: `detail` where everything agrees, else the first faults."""
        if not self.faults:
            return Check(self.name, True, detail or f"{self.compared} values agree")
        more = [f"{len(self.faults) - SHOWN} more"] if len(self.faults) > SHOWN else []
        return Check(self.name, False, "; ".join([*self.faults[:SHOWN], *more]))


def verify(document: Part, coefficients: CoefficientSet | None = None) -> tuple[Check, ...]:
    """Every check of a plan's document (as `Plan.read_document` returns it).

    `coefficients` overrides the set that the document's problem names. Raises
    NoDistillationLawError for a supervised-only set.
    """
    problem = Problem.from_mapping(document["problem"])
    chosen = problem.coefficient_set(coefficients)
    if chosen.distillation is None:
        raise NoDistillationLawError(
            f"the coefficient set '{chosen.name}' is supervised only, and the plan cannot be "
            "recomputed with it; give the set that it was made with."
        )
    return tuple(_checks(document, problem, chosen))


def _checks(document: Part, problem: Problem, coefficients: CoefficientSet) -> Iterator[Check]:
    yield _source(document, problem, coefficients)
    recipe = document["recipe"]
    yield _recipe("recipe", recipe, problem, coefficients)
    yield from _proof("certificate", recipe, document["certificate"], problem, coefficients)
    yield _supervised("supervised baseline", document["supervised"], problem, coefficients)
    yield _comparison_of_methods(document)
    yield _recommendation(document)
    yield _domain(document, coefficients)
    yield _every_scenario(document["scenarios"], problem)
    problem = replace(problem, round_to_architecture=False)  # the recipe alone is buildable
    for each in document["scenarios"]:
        yield from _scenario(each, document, problem, coefficients)
    if document["in_domain"] is not None:
        yield from _in_domain(document["in_domain"], problem, coefficients)
    pair = document["recipe"], document["supervised"]
    opinion = document["second_opinion"]
    yield _second_opinion("second opinion", opinion, *pair, coefficients)
    if opinion is not None and opinion["optimum"] is not None:
        other = _other(coefficients)
        if other is not None:
            yield _recipe("second opinion", opinion["optimum"], problem, other)
    if document["robust"] is not None:
        found = document["robust"]["recipe"]
        drawn = coefficients if coefficients.draws_path else _other(coefficients) or coefficients
        yield _recipe("robust recipe", found, problem, drawn)


def _source(document: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """Which laws the document was made with."""
    found, stated = _Comparison("scenario and coefficients"), document["coefficients"]
    found.same("the scenario", problem.scenario, document["scenario"])
    found.same("the coefficient set", coefficients.name, stated["name"])
    found.same("the FLOP convention", coefficients.flops.convention, stated["flop_convention"])
    return found.check()


def _recipe(name: str, recipe: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """Losses, FLOPs and limits of one recipe."""
    found = _Comparison(f"{name}: losses, FLOPs, limits")
    student, teacher = recipe["student"], recipe["teacher"]
    existing = _existing(found, teacher, problem)
    if existing is None and (
        problem.teachers or None in (teacher["parameters"], teacher["tokens"])
    ):
        found.holds("the teacher is none of the question's, or has no size or tokens", False)
        return found.check()
    if problem.student is not None:
        found.near("the student's size", problem.student, student["parameters"])
    for role, model in (("student", student), ("teacher", teacher)):
        _shape(found, role, model, coefficients)
        shape = model["architecture"]
        if problem.round_to_architecture and shape and not model.get("existing"):
            found.near(f"the {role}'s size", float(shape["parameters"]), model["parameters"])
    loss = existing.loss if existing else None
    if loss is None:
        loss = float(coefficients.supervised.loss(teacher["parameters"], teacher["tokens"]))
    found.near("the teacher's cross-entropy", loss, teacher["cross_entropy"])
    law = coefficients.distillation
    assert law is not None
    value = float(law.loss(student["parameters"], student["tokens"], teacher["cross_entropy"]))
    found.near("the student's cross-entropy (Eq. 8)", value, student["cross_entropy"])
    _costs(found, recipe, problem, coefficients)
    _limits(found, recipe, problem, coefficients)
    return found.check()


def _existing(found: _Comparison, teacher: Part, problem: Problem) -> Teacher | None:
    """The problem's teacher that a recipe names, None where one is to be trained."""
    found.same("whether the teacher exists", bool(problem.teachers), teacher["existing"])
    if not problem.teachers:
        found.same("the teacher's name", "", teacher["name"])
        return None
    stated = (teacher["name"], teacher["parameters"], teacher["tokens"])
    for each in problem.teachers:
        known = each.loss in (None, teacher["cross_entropy"])
        if known and (each.name, each.size, each.tokens) == stated:
            return each
    return None


def _shape(found: _Comparison, role: str, model: Part, coefficients: CoefficientSet) -> None:
    size, tokens = model["parameters"], model["tokens"]
    ratio = tokens / size if size and tokens else None
    found.near(f"the {role}'s tokens per parameter", ratio, model["tokens_per_parameter"])
    shape = None if size is None else asdict(coefficients.architectures.nearest(size))
    found.same(f"the {role}'s architecture", shape, model["architecture"])


def _costs(
    found: _Comparison, recipe: Part, problem: Problem, coefficients: CoefficientSet
) -> None:
    """Eq. 9, term by term; the training of an existing teacher is nobody's."""
    student, teacher = recipe["student"], recipe["teacher"]
    cost = Cost.of(
        coefficients.flops, student["parameters"], teacher["parameters"], *problem.own_charges,
        problem.serving_tokens,
    )  # fmt: skip
    if problem.teachers and teacher.get("forward_flops") is not None:  # its own architecture's
        cost = replace(cost, teacher=teacher["forward_flops"])
    trained = 0.0 if problem.teachers else teacher["tokens"]
    known = teacher["parameters"] is not None
    _flops(found, cost, student["tokens"], trained, recipe["flops"], known=known)
    total = float(cost.total(student["tokens"], trained))
    found.holds(
        f"{total:.6e} FLOPs are more than the budget of {problem.budget:.6e}",
        total <= problem.budget * (1 + CLOSE),
    )


def _flops(
    found: _Comparison, cost: Cost, tokens: float, teacher_tokens: float, stated: Part,
    *, known: bool = True,
) -> None:  # fmt: skip
    """known: whether the teacher's size is, without which nobody can say what is not charged."""
    charged = asdict(cost.terms(tokens, teacher_tokens))
    total = sum(charged.values())
    for term, flops in charged.items():
        found.near(f"{term.replace('_', ' ')} FLOPs", flops, stated[term])
        found.near(f"the share of {term.replace('_', ' ')}", flops / total, stated["shares"][term])
    found.near("the total FLOPs", total, stated["total"])
    uncharged = float(cost.uncharged(tokens, teacher_tokens)) if known else None
    found.near("uncharged FLOPs", uncharged, stated["uncharged"])


def _limits(
    found: _Comparison, recipe: Part, problem: Problem, coefficients: CoefficientSet
) -> None:
    """The question's bounds, and the domain of validity where the plan was to stay inside."""
    student, teacher, bounds = recipe["student"], recipe["teacher"], problem.bounds
    limits: list[tuple[str, float, Range]] = [
        ("the student's size", student["parameters"], bounds.student_size),
        ("the student's tokens", student["tokens"], bounds.student_tokens),
    ]
    if not problem.teachers:
        limits.append(("the teacher's size", teacher["parameters"], bounds.teacher_size))
        limits.append(("the teacher's tokens", teacher["tokens"], bounds.teacher_tokens))
    for what, value, (low, high) in limits:
        found.holds(f"{what} ({value:.6g}) is outside {low:.6g} to {high:.6g}",
                    low * (1 - CLOSE) <= value <= high * (1 + CLOSE))  # fmt: skip
    _constrained(found, student, teacher, problem, coefficients)
    if problem.stay_in_domain:
        for quantity in _outside(recipe, coefficients):
            found.holds(f"{quantity} is outside the domain that the plan was to stay in", False)


def _constrained(
    found: _Comparison, student: Part, teacher: Part, problem: Problem, coefficients: CoefficientSet
) -> None:
    """The question's constraints that mention nothing unknown; an empty teacher: the student's."""
    known = values(
        coefficients, student["parameters"], student["tokens"],
        teacher.get("parameters"), teacher.get("tokens"), teacher.get("forward_flops"),
    )  # fmt: skip
    for text in problem.constraints:
        limit = Posynomial.parse(text)
        if limit.variables <= set(known):
            left = limit.value(known) / limit.limit
            found.holds(f"'{text}' is missed by the factor {left:.10g}", left <= 1 + CLOSE)


def _outside(recipe: Part, coefficients: CoefficientSet) -> dict[str, tuple[float, Range]]:
    """Quantities outside the domain of validity, with their values and measured ranges."""
    student, teacher, domain = recipe["student"], recipe["teacher"], coefficients.domain
    quantities = coefficients.quantities(
        student["parameters"], student["tokens"],
        teacher["cross_entropy"], teacher["parameters"], teacher["tokens"],
    )  # fmt: skip
    return {
        name: (float(value), measured)
        for name, value in quantities.items()
        if value is not None
        and domain.outside({name: value})[name]
        and (measured := domain.of(name)) is not None
    }


def _proof(
    name: str, recipe: Part, certificate: Part, problem: Problem, coefficients: CoefficientSet
) -> Iterator[Check]:
    """The certificate's arithmetic, and the second bound."""
    found = _Comparison(f"{name}: its numbers")
    loss, lower = recipe["student"]["cross_entropy"], certificate["lower_bound"]
    gap, tolerance = certificate["gap"], certificate["tolerance"]
    if lower is None or gap is None:
        found.holds("there is no lower bound", False)
        yield found.check()
        return
    found.same("the tolerance", problem.tolerance, tolerance)
    found.near("the gap", loss - lower, gap, room=1e-15)
    found.same("whether it is proven", gap <= tolerance, certificate["proven"])
    found.holds(
        f"the gap of {loss - lower:.1e} is above {tolerance:.1e}",
        gap <= tolerance or bool(problem.constraints),  # a gap left open there is stated
    )
    yield found.check(f"within {gap:.1e} nats of the bound, asked for {tolerance:.1e}")
    built = problem.round_to_architecture
    second = second_bound(problem, coefficients, loss, SECOND_TOLERANCE, built)
    found = _Comparison(f"{name}: independent bound")
    found.holds(
        f"a plan of {second.best:.7f} nats is below the certified bound of {lower:.7f}",
        lower <= second.best + CLOSE,
    )
    found.holds(
        f"no plan gets below {second.lower:.7f}, the recipe claims {loss:.7f}",
        second.lower <= loss + CLOSE,
    )
    room = 1.01 * max(min(tolerance, LOOSEST), SECOND_TOLERANCE)
    # under constraints a bound may stay below all plans: what counts is a plan that is better
    met = second.gave_up or problem.constraints
    better = second.best if met else second.lower + SECOND_TOLERANCE
    found.holds(
        f"plans of {better:.5f} nats exist, {loss - better:.1e} under the recipe",
        loss - better <= room,
    )
    yield found.check(
        f"no plan below {second.lower:.5f}, {loss - second.lower:.1e} under the recipe"
    )


def _infeasible(name: str, problem: Problem, coefficients: CoefficientSet) -> Check:
    """That no plan exists where the document has none."""
    built = problem.round_to_architecture
    second = second_bound(problem, coefficients, np.inf, SECOND_TOLERANCE, built)
    found = _Comparison(name)
    if problem.constraints:
        found.holds(f"a plan of {second.best:.6f} nats fits", second.best == np.inf)
        return found.check("no plan met")
    found.holds("a plan fits the budget", second.lower == np.inf)
    return found.check("no plan fits")


def _supervised(name: str, baseline: Part, problem: Problem, coefficients: CoefficientSet) -> Check:
    """The best supervised model of the same budget."""
    found = _Comparison(name)
    law = coefficients.supervised
    sizes_allowed, (fewest, most) = _supervised_ranges(problem, coefficients)
    model = baseline["model"]
    size, tokens, stated = model["parameters"], model["tokens"], model["cross_entropy"]
    _shape(found, "baseline", model, coefficients)
    found.near("its cross-entropy (Eq. 1)", float(law.loss(size, tokens)), stated)
    cost = Cost.of(coefficients.flops, size, serving_tokens=problem.serving_tokens)
    _flops(found, cost, tokens, 0.0, baseline["flops"])

    def affordable(size: Any) -> Any:
        """Tokens, within their upper bound, that the budget pays for."""
        paid = Cost.of(coefficients.flops, size, serving_tokens=problem.serving_tokens)
        return np.minimum(paid.student_tokens(problem.budget), most)

    _constrained(found, model, {}, problem, coefficients)
    if problem.constraints:
        found.holds(
            f"{tokens:.6g} tokens are more than the budget pays for",
            tokens <= float(affordable(size)) * (1 + CLOSE),
        )
        return found.check()
    found.near("the tokens that the budget pays for", float(affordable(size)), tokens)
    for what, value, (least, largest) in (
        ("size", size, sizes_allowed),
        ("tokens", tokens, (fewest, most)),
    ):
        found.holds(f"its {what} ({value:.6g}) is outside {least:.6g} to {largest:.6g}",
                    least * (1 - CLOSE) <= value <= largest * (1 + CLOSE))  # fmt: skip
    if problem.student is not None:
        found.near("its size", problem.student, size)
        return found.check()
    # the loss at the most affordable tokens is smooth in log N: a grid, refined around its best
    low, high = np.log(sizes_allowed)
    for _ in range(6):
        sizes = np.exp(np.linspace(low, high, 401))
        paid = affordable(sizes)
        enough = paid >= fewest
        losses = np.where(enough, law.loss(sizes, np.maximum(paid, 1.0)), np.inf)
        best, step = int(np.argmin(losses)), (high - low) / 400
        low, high = (max(low, np.log(sizes[best]) - step), min(high, np.log(sizes[best]) + step))
    found.near("the least supervised cross-entropy", float(losses[best]), stated, room=1e-9)
    return found.check()


def _supervised_ranges(problem: Problem, coefficients: CoefficientSet) -> tuple[Range, Range]:
    """Sizes and tokens of supervised models: the question's, and where it stays in the domain those
    at which the supervised law was measured."""
    domain = coefficients.domain

    def within(quantity: str, wanted: Range) -> Range:
        measured = (problem.stay_in_domain and domain.of(quantity)) or (0.0, math.inf)
        return max(wanted[0], measured[0]), min(wanted[1], measured[1])

    return (
        within("supervised_parameters", problem.size_range),
        within("supervised_tokens", problem.bounds.student_tokens),
    )


def _no_supervised(name: str, problem: Problem, coefficients: CoefficientSet) -> Check:
    """That not even the smallest supervised model fits, on the fewest tokens."""
    found = _Comparison(name)
    (size, largest), (fewest, most) = _supervised_ranges(problem, coefficients)
    cost = Cost.of(coefficients.flops, size, serving_tokens=problem.serving_tokens)
    fits = size <= largest and fewest <= most and float(cost.total(fewest, 0.0)) <= problem.budget
    found.holds("a supervised model fits", not fits)
    return found.check("no supervised model fits")


def _deciding(document: Part) -> tuple[Part, bool]:
    """The part whose recipe and supervised model decide, and whether both were measured: those
    inside the measured range where the optimum or the supervised model leaves it."""
    inside = document["in_domain"]
    if inside is None:
        return document, True
    if inside["recipe"] is not None and inside["supervised"] is not None:
        return inside, True
    return document, False


def _difference(part: Part) -> float:
    """Distilled minus supervised cross-entropy."""
    found = part["recipe"]["student"]["cross_entropy"]
    return float(found - part["supervised"]["model"]["cross_entropy"])


def _disputed(part: Part) -> bool:
    """Whether the second set prefers the other method: by its own optimum over supervised training,
    by this recipe over distilling."""
    opinion = part["second_opinion"]
    if opinion is None:
        return False
    theirs = float(opinion["cross_entropy"] - opinion["supervised"])
    if _difference(part) < 0:
        return theirs > 0
    return theirs - (opinion["regret"] or 0.0) < 0


def _comparison_of_methods(document: Part) -> Check:
    """That a decided verdict has the smaller loss, by more than the law's error, where measured."""
    found = _Comparison("verdict: the method follows from the losses")
    deciding, measured = _deciding(document)
    alone, difference = deciding["supervised"]["model"]["cross_entropy"], _difference(deciding)
    verdict = document["verdict"]
    method, reasons = verdict["method"], verdict["reasons"]
    decided = method != "undecided"
    found.holds("distilling is advised, and is worse", method != "distil" or difference < 0)
    found.holds(
        "supervised training is advised, and is worse", method != "supervised" or difference > 0
    )
    found.holds("it is undecided without a reason", decided or bool(reasons))
    found.holds(
        "the losses differ by less than the law's error, and a method is advised",
        not decided or abs(difference) >= 0.01 * alone,
    )
    found.holds(
        "a method is advised by plans outside the measured range",
        not decided or (measured and difference * _difference(document) > 0),
    )
    disputed, outside = _disputed(deciding), document["in_domain"] is not None
    found.holds("a method is advised that the second set is against", not (decided and disputed))
    for reason, holds in (("coefficients-disagree", disputed), ("outside-domain", outside)):
        found.same(f"whether '{reason}' is among the reasons", holds, reason in reasons)
    return found.check(f"{method}, {difference:+.4f} nats against supervised training")


def _recommendation(document: Part) -> Check:
    """That the recipe to take is that of the method: where it is undecided, distilling only if it
    is better inside the measured range and the second set agrees."""
    found, stated = _Comparison("recommendation: the method's recipe"), document["recommendation"]
    deciding, measured = _deciding(document)
    method = document["verdict"]["method"]
    if method == "undecided":
        distil = measured and not _disputed(deciding) and _difference(deciding) < 0
        method = "distil" if distil else "supervised"
    found.same("its method", method, stated["method"])
    part = deciding["recipe"] if method == "distil" else deciding["supervised"]
    found.same("its student", part["student" if method == "distil" else "model"], stated["student"])
    found.same("its teacher", part.get("teacher"), stated["teacher"])
    found.same("its FLOPs", part["flops"], stated["flops"])
    return found.check(method)


def _domain(document: Part, coefficients: CoefficientSet) -> Check:
    """Which quantities the document says are outside the domain of validity."""
    found = _Comparison("domain of validity")
    outside = _outside(document["recipe"], coefficients)
    stated = {
        each["quantity"]: each for each in document["warnings"] if each["code"] == "outside-domain"
    }
    for quantity in sorted(outside.keys() | stated.keys()):
        if quantity not in stated:
            found.holds(f"there is no warning that {quantity} is outside", False)
        elif quantity not in outside:
            found.holds(f"{quantity} is inside, against a warning", False)
        else:
            value, (low, high) = outside[quantity]
            each = stated[quantity]
            found.near(f"{quantity} of the warning", value, each["value"])
            for name, ours, theirs in zip(("low", "high"), (low, high), each["range"], strict=True):
                found.near(f"the {name} end of {quantity}", ours, theirs)
    offered = document["in_domain"] is not None
    alone = document["supervised"]["model"]
    values = {f"supervised_{key}": alone[key] for key in ("parameters", "tokens")}
    beyond = any(coefficients.domain.outside(values).values())
    found.same("whether a plan inside is offered", bool(outside) or beyond, offered)
    return found.check("outside: " + ", ".join(sorted(outside)) if outside else "inside")


def _every_scenario(lines: Iterable[Part], problem: Problem) -> Check:
    """That each way to charge the teacher has one line, and no other has."""
    found = _Comparison("scenarios: all are there")
    trained = not problem.teachers  # the training of existing teachers is never charged
    stated = sorted(
        (each["charge_inference"], each["charge_pretraining"] if trained else 0.0) for each in lines
    )
    found.same("the list of charges", sorted(problem.comparable_charges()), stated)
    return found.check(f"{len(stated)} scenarios")


def _scenario(
    each: Part, document: Part, problem: Problem, coefficients: CoefficientSet
) -> Iterator[Check]:
    """A scenario's line; the chosen one is the recipe itself, any other a plan of its own."""
    name, recipe = f"scenario {each['name']}", each["recipe"]
    charges = (each["charge_inference"], each["charge_pretraining"])
    varied = problem.with_charges(*charges)
    found = _Comparison(f"{name}: its line")
    found.same("the name", varied.scenario, each["name"])
    chosen = charges == (problem.charge_inference, problem.charge_pretraining)
    found.same("whether it is chosen", chosen, each["chosen"])
    found.same("whether it is feasible", recipe is not None, each["feasible"])
    found.same("whether it has a certificate", recipe is not None, bool(each["certificate"]))
    loss = None if recipe is None else recipe["student"]["cross_entropy"]
    found.near("its cross-entropy", loss, each["cross_entropy"])
    gain = None if loss is None else loss - document["supervised"]["model"]["cross_entropy"]
    found.near("its difference to supervised training", gain, each["difference"], room=1e-12)
    outside = recipe is not None and bool(_outside(recipe, coefficients))
    found.same("whether it is outside the domain", outside, each["outside_domain"])
    if chosen:
        found.same("its recipe", document["recipe"], recipe)
        found.same("its certificate", document["certificate"], each["certificate"])
    yield found.check()
    if recipe is None:
        yield _infeasible(f"{name}: infeasible", varied, coefficients)
    elif not chosen:
        yield _recipe(name, recipe, varied, coefficients)
        if each["certificate"] is not None:
            yield from _proof(name, recipe, each["certificate"], varied, coefficients)


def _in_domain(inside: Part, problem: Problem, coefficients: CoefficientSet) -> Iterator[Check]:
    """The best of both methods inside the domain, or that there is none."""
    name, asked = "inside the domain", replace(problem, stay_in_domain=True)
    recipe, alone, certificate = inside["recipe"], inside["supervised"], inside["certificate"]
    found = _Comparison(f"{name}: its parts")
    found.same("whether it has a certificate", recipe is not None, certificate is not None)
    found.holds("a supervised model stands beside no recipe", recipe is not None or alone is None)
    yield found.check()
    if recipe is None:
        yield _infeasible(f"{name}: infeasible", asked, coefficients)
        return
    yield _recipe(name, recipe, asked, coefficients)
    if certificate is not None:
        yield from _proof(name, recipe, certificate, asked, coefficients)
    if alone is None:
        yield _no_supervised(f"{name}: no supervised model", asked, coefficients)
        return
    yield _supervised(f"{name}: supervised model", alone, asked, coefficients)
    opinion = inside["second_opinion"]
    yield _second_opinion(f"{name}: second opinion", opinion, recipe, alone, coefficients)


def _other(coefficients: CoefficientSet) -> CoefficientSet | None:
    if coefficients.second_opinion is None:
        return None
    return replace(load(coefficients.second_opinion), flops=coefficients.flops)


def _second_opinion(
    name: str, opinion: Part | None, recipe: Part, baseline: Part, coefficients: CoefficientSet
) -> Check:
    """The losses of recipe and baseline under the other set, which has to be heard."""
    found, other = _Comparison(f"{name}: its losses"), _other(coefficients)
    source = None if opinion is None else opinion["source"]
    found.same("its source", None if other is None else other.name, source)
    if opinion is None or other is None or other.distillation is None:
        return found.check("there is none" if other is None else "")
    student, teacher = recipe["student"], recipe["teacher"]
    model, loss = baseline["model"], teacher["cross_entropy"]
    if teacher["parameters"] and teacher["tokens"] and not teacher["existing"]:
        loss = float(other.supervised.loss(teacher["parameters"], teacher["tokens"]))
    theirs = float(other.distillation.loss(student["parameters"], student["tokens"], loss))
    found.near("its cross-entropy", theirs, opinion["cross_entropy"])
    direct = float(other.supervised.loss(model["parameters"], model["tokens"]))
    found.near("its supervised cross-entropy", direct, opinion["supervised"])
    best = opinion["optimum"]
    regret = None if best is None else theirs - best["student"]["cross_entropy"]
    found.near("the recipe's regret", regret, opinion["regret"], room=1e-9)
    return found.check()


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{value:.10g}" if isinstance(value, float) else repr(value)
