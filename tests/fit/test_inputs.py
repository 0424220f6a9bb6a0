"""Files that look right and are not: what the reader and the report say of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from laws import SupervisedLaw
from planner.errors import DocumentError
from planner.fit import FORMS, Rows, Task, bootstrap, fit, read_runs, unidentified
from planner.fit.analysis import analyse
from planner.fit.bootstrap import mirrored
from planner.fit.judge import outliers
from planner.fit.rows import implausible
from planner.fit.runs import parse_runs
from tests.fit.simulated import distillations, supervised

RUNS = ["1.3e8,2.6e9,3.41", "4.1e8,8.2e9,2.97", "1.01e9,2.02e10,2.66"]


def text(header: str, lines: list[str]) -> bytes:
    """A CSV file."""
    return "\n".join([header, *lines, ""]).encode()


@pytest.mark.parametrize(
    "lines",
    [
        ["1,3e+08;2,6e+09;3,41", "4,1e+08;8,2e+09;2,97", "1,01e+09;2,02e+10;2,66"],
        ["130.000.000;2.600.000.000;3,41", "410.000.000;8.200.000.000;2,97",
         "1.010.000.000;20.200.000.000;2,66"],
    ],
)  # fmt: skip
def test_decimal_commas(lines: list[str]) -> None:
    """A spreadsheet with semicolons and decimal commas is read, and said to be."""
    found = parse_runs(text("parameters;tokens;cross_entropy", lines), "runs.csv", False)
    plain = parse_runs(text("parameters,tokens,cross_entropy", RUNS), "runs.csv", False)
    for name in ("parameters", "tokens", "loss"):
        np.testing.assert_allclose(getattr(found.rows, name), getattr(plain.rows, name))
    assert any("decimal commas" in remark for remark in found.remarks)
    assert plain.remarks == ()


def test_semicolons_with_points_stay_as_they_are() -> None:
    """Without a comma that must be a decimal one nothing is reinterpreted."""
    lines = [line.replace(",", ";") for line in RUNS]
    found = parse_runs(text("N;D;loss", lines), "runs.csv", False)
    assert found.rows.loss.tolist() == [3.41, 2.97, 2.66]
    assert found.remarks == ()


def test_rows_left_out_are_said() -> None:
    """Comments and blank rows below the header are named; unread columns too."""
    lines = [f"{RUNS[0]},a", "# bad run,,,", "", f"{RUNS[1]},b"]
    found = parse_runs(text("N,D,loss,cluster", lines), "runs.csv", False)
    said = " ".join(found.remarks)
    assert "1 row(s) left out as comments (they begin with #): 3." in said
    assert "1 blank row(s) left out." in said
    assert "Columns not read: cluster." in said


def test_flops_that_contradict_sizes_and_tokens() -> None:
    """Ten times 6 N D is remarked upon, 1.2 times (attention, embeddings) is not."""
    for factor, odd in ((10.0, True), (1.2, False)):
        lines = []
        for line in RUNS:
            size, tokens, loss = map(float, line.split(","))
            lines.append(f"{line},{factor * 6 * size * tokens:.6g}")
            assert loss > 0
        said = parse_runs(text("N,D,loss,flops", lines), "runs.csv", False).remarks
        assert any("times 6 N D" in each for each in said) is odd


@pytest.mark.parametrize(
    "header",
    ["model size,training tokens,test_loss", "N (non-embedding),D,ce", "n_nonemb,tokens,nll",
     "non-embedding params,n tokens,train loss", "num_params,num_tokens,L"],
)  # fmt: skip
def test_headers_in_use(header: str) -> None:
    """Names that papers and logs use are read."""
    assert len(parse_runs(text(header, RUNS), "runs.csv", False).rows) == 3


def test_other_headers_are_guessed() -> None:
    """What is not read is guessed, and a loss in another unit gets its conversion."""
    with pytest.raises(DocumentError) as caught:
        parse_runs(text("params_B,tokens_B,bpb", RUNS), "runs.csv", False)
    said = " ".join(caught.value.problems)
    assert "is it 'params_B'?" in said
    assert "is it 'tokens_B'?" in said
    assert "'bpb' holds bits per byte: multiply by ln 2 times the bytes per token" in said
    assert "validation_loss" in said


def test_bits_are_noticed() -> None:
    """Losses 1 / ln 2 too high look like bits per token."""
    runs = supervised()
    assert "multiply them by 0.6931" in " ".join(
        implausible(replace(runs, loss=runs.loss / np.log(2)))
    )


@pytest.mark.parametrize("bits", [False, True])
def test_losses_the_wrong_way_round_are_refused(tmp_path: Path, bits: bool) -> None:
    """Swapped columns, or teachers in bits, are a mistake and no fit."""
    rows = distillations(runs=40)
    assert rows.teacher_loss is not None
    teacher, student = rows.teacher_loss, rows.loss
    teacher, student = (teacher / np.log(2) * 1.1, student) if bits else (student * 1.1, teacher)
    path = tmp_path / "runs.csv"
    np.savetxt(
        path, np.stack([rows.parameters, rows.tokens, teacher, student], axis=1), "%.8g", ",",
        header="N,D,teacher_loss,loss", comments="",
    )  # fmt: skip
    with pytest.raises(DocumentError, match="beat their teacher") as caught:
        read_runs(path, True)
    assert "swapped" in caught.value.problems[0]


def test_a_range_that_reaches_zero_has_no_mirror_image() -> None:
    """A draw's end of exactly zero was a division by zero."""
    assert mirrored(0.0, 0.0, 1e-9) == (0.0, 1e-9)
    assert mirrored(0.5, 2.0, 1.0) == (0.5, 2.0)


def test_many_runs_need_little_memory() -> None:
    """20,000 runs asked for a square matrix of their number."""
    rows = supervised(20_000)
    point = fit(Task(FORMS["hoffmann"], rows), "plain", density=4)
    assert point.values["alpha"] == pytest.approx(0.35, abs=5e-3)


def test_without_a_bootstrap_nothing_is_called_determined() -> None:
    """Linearised ranges of few runs hold the truth far less often than they state."""
    point = fit(Task(FORMS["supervised"], supervised(30)), "plain", density=3)
    alone = unidentified(point)
    assert alone
    assert all(not each.instead for each in alone)
    assert any(each.instead for each in unidentified(point, bootstrap(point, 64)))


def test_few_runs_have_no_outliers() -> None:
    """A fit of 5 coefficients to 8 runs passes through 5 of them: the others prove nothing."""
    point = fit(Task(FORMS["hoffmann"], supervised(8)), "plain", density=3)
    assert outliers(point) == ()


def test_repeated_data_are_named_and_not_blamed_on_the_run() -> None:
    """Runs of many epochs miss a law of sizes and tokens: the law is at fault."""
    rows = supervised(60, noise=0.002)
    unique = rows.tokens.copy()
    unique[:6] /= 40.0
    loss = rows.loss.copy()
    loss[:6] *= 1.2
    point = fit(Task(FORMS["hoffmann"], replace(rows, loss=loss, unique_tokens=unique)), "plain")
    found = analyse(point, judgement=False)
    assert any("repeat their data more than 4 times" in each for each in found.remarks)
    assert {each.row for each in found.outliers} >= set(range(6))
    assert all("40 epochs" in each.remark for each in found.outliers if each.row < 6)
    assert not any("repeat" in each for each in implausible(rows))


def test_a_size_in_another_unit_is_guessed() -> None:
    """A thousandfold error in one size is found by its factor, though no other run has the size."""
    rows = supervised(60, noise=0.001)
    sizes = rows.parameters.copy()
    sizes[3] /= 1e3
    point = fit(Task(FORMS["hoffmann"], replace(rows, parameters=sizes)), "plain")
    assert "instead of" in outliers(point)[0].remark
    assert outliers(point)[0].row == 3


def test_errors_of_fitted_runs_are_called_that() -> None:
    """A form that bends the wrong way extrapolates worse than it fits, and the report says so."""
    random = np.random.default_rng(0)
    size = np.geomspace(5e7, 1e10, 12).repeat(6)
    tokens = np.tile(np.geomspace(1e9, 1e12, 6), 12)
    law = SupervisedLaw(1.2, 3355.0, 18186.0, 0.408, 0.431, 0.452)
    loss = law.loss(size, tokens) * np.exp(0.001 * random.normal(size=size.size))
    point = fit(Task(FORMS["hoffmann"], Rows(size, tokens, loss)), "plain")
    found = analyse(point)
    assert found.extrapolation is not None
    assert any("alone, the law misses those below" in each for each in found.remarks)
