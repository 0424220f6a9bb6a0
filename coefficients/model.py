"""A coefficient set: laws with numbers in them, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from coefficients.domain import Domain, Range
from coefficients.errors import CoefficientError
from coefficients.misfit import Misfit
from coefficients.quality import Quality
from coefficients.scatter import Scatter
from laws import DistillationForm, Family, ForwardFlops, SupervisedForm, SupervisedLaw
from laws._types import Real
from laws.flops import transformer


@dataclass(frozen=True)
class Source:
    """Provenance. `kind` is "published" or "fit"; `details` holds what else the file records."""

    title: str = ""
    citation: str = ""
    location: str = ""
    kind: str = ""
    notes: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class CoefficientSet:
    """Laws ready to call, with intervals, domain of validity, FLOP convention and source.

    `distillation` is None for a supervised-only set. `draws_path` names an .npz file beside the
    TOML file with resampled coefficients (one array per coefficient), see `draws`; `draws_sha256`
    is what that file must hash to. `quality` is what a fit reports of itself, `scatter` says how
    single runs lie about a fitted law, `misfit` how far the law may be off beyond its runs.
    `second_opinion` names the set that plans under this one are compared with.
    """

    name: str
    form: SupervisedForm
    flops: ForwardFlops
    distillation: DistillationForm | None = None
    architectures: Family = field(default_factory=Family)
    domain: Domain = field(default_factory=Domain)
    source: Source = Source()
    quality: Quality = field(default_factory=Quality)
    intervals: Mapping[str, Range] = field(default_factory=dict)
    draws_path: Path | None = None
    draws_sha256: str | None = None
    second_opinion: str | None = None
    scatter: Scatter | None = None
    misfit: Misfit | None = None

    @property
    def supervised(self) -> SupervisedLaw:
        """The supervised law written as Eq. 1, whatever its own form."""
        return self.form.canonical()

    @property
    def context(self) -> int | None:
        """Tokens of context at which F(N) counts attention; None where it counts none."""
        return self._unit("attention")

    @property
    def vocabulary(self) -> int | None:
        """Vocabulary whose output head F(N) counts; None where it counts none."""
        return self._unit("head")

    def counted_at(self, context: int | None, vocabulary: int | None) -> CoefficientSet:
        """The same laws with FLOPs counted at another context or vocabulary; None keeps the set's.

        Raises CoefficientError for a set that counts neither (F = 2N), or a value below 1.
        """
        if context is None and vocabulary is None:
            return self
        for name, value in (("context", context), ("vocabulary", vocabulary)):
            if value is not None and value < 1:
                raise CoefficientError(f"{name} is {value}; it must be at least 1.")
        if self.context is None or self.vocabulary is None:
            raise CoefficientError(
                f"the coefficient set '{self.name}' counts 2N FLOPs per token, which depend on "
                "neither context nor vocabulary; leave them out."
            )
        return replace(
            self, flops=self._flops(context or self.context, vocabulary or self.vocabulary)
        )

    def _flops(self, context: int, vocabulary: int) -> ForwardFlops:
        family = self.architectures
        return transformer(
            context, vocabulary, family.aspect_ratio, family.ffn_ratio, family.ffn_matrices,
            family.kv_group,
        )  # fmt: skip

    def _unit(self, term: str) -> int | None:
        """How many times the term of one token of context, or of one word, F(N) holds."""
        if self.flops.name == "2N":
            return None
        return round(float(getattr(self.flops, term)) / float(getattr(self._flops(1, 1), term)))

    def quantities(
        self,
        student_parameters: Real,
        student_tokens: Real,
        teacher_cross_entropy: Real,
        teacher_parameters: Real | None = None,
        teacher_tokens: Real | None = None,
    ) -> dict[str, Real | None]:
        """Every quantity that a domain of validity speaks of, of one plan or of arrays of plans.

        None and NaN stand for what is not known of an existing teacher.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            supervised = self.supervised.loss(student_parameters, student_tokens)
            return {
                "student_parameters": student_parameters,
                "student_tokens": student_tokens,
                "teacher_parameters": teacher_parameters,
                "teacher_tokens": teacher_tokens,
                "student_tokens_per_parameter": student_tokens / student_parameters,
                "teacher_cross_entropy": teacher_cross_entropy,
                "teacher_to_supervised": teacher_cross_entropy / supervised,
            }

    def measured_teachers(self, student_parameters: float, student_tokens: float) -> Range | None:
        """Cross-entropies of teachers under which a student like this one was measured.

        (0, inf) where the set states no range for teachers; None for a student that lies outside
        the measured ones itself, or where the set states no domain at all.
        """
        known = self.quantities(student_parameters, student_tokens, np.nan)
        if not self.domain.covers(known):
            return None
        alone = float(self.supervised.loss(student_parameters, student_tokens))
        everything = (0.0, np.inf)
        low, high = self.domain.of("teacher_cross_entropy") or everything
        least, most = self.domain.of("teacher_to_supervised") or everything
        low, high = max(low, least * alone), min(high, most * alone)
        return (low, high) if low <= high else None
