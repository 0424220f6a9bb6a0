"""Writing a set and reading it again gives the same set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from coefficients import CoefficientError, CoefficientSet, Domain, Quality, available, dumps, load
from coefficients.scatter import Scatter
from laws import Family, KaplanLaw, SupervisedLaw
from laws.flops import transformer, two_n


def again(chosen: CoefficientSet, folder: Path) -> CoefficientSet:
    """The set after a way through a file."""
    if chosen.draws_path is not None:
        (folder / chosen.draws_path.name).write_bytes(chosen.draws_path.read_bytes())
    path = folder / "again.toml"
    path.write_text(dumps(chosen), encoding="utf-8")
    return replace(load(path), draws_path=chosen.draws_path)


@pytest.mark.parametrize("name", available())
def test_shipped_sets_come_back(name: str, tmp_path: Path) -> None:
    """Laws, intervals, domain, source, quality, scatter, draws and convention survive."""
    assert again(load(name), tmp_path) == load(name)


def test_every_field_comes_back(tmp_path: Path) -> None:
    """Fields that no shipped set uses, and shapes other than the usual ones."""
    family = Family(aspect_ratio=64, ffn_ratio=4.0, ffn_matrices=2, kv_group=8)
    made = replace(
        load(),
        name='a "quoted" name',
        form=KaplanLaw(8.8e13, 5.4e13, 0.076, 0.095),
        distillation=None,
        intervals={"supervised.N_c": (8e13, 9e13)},
        flops=transformer(8192, 50_257, 64, 4.0, 2, 8),
        architectures=family,
        domain=Domain(tokens=(1e9, 2e11)),
        quality=Quality(False, 0.1, 0.5, 12, 9, ("A, B", "c1"), 64, "size", 6, 0.5),
        scatter=Scatter((-0.1, 0.1), coverage_law=0.5),
    )
    assert again(made, tmp_path) == made
    plain = replace(made, flops=two_n(), second_opinion=None, scatter=None, quality=Quality())
    assert again(plain, tmp_path) == plain


def test_a_law_without_a_name_is_refused() -> None:
    """A file could not ask for it."""

    class Mine(SupervisedLaw):
        pass

    with pytest.raises(CoefficientError, match=r"Mine has no name in laws\.SUPERVISED_LAWS"):
        dumps(replace(load(), form=Mine(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("converged = 1", "quality.converged = 1: must be true or false"),
        ("runs = 1.5", "quality.runs = 1.5: must be a whole number"),
        ("undetermined = [1]", r"quality.undetermined = \[1\]: must be a list of texts"),
        ("convrged = true", "did you mean converged"),
    ],
)
def test_a_bad_quality_is_named(line: str, words: str, tmp_path: Path) -> None:
    """The table is read as strictly as the others."""
    path = tmp_path / "bad.toml"
    path.write_text(dumps(load("hoffmann2022")) + f"\n[quality]\n{line}\n", encoding="utf-8")
    with pytest.raises(CoefficientError, match=words):
        load(path)
