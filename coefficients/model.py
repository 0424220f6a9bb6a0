"""A coefficient set: laws with numbers in them, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coefficients.domain import Domain, Range
from coefficients.scatter import Scatter
from laws import DistillationForm, Family, ForwardFlops, SupervisedForm, SupervisedLaw


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
    is what that file must hash to. `scatter` says how single runs lie about a fitted law.
    `second_opinion` names the set that plans under this one are compared with.
    """

    name: str
    form: SupervisedForm
    flops: ForwardFlops
    distillation: DistillationForm | None = None
    architectures: Family = field(default_factory=Family)
    domain: Domain = field(default_factory=Domain)
    source: Source = Source()
    intervals: Mapping[str, Range] = field(default_factory=dict)
    draws_path: Path | None = None
    draws_sha256: str | None = None
    second_opinion: str | None = None
    scatter: Scatter | None = None

    @property
    def supervised(self) -> SupervisedLaw:
        """The supervised law written as Eq. 1, whatever its own form."""
        return self.form.canonical()
