"""What answers look like, for the OpenAPI document: JSON Schemas of every report and catalogue.

Every key is required; null stands where there is no number. Keys may be added within a
schema_version, so objects are left open. Recipes and their parts are the plan's own schemas.
"""

from __future__ import annotations

from typing import Any

from planner.problem import VARIABLES
from planner.questions.sweep.grid import COLUMNS

Schema = dict[str, Any]


def _number(unit: str) -> Schema:
    return {"type": ["number", "null"], "description": unit}


NATS = _number("nats per token")
FLOPS = _number("FLOPs")
PARAMETERS = _number("non-embedding parameters")
TOKENS = _number("tokens")
SHARE = _number("a share, 0 to 1")
RATIO = _number("a ratio")
TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer"}
OPEN: Schema = {"type": "object"}


def many(item: Schema) -> Schema:
    """A list of these."""
    return {"type": "array", "items": item}


def maybe(schema: Schema) -> Schema:
    """This, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def of(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object of these keys, all required but the optional ones; a trailing _ is dropped."""
    named = {name.removesuffix("_"): schema for name, schema in properties.items()}
    required = [name for name in named if name not in optional]
    return {"type": "object", "properties": named, "required": required}


def plans(name: str) -> Schema:
    """A part of the plan's own schema."""
    return {"$ref": f"#/components/schemas/Plan_{name}"}


def report(kind: str, optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """The document of a command's report."""
    head = {"schema_version": WHOLE, "kind": {"const": kind}, "verdict": TEXT}
    rest = {"warnings": many(TEXT), "notes": many(TEXT)}
    return of(optional, **head, **properties, **rest)


RECIPE, CERTIFICATE, PROBLEM = plans("recipe"), plans("certificate"), plans("problem")
BASELINE = plans("supervised")
CHARGES = {"charge_inference": SHARE, "charge_pretraining": SHARE}
CURVE = of(x=many(_number("nats per token, or a share")), cross_entropy=many(NATS),
           in_domain=many(FLAG))  # fmt: skip
QUANTITIES = {
    "student_parameters": many(PARAMETERS), "student_tokens": many(TOKENS),
    "teacher_parameters": many(PARAMETERS), "teacher_tokens": many(TOKENS),
    "teacher_cross_entropy": many(NATS),
}  # fmt: skip
TERMS = ("student_training", "teacher_inference", "teacher_pretraining", "serving")
OTHER_VIEW = maybe(of(
    source=TEXT, cross_entropy=NATS, interval=maybe(of(low=NATS, median=NATS, high=NATS)),
    disagrees=FLAG, matters=FLAG,
))  # fmt: skip
GAIN = maybe(of(budget=FLOPS, nats=NATS))
SPREAD = of(
    source=TEXT, draws=WHOLE, budgets=many(FLOPS), low=many(NATS), high=many(NATS),
    probability=many(SHARE), crossovers=many(of(low=FLOPS, high=FLOPS, share=SHARE)),
    fixed=many(TEXT),
)  # fmt: skip
COMPARISON = of(
    student=PARAMETERS,
    budgets=many(FLOPS),
    supervised=many(NATS),
    scenarios=many(of(
        name=TEXT, **CHARGES, pays=TEXT, spread=maybe(SPREAD),
        crossovers=many(of(budget=FLOPS, low=FLOPS, high=FLOPS, better_above=TEXT, in_domain=FLAG)),
        largest_gain=GAIN, largest_gain_in_domain=GAIN, cross_entropy=many(NATS),
        lower_bound=many(NATS), second_opinion=maybe(many(NATS)),
        difference=many(NATS), in_domain=many(FLAG),
        compute_ratio=many(RATIO), data_ratio=many(RATIO), **QUANTITIES,
    )),
    verdict=TEXT,
)  # fmt: skip
MOVE = of(variable=TEXT, balanced_by=TEXT, from_=_number("parameters or tokens"),
          to=_number("parameters or tokens"), gain=NATS, recipe=RECIPE)  # fmt: skip
MODEL = {"parameters": PARAMETERS, "tokens": TOKENS, "cross_entropy": NATS}
COUNT = of(
    students=WHOLE, budget=FLOPS, cross_entropy=NATS, lower_bound=NATS, direct=NATS,
    teacher_parameters=PARAMETERS, teacher_tokens=TOKENS, teacher_cross_entropy=NATS,
    teacher_share=SHARE, gain=NATS,
)  # fmt: skip
POINT = of(teacher_cross_entropy=NATS, cross_entropy=NATS)
METHOD = of(
    name=TEXT, **CHARGES, chosen=FLAG, cross_entropy=many(NATS), inside=many(FLAG),
    shares=of(**{term: many(SHARE) for term in TERMS}), spent=many(FLOPS), **QUANTITIES,
    crossovers=many(of(budget=FLOPS, starts_to_win=FLAG, inside=FLAG)),
)  # fmt: skip
DISPLAY = of(
    title=TEXT, verdict=TEXT, model_names=many(TEXT),
    model_rows=many(of(label=TEXT, cells=many(TEXT))),
    flops_rows=many(of(label=TEXT, flops=TEXT, share=TEXT, fraction=SHARE)),
    flops_total=of(flops=TEXT, share=TEXT),
    scenarios=many(of(name=TEXT, chosen=FLAG, student=TEXT, teacher=TEXT, cross_entropy=TEXT,
                      difference=TEXT)),
    trust=many(TEXT), certificate=TEXT, warnings_title=TEXT, warnings=many(TEXT), in_domain=TEXT,
    remarks=many(TEXT), outside=of(recipe=FLAG, supervised=FLAG),
    understood=of(budget=TEXT, student=TEXT),
)  # fmt: skip
_ROW = {"teacher": MAYBE_TEXT, "scenario": MAYBE_TEXT, "feasible": FLAG, "in_domain": FLAG,
        "flops": FLOPS, "budget": FLOPS, "student": PARAMETERS, "gap": NATS}  # fmt: skip


def _column(name: str) -> Schema:
    if name in _ROW:
        return many(_ROW[name])
    ends = {"parameters": PARAMETERS, "tokens": TOKENS, "inference": SHARE, "pretraining": SHARE}
    return many(ends.get(name.rpartition("_")[2], NATS))


REPORTS: dict[str, Schema] = {
    "Explore": of(
        ("plan", "display", "gap", "curves", "map"),
        schema_version=WHOLE, kind={"const": "explore"},
        plan={"$ref": "#/components/schemas/Plan"}, display=DISPLAY,
        gap=of(
            student_parameters=PARAMETERS, student_tokens=TOKENS, teacher_cross_entropy=many(NATS),
            cross_entropy=many(NATS), supervised=NATS, best=POINT, here=POINT,
            measured=maybe(many(NATS)),
        ),
        curves=of(budgets=many(FLOPS), methods=many(METHOD),
                  supervised=of(cross_entropy=many(NATS), inside=many(FLAG))),
        map=of(budgets=many(FLOPS), students=many(PARAMETERS), difference=many(many(NATS)),
               inside=many(many(FLAG)), tolerance=NATS),
    ),
    "Compare": report(
        "comparison", coefficients=TEXT, comparisons=many(COMPARISON), second_opinion=MAYBE_TEXT,
    ),
    "Target": report(
        "target", loss=NATS, like=maybe(of(size=PARAMETERS, tokens=TOKENS)), student=PARAMETERS,
        coefficients=TEXT,
        ways=many(of(
            method=TEXT, charge_inference=SHARE, charge_pretraining=SHARE, reachable=FLAG,
            budget=FLOPS, unreachable_below=FLOPS, floor=NATS, recipe=maybe(RECIPE),
            second_opinion=OTHER_VIEW, supervised=maybe(BASELINE),
        )),
    ),
    "Evaluate": report(
        "evaluation", cost=FLOPS, excess=NATS, budget_for_loss=FLOPS, saved=SHARE, recipe=RECIPE,
        best=RECIPE, certificate=CERTIFICATE, supervised=maybe(BASELINE), first=maybe(MOVE),
        moves=many(MOVE), domain=many(plans("warning")), best_domain=many(plans("warning")),
        supervised_domain=many(plans("warning")), second_opinion=OTHER_VIEW,
        second_opinion_of_best=OTHER_VIEW, problem=PROBLEM, coefficients=TEXT,
        rules=many(of(name=TEXT, summary=TEXT, affordable=FLAG, excess=NATS,
                      recipe=maybe(RECIPE))),
    ),
    "Explain": report(
        "explanation", recipe=RECIPE, certificate=CERTIFICATE, best_teacher_cross_entropy=NATS,
        best_student_cross_entropy=NATS, supervised_cross_entropy=NATS,
        teacher_beyond_capacity_gap=FLAG, student_training_share=SHARE,
        parts=many(of(what=TEXT, nats=NATS)), limits=many(of(what=TEXT, gain=NATS)),
        limited_by=TEXT, marginals=many(of(what=TEXT, loss_change=NATS, cost_change=FLOPS,
                                           gain_per_percent=NATS)),
        curves=of(teacher_cross_entropy_at_fixed_tokens=CURVE,
                  teacher_cross_entropy_at_fixed_budget=CURVE, student_training_share=CURVE),
        problem=PROBLEM, coefficients=TEXT,
    ),
    "NearOptimal": report(
        "near-optimal", within=TEXT, ceiling=NATS, best=RECIPE, certificate=CERTIFICATE,
        ranges=many(of(
            variable=TEXT, low=_number("parameters or tokens"), best=_number("the same"),
            high=_number("the same"), low_is_bound=FLAG, high_is_bound=FLAG, pieces=WHOLE,
            values=many(_number("the same")), losses=many(NATS),
        )),
        cheapest_teacher=maybe(RECIPE),
        buildable=many(of(role=TEXT, architecture=plans("architecture"), cross_entropy=NATS,
                          student_tokens=TOKENS, teacher_tokens=TOKENS)),
        problem=PROBLEM, coefficients=TEXT,
    ),
    "Family": report(
        "family", ("break_even", "losses_after_break_even", "fixed_total", "counts"),
        budget=FLOPS, **CHARGES, cached=FLAG,
        objective={"enum": ["budget", "weighted_cross_entropy"]},
        value=_number("nats per token, or FLOPs where targets are given"),
        lower_bound=_number("in the unit of value"),
        gap=_number("nats, or a share of the budget"), tolerance=_number("in the unit of gap"),
        proven=FLAG, direct=_number("in the unit of value"),
        teacher=of(**MODEL, existing=FLAG, name=TEXT),
        flops=of(**dict.fromkeys((*TERMS, "total"), FLOPS)),
        students=many(of(
            student_parameters=PARAMETERS, copies=WHOLE, weight=RATIO, target=NATS,
            student_tokens=TOKENS, cross_entropy=NATS, training_flops=FLOPS, direct_tokens=TOKENS,
            direct_cross_entropy=NATS,
        )),
        coefficients=TEXT, break_even={"type": ["integer", "null"]},
        losses_after_break_even=many(WHOLE), fixed_total=FLAG,
        counts=many(COUNT),
    ),
    "Teachers": report(
        "teachers", budget=FLOPS, student=PARAMETERS, charge_inference=SHARE, coefficients=TEXT,
        ideal_teacher_cross_entropy=NATS, supervised=of(**MODEL),
        teachers=many(of(
            name=TEXT, teacher_parameters=PARAMETERS, counts=TEXT, teacher_tokens=TOKENS,
            teacher_cross_entropy=NATS, estimated=FLAG, student_parameters=PARAMETERS,
            student_tokens=TOKENS, cross_entropy=NATS, difference=NATS,
            cross_entropy_if_stored=NATS, capacity_gap=FLAG, priced_out=FLAG, outside_domain=TEXT,
            source=TEXT,
        )),
    ),
    "Sweep": of(
        schema_version=WHOLE, kind={"const": "sweep"}, coefficients=TEXT, tolerance=NATS,
        columns=of(**{name: _column(name) for name in COLUMNS}),
    ),
    "FitResult": of(schema_version=WHOLE, kind={"const": "fit"}, fit=OPEN, coefficients=OPEN,
                    toml=TEXT),
}  # fmt: skip

COEFFICIENT = of(value=RATIO, interval=maybe(many(RATIO)))
VALUES: Schema = {"type": "object", "additionalProperties": COEFFICIENT}
RANGE = maybe(many(RATIO))
STATUS = of(status={"enum": ["alive", "ready", "starting"]})
GETS: dict[str, Schema] = {
    "/v1/health": STATUS,
    "/v1/ready": STATUS,
    "/v1/coefficients": of(coefficients=many(of(
        name=TEXT, distillation=FLAG, title=TEXT, citation=TEXT, notes=TEXT))),
    "/v1/coefficients/{name}": of(
        name=TEXT, supervised=VALUES, distillation=maybe(VALUES),
        domain={"type": "object", "additionalProperties": RANGE}, flops=TEXT,
        source=of(title=TEXT, citation=TEXT, location=TEXT, kind=TEXT, notes=TEXT),
    ),
    "/v1/scenarios": of(default=TEXT, scenarios=many(of(name=TEXT, **CHARGES, summary=TEXT))),
    "/v1/teachers": of(teachers=many(of(
        name=TEXT, size=PARAMETERS, tokens=TOKENS, loss=NATS, counts=TEXT, source=TEXT))),
    "/v1/accelerators": of(utilisation=SHARE, accelerators=many(of(
        name=TEXT, bf16_flops=_number("dense bf16 FLOP/s"), source=TEXT))),
    "/v1/bounds": of(bounds={
        "type": "object", "additionalProperties": of(**dict.fromkeys(VARIABLES, many(RATIO))),
    }),
}  # fmt: skip
