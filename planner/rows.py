"""A Problem and a coefficient set become rows of a Batch, the optimiser's arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from coefficients import CoefficientSet, Domain
from laws import DistillationForm
from laws._types import Real
from planner.errors import NoDistillationLawError, ProblemError, UnreachableError
from planner.optimise import Batch
from planner.problem import Problem, Teacher

_ANYWHERE = (0.0, math.inf)


def to_batches(
    problems: Sequence[Problem], coefficients: CoefficientSet, constrained: bool = False
) -> tuple[Batch, list[int]]:
    """All problems under one coefficient set as one batch, and the number of rows of each.

    A problem has one row, or one per existing teacher. One that stays in the domain of validity
    gets the domain's ranges as bounds. Constraints are no part of a batch: `constrained` says that
    the caller sees to them; ProblemError otherwise.
    """
    if not constrained:
        refuse_constraints(problems)
    rows = [rows_of(problem, coefficients) for problem in problems]
    counts = [len(each) for each in rows]
    flat = [row for each in rows for row in each]
    columns = {key: np.array([row[key] for row in flat], dtype=float) for key in flat[0]}
    law = require_distillation(coefficients)
    return Batch.broadcast(law.supervised, law, coefficients.flops, **columns), counts


def supervised_batch(
    problems: Sequence[Problem], coefficients: CoefficientSet, constrained: bool = False
) -> Batch:
    """A row per problem for its supervised model; no distillation law is needed, teachers ignored.

    A problem that stays in the domain of validity holds the supervised model to the sizes and
    tokens at which the supervised law was measured. Constraints as in `to_batches`.
    """
    if not constrained:
        refuse_constraints(problems)
    rows = [_row(each, _supervised_ranges(each, coefficients.domain)) for each in problems]
    columns = {key: np.array([row[key] for row in rows], dtype=float) for key in rows[0]}
    return Batch.broadcast(coefficients.supervised, None, coefficients.flops, **columns)


def _supervised_ranges(problem: Problem, domain: Domain) -> dict[str, tuple[float, float]]:
    ranges = _ranges(None)
    if problem.stay_in_domain:
        for kind in ("parameters", "tokens"):
            ranges[f"student_{kind}"] = domain.of(f"supervised_{kind}") or _ANYWHERE
    return ranges


def refuse_constraints(problems: Sequence[Problem]) -> None:
    """Raises ProblemError where a problem has constraints that an analysis does not take."""
    given = next((each for each in problems if each.constraints), None)
    if given is not None:
        raise ProblemError(
            f"this analysis does not take constraints such as '{given.constraints[0]}'; leave out "
            "--constraint, or bound sizes and tokens by --max-teacher-size and the like."
        )


def rows_of(problem: Problem, coefficients: CoefficientSet) -> list[dict[str, Real]]:
    """The part of a batch that a problem determines: one row, or one per candidate teacher.

    Under a batch of laws (draws) the estimated loss of a teacher is an array over draws.
    """
    domain = coefficients.domain if problem.stay_in_domain else None
    row = _row(problem, _ranges(domain))
    if not problem.teachers:
        return [row]
    return [_with_teacher(row, teacher, coefficients, domain) for teacher in problem.teachers]


def _row(problem: Problem, measured: dict[str, tuple[float, float]]) -> dict[str, Real]:
    bounds = problem.bounds
    student = _within(problem.size_range, measured["student_parameters"])
    student_tokens = _within(bounds.student_tokens, measured["student_tokens"])
    teacher = _within(bounds.teacher_size, measured["teacher_parameters"])
    teacher_tokens = _within(bounds.teacher_tokens, measured["teacher_tokens"])
    ratio, loss = measured["student_tokens_per_parameter"], measured["teacher_cross_entropy"]
    rho = measured["teacher_to_supervised"]
    return {
        "budget": problem.budget,
        "charge_inference": problem.charge_inference,
        "charge_pretraining": problem.charge_pretraining,
        "serving": problem.serving_tokens,
        "u_low": _log(student[0]),
        "u_high": _log(student[1]),
        "s_low": _log(student_tokens[0]),
        "s_high": _log(student_tokens[1]),
        "n_low": _log(teacher[0]),
        "n_high": _log(teacher[1]),
        "d_low": _log(teacher_tokens[0]),
        "d_high": _log(teacher_tokens[1]),
        "ratio_low": _log(ratio[0]),
        "ratio_high": _log(ratio[1]),
        "t_low": loss[0],
        "t_high": loss[1],
        "rho_low": rho[0],
        "rho_high": rho[1],
        "teacher_loss": math.nan,
        "teacher_flops": 0.0,
    }


def teacher_loss(teacher: Teacher, coefficients: CoefficientSet) -> Real:
    """The measured cross-entropy of an existing teacher, or the law's for its size and tokens."""
    if teacher.loss is not None:
        irreducible = float(np.min(coefficients.supervised.E))
        if teacher.loss <= irreducible:
            raise UnreachableError(
                f"a teacher of loss {teacher.loss:g} is unreachable: the law's irreducible "
                f"cross-entropy is {irreducible:g} nats per token; measure the teacher's loss on "
                "the student's data and tokenizer, in nats per token.",
                irreducible,
            )
        return teacher.loss
    assert teacher.size is not None and teacher.tokens is not None
    return coefficients.supervised.loss(teacher.size, teacher.tokens)


def teacher_flops(teacher: Teacher, coefficients: CoefficientSet) -> float:
    """Forward FLOPs per token of an existing teacher: its own where its architecture is known, else
    F(N) of its size; 0 where that is unknown."""
    if teacher.forward_flops is not None:
        return teacher.forward_flops
    return 0.0 if teacher.size is None else float(coefficients.flops.per_token(teacher.size))


def require_distillation(coefficients: CoefficientSet) -> DistillationForm:
    """The set's distillation law; NoDistillationLawError for a supervised-only set."""
    if coefficients.distillation is None:
        raise NoDistillationLawError(
            f"the coefficient set '{coefficients.name}' is supervised only and cannot plan "
            "distillation; use the set busbridge2025 or a file with a [distillation] table."
        )
    return coefficients.distillation


def _with_teacher(
    row: dict[str, Real],
    teacher: Teacher,
    coefficients: CoefficientSet,
    domain: Domain | None,
) -> dict[str, Real]:
    row = {
        **row,
        "teacher_loss": teacher_loss(teacher, coefficients),
        "teacher_flops": teacher_flops(teacher, coefficients),
        "charge_pretraining": 0.0,  # it exists: its training is sunk
    }
    known = {"teacher_parameters": teacher.size, "teacher_tokens": teacher.tokens}
    if domain is not None and any(domain.outside(known).values()):
        row["t_high"] = -math.inf  # not a teacher of this domain: no plan with it
    return row


def _ranges(domain: Domain | None) -> dict[str, tuple[float, float]]:
    if domain is None:
        domain = Domain()
    return {each.name: domain.of(each.name) or _ANYWHERE for each in fields(Domain)}


def _within(wanted: tuple[float, float], measured: tuple[float, float]) -> tuple[float, float]:
    return max(wanted[0], measured[0]), min(wanted[1], measured[1])


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
