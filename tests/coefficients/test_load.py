"""Coefficient sets: what ships, what a user's file may say, and how a bad one is answered."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli
import tomli_w

from coefficients import CoefficientError, available, load, parse
from coefficients.domain import Domain
from laws import HoffmannLaw, KaplanLaw, SupervisedLaw

SHIPPED = Path(__file__).parents[2] / "coefficients"


def document() -> dict[str, Any]:
    """The default set's file as a dictionary, to spoil one thing at a time."""
    return tomli.loads((SHIPPED / "busbridge2025.toml").read_text(encoding="utf-8"))


def problems(spoilt: dict[str, Any]) -> tuple[str, ...]:
    """Every problem that the loader finds."""
    with pytest.raises(CoefficientError) as caught:
        parse(spoilt)
    return caught.value.problems


def test_shipped_sets_are_listed_default_first() -> None:
    """The four sets ship, the default leads."""
    assert available() == [
        "busbridge2025-refit",
        "besiroglu2024",
        "busbridge2025",
        "hoffmann2022",
    ]


@pytest.mark.parametrize("name", available())
def test_every_shipped_set_loads(name: str) -> None:
    """Each set has its name, source, convention and domain, and its laws give sane losses."""
    found = load(name)
    assert found.name == name
    assert found.source.title
    assert found.source.citation
    assert found.source.location
    assert found.source.kind == ("fit" if name.endswith("-refit") else "published")
    assert found.flops.convention
    assert found.domain.known
    assert (found.draws_path is not None) == name.endswith("-refit")
    assert 1.5 < found.supervised.loss(1e9, 2e10) < 3.0


def test_the_published_set_is_table_6() -> None:
    """Values and intervals of Table 6, to the digits printed."""
    found = load("busbridge2025")
    law = found.distillation
    assert law is not None
    assert found.supervised == SupervisedLaw(1.220, 3355, 18186, 0.408, 0.431, 0.452)
    assert (law.A, law.B, law.alpha, law.beta, law.gamma) == (2243, 24181, 0.321, 0.637, 0.764)
    assert (law.c0, law.c1, law.d1, law.f1) == (2.549, 522.6, 1.315, 0.090)
    assert law.supervised == found.supervised
    assert found.intervals["supervised.E"] == (1.190, 1.247)
    assert found.intervals["distillation.f1"] == (0.088, 0.093)
    assert len(found.intervals) == 15
    for key, (low, high) in found.intervals.items():
        owner, name = key.split(".")
        assert low <= getattr(getattr(found, owner), name) <= high


def test_supervised_only_sets() -> None:
    """Hoffmann and its replication have no distillation law and count 2N."""
    for name in ("hoffmann2022", "besiroglu2024"):
        found = load(name)
        assert found.distillation is None
        assert isinstance(found.form, HoffmannLaw)
        assert found.flops.per_token(1e9) == 2e9
        assert found.supervised.gamma == 1.0


def test_round_trip_by_path(tmp_path: Path) -> None:
    """A user's file loads by path exactly as a shipped one by name; the file names the set."""
    for name in available():
        text = (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
        copy = tmp_path / f"{name}.toml"
        copy.write_text(text, encoding="utf-8")
        draws = load(name).draws_path
        if draws is not None:
            shutil.copy(draws, tmp_path)
        found = replace(load(copy), draws_path=draws)
        assert found == load(name) == replace(load(str(copy)), draws_path=draws)
    nameless = document()
    del nameless["name"]
    path = tmp_path / "ours.toml"
    path.write_text(tomli_w.dumps(nameless), encoding="utf-8")
    assert load(path).name == "ours"


def test_numbers_and_tables_mix(tmp_path: Path) -> None:
    """Each coefficient is a number or a table with an interval; both give the same law."""
    plain = document()
    for table in ("supervised", "distillation"):
        plain[table] = {key: entry["value"] for key, entry in plain[table].items()}
    found = parse(plain, "plain")
    assert found.distillation == load("busbridge2025").distillation
    assert found.intervals == {}


def test_kaplan_form_loads() -> None:
    """The third form has its own coefficient names."""
    found = parse(
        {"supervised": {"form": "kaplan", "N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076,
                        "alpha_D": 0.095}}
    )  # fmt: skip
    assert isinstance(found.form, KaplanLaw)
    assert found.supervised.E == 0.0
    assert not found.domain.known


def test_draws_beside_the_file(tmp_path: Path) -> None:
    """draws names a file beside the set; a missing one is a problem, not a late surprise."""
    given = document() | {"draws": "ours.npz"}
    path = tmp_path / "ours.toml"
    path.write_text(tomli_w.dumps(given), encoding="utf-8")
    with pytest.raises(CoefficientError, match=r"draws = 'ours\.npz': no such file"):
        load(path)
    (tmp_path / "ours.npz").write_bytes(b"")
    assert load(path).draws_path == tmp_path / "ours.npz"
    assert "must name an .npz file" in problems(given)[0]
    assert "must name an .npz file" in problems(document() | {"draws": 3})[0]


BAD_NUMBERS = [0, 0.0, -1, -0.4, math.nan, math.inf, -math.inf, 10**400, "3355", True, [1], None]


@pytest.mark.parametrize("value", BAD_NUMBERS, ids=lambda v: repr(v)[:12])
@pytest.mark.parametrize("where", ["supervised.A", "distillation.f1", "supervised.gamma"])
@pytest.mark.parametrize("nested", [False, True])
def test_bad_coefficients(value: Any, where: str, nested: bool) -> None:
    """Zero, negative, NaN, infinite, huge and non-numbers are each named with key and value."""
    table, key = where.split(".")
    spoilt = document()
    spoilt[table][key] = {"value": value} if nested else value
    (found,) = problems(spoilt)
    assert found.startswith(f"{where} = ")
    assert ("inf" if value == 10**400 else repr(value).split(".")[0]) in found
    assert "must be" in found


@pytest.mark.parametrize("key", ["E", "c0"])
def test_zero_where_zero_makes_sense(key: str) -> None:
    """E = 0 (no floor) and c0 = 0 are laws; negative ones are not."""
    table = "supervised" if key == "E" else "distillation"
    given = document()
    given[table][key] = 0
    assert getattr(parse(given), table) is not None
    given[table][key] = -1
    assert problems(given) == (f"{table}.{key} = -1.0: must be finite and zero or more",)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([2, 1], "low is above high"),
        ([1], "must be [low, high]"),
        ([1, 2, 3], "must be [low, high]"),
        (5, "must be [low, high]"),
        ("1-2", "must be [low, high]"),
        ([1, "2"], "must be a number"),
        ([-1, 2], "must be finite and zero or more"),
        ([1, math.inf], "must be finite and zero or more"),
        ([math.nan, 2], "must be finite and zero or more"),
    ],
)
def test_bad_ranges(value: Any, says: str) -> None:
    """Ranges of domains and intervals are checked alike."""
    spoilt = document()
    spoilt["domain"]["tokens"] = value
    spoilt["supervised"]["A"] = {"value": 3355, "interval": value}
    found = problems(spoilt)
    assert len(found) == 2
    assert {text.split(" = ")[0].split("[")[0] for text in found} == {
        "domain.tokens",
        "supervised.A.interval",
    }
    assert all(says in text for text in found)


def test_every_problem_is_listed_at_once() -> None:
    """One load tells everything that is wrong, so that one edit mends it."""
    spoilt = document()
    spoilt["supervised"]["A"] = -1
    del spoilt["supervised"]["beta"]
    spoilt["supervised"]["gama"] = 0.4
    spoilt["distillation"]["c1"] = "many"
    spoilt["domain"]["token"] = [1, 2]
    spoilt["domain"]["parameters"] = [2, 1]
    spoilt["flops"]["convention"] = "3N"
    spoilt["flops"]["context"] = 0
    spoilt["source"]["title"] = 7
    spoilt["name"] = 4
    spoilt["supervized"] = {}
    expected = {
        "supervised.A = -1.0: must be finite and positive",
        "supervised.beta: the coefficient is missing",
        "supervised.gama: unknown key; did you mean gamma?",
        "distillation.c1 = 'many': must be a number",
        "domain.token: unknown key; did you mean tokens?",
        "domain.parameters = [2, 1]: low is above high",
        "flops.convention = '3N': must be 'transformer' (Eq. 69) or '2N'",
        "flops.context = 0.0: must be finite and positive",
        "source.title = 7: must be text",
        "name = 4: must be text",
        "supervized: unknown key; did you mean supervised?",
    }
    assert set(problems(spoilt)) == expected
    with pytest.raises(CoefficientError) as caught:
        parse(spoilt, "ours")
    message = str(caught.value)
    assert "'ours' has 11 problem(s)" in message
    assert all(text in message for text in expected)


@pytest.mark.parametrize("table", ["supervised", "distillation", "domain", "flops", "source"])
@pytest.mark.parametrize("value", [3, "text", [1, 2]])
def test_tables_must_be_tables(table: str, value: Any) -> None:
    """A number where a table belongs is one clear problem."""
    assert (
        problems(document() | {table: value})[0]
        == f"{table} = {value!r}: must be a table [{table}]"
    )


@pytest.mark.parametrize("form", ["chinchilla", ["busbridge"], {"a": 1}, 5])
def test_unknown_forms(form: Any) -> None:
    """An unknown law is named with the known ones, whatever its type."""
    spoilt = document()
    spoilt["supervised"]["form"] = form
    (found,) = problems(spoilt)
    assert found == (f"supervised.form = {form!r}: unknown law; known: busbridge, hoffmann, kaplan")


@pytest.mark.parametrize(
    "key", ["context", "vocabulary", "aspect_ratio", "ffn_matrices", "kv_group"]
)
def test_flops_keys_are_whole_numbers(key: str) -> None:
    """Half a key-value group is refused rather than cut to zero."""
    spoilt = document()
    spoilt["flops"][key] = 0.5
    assert problems(spoilt) == (f"flops.{key} = 0.5: must be a whole number",)


def test_flops_reach_law_and_architectures() -> None:
    """The table's shape sets the FLOP convention and the buildable models alike."""
    given = document()
    given["flops"] |= {"kv_group": 8, "context": 8192}
    found = parse(given)
    assert found.architectures.kv_group == 8
    assert "8,192" in found.flops.convention
    assert found.flops.per_token(1e9) != load().flops.per_token(1e9)


def test_missing_supervised_table() -> None:
    """Without a supervised law there is no set."""
    assert problems({"distillation": document()["distillation"]}) == (
        "[supervised]: the table is missing",
    )


@pytest.mark.parametrize(
    ("wrong", "suggested"),
    [
        ("busbridge", "busbridge2025"),
        ("hofmann2022", "hoffmann2022"),
        ("besiroglu", "besiroglu2024"),
    ],
)
def test_unknown_names_get_suggestions(wrong: str, suggested: str) -> None:
    """A near miss is answered with the name meant and all shipped names."""
    with pytest.raises(CoefficientError, match=f"Did you mean {suggested}") as caught:
        load(wrong)
    assert all(name in str(caught.value) for name in available())


@pytest.mark.parametrize("name", ["zzzz", "", "x" * 5000])
def test_hopeless_names(name: str) -> None:
    """No suggestion is forced, and no name breaks the loader."""
    with pytest.raises(CoefficientError, match="Unknown coefficient set") as caught:
        load(name)
    assert "Did you mean" not in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    """Missing, malformed, binary: each says which file and why."""
    with pytest.raises(CoefficientError, match="does not exist; check the path"):
        load(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[supervised\nA = 1", encoding="utf-8")
    with pytest.raises(CoefficientError, match=r"bad\.toml' is not valid TOML: .*line 1"):
        load(bad)
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CoefficientError, match=r"bad\.toml' cannot be read"):
        load(bad)
    with pytest.raises(CoefficientError, match="does not exist"):
        load(f"{tmp_path}/")


def test_domain_falls_back_from_role_to_kind() -> None:
    """student_tokens falls back to tokens; a narrower range of its own wins."""
    domain = Domain(tokens=(1.0, 2.0), teacher_parameters=(3.0, 4.0))
    assert domain.of("student_tokens") == (1.0, 2.0)
    assert domain.of("teacher_tokens") == (1.0, 2.0)
    assert domain.of("teacher_parameters") == (3.0, 4.0)
    assert domain.of("student_parameters") is None
    assert domain.of("teacher_cross_entropy") is None
    assert domain.known
    assert not Domain().known


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"quantiles": [0.1, -0.1]}, "scatter.quantiles"),
        ({"quantiles": [True, 2.0]}, "scatter.quantiles"),
        ({"quantiles": "wide"}, "scatter.quantiles"),
        ({}, "scatter.quantiles"),
        ({"quantiles": [-0.1, 0.1], "coverage": 90}, "scatter.coverage = 90.0: must be a share"),
        ({"quantiles": [-0.1, 0.1], "covrage": 0.9}, "did you mean coverage"),
    ],
)
def test_bad_scatter_is_named(table: dict[str, Any], words: str) -> None:
    """The scatter of single runs is checked like everything else in a file."""
    assert words in problems({**document(), "scatter": table})[0]


def test_scatter_spreads_draws_by_the_stated_quantiles() -> None:
    """Added to one value, the scatter gives back its own quantiles, whatever the shape."""
    found = parse({**document(), "scatter": {"quantiles": [-0.02, -0.01, 0.0, 0.01, 0.02]}}).scatter
    assert found is not None
    spread = found.spread(np.full((1000, 2), 2.0))
    assert np.log(np.quantile(spread, [0.05, 0.5, 0.95], axis=0) / 2.0) == pytest.approx(
        np.array([[-0.018] * 2, [0.0] * 2, [0.018] * 2]), abs=1e-4
    )
