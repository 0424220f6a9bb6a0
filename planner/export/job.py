"""What every exporter needs of a recipe: the runs to take, their shapes, steps and objective."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, cast

from laws.architecture import Architecture, Family
from planner.errors import DocumentError, QuantityError

PAPER_LEARNING_RATE = 1e-2
"""At every size under muP (Busbridge et al. 2025, App. I)."""

EXACT = "Busbridge et al. 2025, arXiv 2502.08606"
STEP_LAW = "Step Law, arXiv 2503.04715"


def step_law_learning_rate(parameters: float, tokens: float) -> float:
    """Peak learning rate without muP: 1.80 N^-0.713 D^0.307 (arXiv 2503.04715)."""
    return float(1.80 * parameters**-0.713 * tokens**0.307)


def step_law_batch_tokens(tokens: float) -> float:
    """Tokens per step: 0.581 D^0.571 (arXiv 2503.04715)."""
    return float(0.581 * tokens**0.571)


@dataclass(frozen=True)
class Settings:
    """What a recipe leaves open.

    batch: sequences per step, None for the Step Law's rounded to a multiple of 8. mixing: lambda of
    Eq. 7. top_k: entries of stored logits, None for an online teacher. The other defaults are the
    paper's (App. I). Paths in capitals are for the user to fill in.
    """

    context: int = 4096
    vocabulary: int = 32_168
    batch: int | None = None
    mixing: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    warmup_steps: int = 2000
    final_fraction: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    z_loss: float = 1e-4
    seed: int = 42
    devices: int = 8

    def __post_init__(self) -> None:
        for name in ("context", "vocabulary", "devices"):
            if getattr(self, name) < 1:
                raise QuantityError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.batch is not None and self.batch < 1:
            raise QuantityError(f"batch is {self.batch}; give sequences per step.")
        if not 0 <= self.mixing <= 1:
            raise QuantityError(f"lambda is {self.mixing}; it is a share between 0 and 1.")
        if not self.temperature > 0:
            raise QuantityError(f"temperature is {self.temperature}; it must be positive.")


@dataclass(frozen=True)
class Leg:
    """One model to train, or a teacher that exists (`existing`; then its shape may be unknown)."""

    role: str
    architecture: Architecture | None
    tokens: float | None
    settings: Settings
    existing: bool = False
    name: str = ""

    @property
    def shape(self) -> Architecture:
        """The architecture; DocumentError where the recipe has none."""
        if self.architecture is None:
            raise DocumentError(
                f"the recipe gives the {self.role} no architecture; write it again with "
                "plan --format toml, which names the nearest buildable one."
            )
        return self.architecture

    @property
    def trained_tokens(self) -> float:
        """Tokens it is trained on; DocumentError where unknown."""
        if self.tokens is None:
            raise DocumentError(f"the recipe gives the {self.role} no tokens to train on.")
        return self.tokens

    @property
    def batch(self) -> int:
        """Sequences per step."""
        if self.settings.batch is not None:
            return self.settings.batch
        sequences = step_law_batch_tokens(self.trained_tokens) / self.settings.context
        return max(8, 8 * round(sequences / 8))

    @property
    def steps(self) -> int:
        """Whole steps that cover the tokens."""
        return max(1, ceil(self.trained_tokens / (self.batch * self.settings.context)))

    @property
    def warmup(self) -> int:
        """Warm-up steps: the paper's 2,000, or 5% of a short run."""
        return min(self.settings.warmup_steps, max(1, self.steps // 20))

    @property
    def learning_rate(self) -> float:
        """Peak learning rate for targets without muP."""
        rate = step_law_learning_rate(self.shape.parameters, self.trained_tokens)
        return float(f"{rate:.3g}")


Way = Literal["distil", "supervised"]
"""How the student is trained."""


@dataclass(frozen=True)
class Job:
    """A recipe as training runs. teacher: None where the student is trained without one."""

    student: Leg
    teacher: Leg | None
    settings: Settings
    title: str

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The runs on data alone: a teacher that must be trained, or the student without one."""
        if self.teacher is None:
            return (self.student,)
        return () if self.teacher.existing else (self.teacher,)


def job_of(
    document: Mapping[str, Any], settings: Settings = Settings(), method: Way | None = None
) -> Job:
    """The job of a recipe document (`plan --format toml` or `json`), shapes to the last integer.

    It is the recommended recipe, or the best by `method`: inside the measured range where the plan
    was decided there. A document without a recommendation is distilled by its recipe. Raises
    DocumentError for a document without a recipe, or without the supervised one asked for.
    """
    recommended = document.get("recommendation") or {}
    way = method or cast(Way, recommended.get("method", "distil"))
    inside = document.get("in_domain") or {}
    decided_inside = bool(inside.get("recipe") and inside.get("supervised"))
    pair = inside if decided_inside else document
    try:
        if way == "supervised":
            model = pair["supervised"]["model"]
            title = f"{_words(model)}, without a teacher"
            return Job(_leg("supervised", model, settings), None, settings, title)
        student, teacher = pair["recipe"]["student"], pair["recipe"]["teacher"]
    except (KeyError, TypeError):
        raise DocumentError(
            f"the document holds no recipe to {'distil' if way == 'distil' else 'train'}; write "
            "one with plan --format toml --output recipe.toml."
        ) from None
    return Job(
        _leg("student", student, settings),
        _leg("teacher", teacher, settings),
        settings,
        f"student of {_words(student)}, teacher of {_words(teacher)}",
    )


def _leg(role: str, model: Mapping[str, Any], settings: Settings) -> Leg:
    shape = model.get("architecture")
    architecture = None if shape is None else Architecture(**shape)
    if architecture is None and model.get("parameters") and not model.get("existing"):
        architecture = Family().nearest(float(model["parameters"]))
    return Leg(
        role,
        architecture,
        model.get("tokens"),
        settings,
        bool(model.get("existing", False)),
        str(model.get("name") or ""),
    )


def _words(model: Mapping[str, Any]) -> str:
    parts = [
        f"{float(value):.4g} {what}"
        for value, what in (
            (model.get("parameters"), "parameters"),
            (model.get("tokens"), "tokens"),
        )
        if value
    ]
    return " on ".join(parts) or "unknown size"


@dataclass(frozen=True)
class Exporter:
    """A target: where its keys come from, what it carries, and what it cannot.

    carries: what it trains where it distils. cannot: sentences that stand, with it, as comments at
    the head of every file. alone: whether it also trains a student without a teacher.
    """

    name: str
    source: str
    make: Callable[[Job], dict[str, str]]
    cannot: tuple[str, ...] = ()
    comment: str = "# "
    carries: str = "the student, by distillation"
    alone: bool = True

    def files(self, job: Job) -> dict[str, str]:
        """Name to text; DocumentError where the target cannot train the job."""
        if job.teacher is None and not self.alone:
            raise DocumentError(
                f"{self.name} trains from a teacher only, and this recipe has none; export it to "
                "maxtext, megatron-lm, torchtitan, planner or slurm, or export the best "
                "distillation with --method distil."
            )
        return {name: self._head(job) + text for name, text in self.make(job).items()}

    def _head(self, job: Job) -> str:
        lines = [
            f"Made by the distillation planner for {self.name} ({self.source}): {job.title}.",
            f"It trains {'the supervised model' if job.teacher is None else self.carries}. Names "
            "in capitals are yours to fill in.",
            *(f"Not carried: {each}" for each in self.cannot),
        ]
        return "".join(f"{self.comment}{line}\n" for line in lines)


def scalar(value: Any) -> str:
    """A YAML scalar, list or mapping in flow style; floats keep their point (1.0e-05)."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, float):
        mantissa, exponent, power = repr(value).partition("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}{exponent}{power}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {scalar(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(scalar(each) for each in value) + "]"


def yaml(values: Mapping[str, Any], indent: int = 0) -> str:
    """Block YAML of nested mappings; leaves in flow style."""
    text = ""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            text += f"{'  ' * indent}{key}:\n" + yaml(value, indent + 1)
        else:
            text += f"{'  ' * indent}{key}: {scalar(value)}\n"
    return text
