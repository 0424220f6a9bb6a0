"""A plan in a few plain lines, for a Python prompt and for logs."""

from __future__ import annotations

from planner import units
from planner.plan import Plan
from planner.reports import trust, words


def summary(plan: Plan) -> str:
    """Question, verdict, warnings, models, shares and proof; plain text of about ten lines."""
    models = (plan.recipe.student, plan.recipe.teacher, plan.supervised.model)
    names = words.model_names(plan)
    width = max(map(len, names))
    shares = ", ".join(
        f"{label.lower()} {units.format_share(share)}"
        for label, _, share in words.flops_rows(plan.recipe.flops)
    )
    lines = [
        words.title(plan),
        f"  {words.tidy(plan.verdict.text)}",
        *(f"  WARNING: {words.tidy(warning.text)}" for warning in plan.warnings),
        *([f"  {words.in_domain(plan.in_domain, plan)}"] if plan.in_domain else []),
        *(
            f"  {name:<{width}}  {words.count(model.parameters):>6} parameters"
            f"  {words.count(model.tokens):>6} tokens"
            f"  {words.ratio(model.tokens_per_parameter):>6} per parameter"
            f"  cross-entropy {units.format_loss(model.cross_entropy)}"
            for name, model in zip(names, models, strict=True)
        ),
        f"  FLOPs: {units.format_flops(plan.recipe.flops.total)} = {shares}",
        f"  {words.certificate(plan.certificate)}",
        f"  {words.binding(plan.recipe)}",
        *(f"  {line}" for line in trust.lines(plan)),
        *(f"  Note: {words.tidy(note)}" for note in plan.recipe.notes),
    ]
    return "\n".join(lines)
