"""Reads coefficient sets from TOML, and says everything that is wrong with a bad one."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import tomli

from coefficients.domain import Domain, Range
from coefficients.errors import CoefficientError
from coefficients.misfit import Misfit
from coefficients.model import CoefficientSet, Source
from coefficients.quality import Quality
from coefficients.scatter import Scatter
from coefficients.shipped import DEFAULT, available
from laws import (
    DISTILLATION_LAWS,
    SUPERVISED_LAWS,
    DistillationForm,
    Family,
    ForwardFlops,
    SupervisedForm,
)
from laws.flops import transformer, two_n

_TABLES = (
    "name", "supervised", "distillation", "domain", "flops", "source", "quality", "draws",
    "draws_sha256", "second_opinion", "scatter", "misfit",
)  # fmt: skip
_SOURCE_KEYS = tuple(f.name for f in fields(Source))
_TRANSFORMER_KEYS = (
    "context", "vocabulary", "aspect_ratio", "ffn_ratio", "ffn_matrices", "kv_group",
)  # fmt: skip
_WHOLE, _REAL = (int, "a whole number"), (float, "a number")
_QUALITY: dict[str, tuple[type, str]] = {
    "converged": (bool, "true or false"),
    "mean_absolute_relative_error": _REAL,
    "worst_relative_error": _REAL,
    "runs": _WHOLE,
    "coefficients_fitted": _WHOLE,
    "undetermined": (list, "a list of texts"),
    "resamples": _WHOLE,
    "resampled_by": (str, "text"),
    "resample_groups": _WHOLE,
    "resamples_converged": _REAL,
}
_WIDEST = 10.0  # no run is off by a factor of e^10


def load(name_or_path: str | Path = DEFAULT) -> CoefficientSet:
    """The set of that name, or the one in the TOML file at that path.

    Raises CoefficientError for an unknown name (with the nearest known ones), an unreadable file,
    or a bad one (every problem listed with key and value).
    """
    text = str(name_or_path)
    if text in available():
        return _shipped(text)
    path = Path(text)
    if _is_file(path):
        return parse(_read(path), name=path.stem, directory=path.parent)
    if path.suffix or "/" in text:
        raise CoefficientError(f"Coefficient file '{text}' does not exist; check the path.")
    near = difflib.get_close_matches(text, available(), n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise CoefficientError(
        f"Unknown coefficient set '{text}'.{hint} Shipped sets: {', '.join(available())}; "
        "or give the path of a TOML file."
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for any file
        return False


@lru_cache
def _shipped(name: str) -> CoefficientSet:
    """A shipped set; read once, since sets are immutable and the files belong to the package."""
    path = Path(str(resources.files("coefficients") / f"{name}.toml"))
    return parse(_read(path), name=name, directory=path.parent)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CoefficientError(f"Coefficient file '{path}' cannot be read: {error}.") from error
    except tomli.TOMLDecodeError as error:
        raise CoefficientError(f"Coefficient file '{path}' is not valid TOML: {error}.") from error


def parse(
    document: Mapping[str, Any], name: str = "unnamed", directory: Path | None = None
) -> CoefficientSet:
    """A set from the contents of a TOML file; raises CoefficientError listing every problem."""
    reader = _Reader()
    reader.unknown_keys(document, _TABLES, "")
    form = reader.supervised(reader.table(document, "supervised", required=True))
    distillation = reader.distillation(reader.table(document, "distillation"), form)
    domain = reader.domain(reader.table(document, "domain"))
    flops, family = reader.flops(reader.table(document, "flops"))
    source = reader.source(reader.table(document, "source"))
    quality = reader.quality(reader.table(document, "quality"))
    scatter = reader.scatter(reader.table(document, "scatter"))
    misfit = reader.misfit(reader.table(document, "misfit"))
    draws = reader.draws(document.get("draws"), directory)
    stated = document.get("name", name)
    second, digest = document.get("second_opinion"), document.get("draws_sha256")
    for key, value in (("name", stated), ("second_opinion", second), ("draws_sha256", digest)):
        if value is not None and not isinstance(value, str):
            reader.problems.append(f"{key} = {value!r}: must be text")
    if reader.problems or form is None:
        raise CoefficientError(
            f"Coefficient set '{name}' has {len(reader.problems)} problem(s):", reader.problems
        )
    return CoefficientSet(
        name=stated,
        form=form,
        flops=flops,
        distillation=distillation,
        architectures=family,
        domain=domain,
        source=source,
        quality=quality,
        intervals=reader.intervals,
        draws_path=draws,
        draws_sha256=digest,
        second_opinion=second,
        scatter=scatter,
        misfit=misfit,
    )


class _Reader:
    """Reads tables one by one and remembers every problem instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.intervals: dict[str, Range] = {}

    def table(
        self, document: Mapping[str, Any], key: str, required: bool = False
    ) -> Mapping[str, Any] | None:
        value = document.get(key)
        if value is None:
            if required:
                self.problems.append(f"[{key}]: the table is missing")
            return None
        if not isinstance(value, Mapping):
            self.problems.append(f"{key} = {value!r}: must be a table [{key}]")
            return None
        return value

    def unknown_keys(self, table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
        known = list(known)
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
                self.problems.append(f"{where}{key}: unknown key{hint}")

    def number(self, value: Any, where: str, zero: bool = False) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problems.append(f"{where} = {value!r}: must be a number")
            return None
        try:
            number = float(value)
        except OverflowError:  # TOML integers have no limit
            number = math.inf
        if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
            least = "zero or more" if zero else "positive"
            self.problems.append(f"{where} = {number!r}: must be finite and {least}")
            return None
        return number

    def range(self, value: Any, where: str) -> Range | None:
        if not isinstance(value, list) or len(value) != 2:
            self.problems.append(f"{where} = {value!r}: must be [low, high]")
            return None
        low = self.number(value[0], f"{where}[0]", zero=True)
        high = self.number(value[1], f"{where}[1]", zero=True)
        if low is None or high is None:
            return None
        if low > high:
            self.problems.append(f"{where} = {value!r}: low is above high")
            return None
        return (low, high)

    def values(self, table: Mapping[str, Any], law: Any, where: str) -> dict[str, float] | None:
        """A law's coefficients, each a number or ``{value = ..., interval = [low, high]}``."""
        self.unknown_keys(table, ("form", *law.COEFFICIENTS), f"{where}.")
        found: dict[str, float] = {}
        complete = True
        for key in law.COEFFICIENTS:
            label = f"{where}.{key}"
            if key not in table:
                self.problems.append(f"{label}: the coefficient is missing")
                complete = False
                continue
            entry = table[key]
            if isinstance(entry, Mapping):
                self.unknown_keys(entry, ("value", "interval"), f"{label}.")
                if "interval" in entry:
                    interval = self.range(entry["interval"], f"{label}.interval")
                    if interval is not None:
                        self.intervals[label] = interval
                entry = entry.get("value")
            number = self.number(entry, label, zero=key in law.MAY_BE_ZERO)
            complete = complete and number is not None
            if number is not None:
                found[key] = number
        return found if complete else None

    def supervised(self, table: Mapping[str, Any] | None) -> SupervisedForm | None:
        if table is None:
            return None
        law = self.form(table, "supervised", SUPERVISED_LAWS)
        values = None if law is None else self.values(table, law, "supervised")
        return None if law is None or values is None else law(**values)

    def distillation(
        self, table: Mapping[str, Any] | None, form: SupervisedForm | None
    ) -> DistillationForm | None:
        if table is None:
            return None
        law = self.form(table, "distillation", DISTILLATION_LAWS)
        values = None if law is None else self.values(table, law, "distillation")
        if law is None or values is None or form is None:
            return None
        found: DistillationForm = law(form.canonical(), **values)
        return found

    def form(self, table: Mapping[str, Any], where: str, known: Mapping[str, Any]) -> Any:
        """The law that a table names by its `form`; None if there is none of that name."""
        name = table.get("form", "busbridge")
        if isinstance(name, str) and name in known:
            return known[name]
        self.problems.append(f"{where}.form = {name!r}: unknown law; known: {', '.join(known)}")
        return None

    def domain(self, table: Mapping[str, Any] | None) -> Domain:
        if table is None:
            return Domain()
        names = [f.name for f in fields(Domain)]
        self.unknown_keys(table, names, "domain.")
        ranges = {k: self.range(v, f"domain.{k}") for k, v in table.items() if k in names}
        return Domain(**ranges)

    def flops(self, table: Mapping[str, Any] | None) -> tuple[ForwardFlops, Family]:
        if table is None:
            return transformer(), Family()
        self.unknown_keys(table, ("convention", *_TRANSFORMER_KEYS), "flops.")
        convention = table.get("convention", "transformer")
        if convention not in ("transformer", "2N"):
            self.problems.append(
                f"flops.convention = {convention!r}: must be 'transformer' (Eq. 69) or '2N'"
            )
        given = {
            key: self.number(table[key], f"flops.{key}")
            for key in _TRANSFORMER_KEYS
            if key in table
        }
        numbers: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        for key in ("context", "vocabulary", "aspect_ratio", "ffn_matrices", "kv_group"):
            if key in numbers and numbers[key] != int(numbers[key]):
                self.problems.append(f"flops.{key} = {numbers[key]!r}: must be a whole number")
            elif key in numbers:
                numbers[key] = int(numbers[key])
        if len(numbers) != len(given):  # a bad number was reported already
            return transformer(), Family()
        shape = {k: v for k, v in numbers.items() if k not in ("context", "vocabulary")}
        flops = two_n() if convention == "2N" else transformer(**numbers)
        return flops, Family(**shape)

    def source(self, table: Mapping[str, Any] | None) -> Source:
        if table is None:
            return Source()
        known = {k: v for k, v in table.items() if k in _SOURCE_KEYS and k != "details"}
        for key, value in known.items():
            if not isinstance(value, str):
                self.problems.append(f"source.{key} = {value!r}: must be text")
        details = {k: v for k, v in table.items() if k not in known}
        return Source(**known, details=details)

    def quality(self, table: Mapping[str, Any] | None) -> Quality:
        if table is None:
            return Quality()
        self.unknown_keys(table, _QUALITY, "quality.")
        found: dict[str, Any] = {}
        for key, value in table.items():
            if key not in _QUALITY:
                continue
            kind, words = _QUALITY[key]
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) is not kind or (
                isinstance(value, list) and not all(isinstance(each, str) for each in value)
            ):
                self.problems.append(f"quality.{key} = {value!r}: must be {words}")
            else:
                found[key] = tuple(value) if isinstance(value, list) else value
        return Quality(**found)

    def scatter(self, table: Mapping[str, Any] | None) -> Scatter | None:
        if table is None:
            return None
        shares = [f.name for f in fields(Scatter) if f.name != "quantiles"]
        self.unknown_keys(table, ("quantiles", *shares), "scatter.")
        values: Any = table.get("quantiles")
        rising = isinstance(values, list) and len(values) >= 2
        rising = rising and all(
            isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < _WIDEST
            for v in values
        )
        if not rising or values != sorted(values):
            self.problems.append(
                f"scatter.quantiles = {values!r}: must be at least two rising numbers within "
                f"{_WIDEST:g} of zero, log(measured / law)"
            )
            return None
        found = {k: self.number(table[k], f"scatter.{k}", zero=True) for k in shares if k in table}
        for key, share in found.items():
            if share is not None and share > 1:
                self.problems.append(f"scatter.{key} = {share!r}: must be a share from 0 to 1")
        return Scatter(tuple(map(float, values)), **found)

    def misfit(self, table: Mapping[str, Any] | None) -> Misfit | None:
        if table is None:
            return None
        names = [f.name for f in fields(Misfit)]
        self.unknown_keys(table, names, "misfit.")
        rates = [name for name in names if name.endswith("_rate")]
        measured = [name for name in names if name not in ("splits", *rates)]
        found: dict[str, Any] = {
            name: self.range(table[name], f"misfit.{name}") for name in measured if name in table
        }
        for name in rates:
            found[name] = self.number(table.get(name, 0.0), f"misfit.{name}", zero=True)
        splits = self.number(table.get("splits", 0), "misfit.splits", zero=True)
        for name in ("parameters", "tokens", "flops"):
            if name not in found:
                self.problems.append(f"misfit.{name}: the range is missing")
        if self.problems or splits is None:
            return None
        return Misfit(**found, splits=int(splits))

    def draws(self, value: Any, directory: Path | None) -> Path | None:
        if value is None:
            return None
        if not isinstance(value, str) or directory is None:
            self.problems.append(f"draws = {value!r}: must name an .npz file beside the TOML file")
            return None
        path = directory / value
        if not path.is_file():
            self.problems.append(f"draws = {value!r}: no such file beside the TOML file")
            return None
        return path
