"""Repeated data against the published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laws.repetition import Repetition, muennighoff2023
from laws.supervised import HoffmannLaw

LAW, REPETITION = muennighoff2023()
POSITIVE = st.floats(1e6, 1e14)


def test_the_constants_are_the_papers() -> None:
    """Table 1: E, A, B, alpha and the decay constants; about 20 tokens per parameter."""
    assert abs(LAW.E - 1.87) < 0.005
    assert abs(LAW.A - 521) < 0.5
    assert abs(LAW.B - 1488) < 0.5
    assert LAW.alpha == pytest.approx(0.353, abs=0.0005)
    assert REPETITION.tokens_decay == pytest.approx(15.4, abs=0.05)
    assert REPETITION.size_decay == pytest.approx(5.3, abs=0.05)
    assert 1 / REPETITION.tokens_per_parameter == pytest.approx(0.051, abs=0.0005)


def test_the_published_allocation_for_25b_unique_tokens() -> None:
    """At the FLOPs of 8.67B parameters on 178B tokens: 227B tokens, 9.1 epochs, 6.8B parameters."""
    product = 8.67e9 * 178e9
    sizes = np.geomspace(3e9, 3e10, 20_001)
    losses = REPETITION.loss(LAW, sizes, product / sizes, 25e9)
    best = sizes[np.argmin(losses)]
    assert best == pytest.approx(6.8e9, rel=0.01)
    assert product / best == pytest.approx(227e9, rel=0.01)
    assert product / best / 25e9 == pytest.approx(9.1, abs=0.1)


def test_four_epochs_are_nearly_as_good_as_new_data() -> None:
    """Sec. 6: up to four epochs little is lost; far beyond, nearly everything."""
    unique = 1e10
    assert REPETITION.effective_tokens(4 * unique, unique) > 0.9 * 4 * unique
    assert REPETITION.effective_tokens(100 * unique, unique) < 17 * unique


@given(POSITIVE, POSITIVE)
def test_repetition_only_ever_loses(tokens: float, unique: float) -> None:
    """D' lies between the unique tokens and all of them, below its limit, and equals D for new."""
    effective = float(REPETITION.effective_tokens(tokens, unique))
    seen = min(tokens, unique)
    assert seen * (1 - 1e-12) <= effective <= tokens * (1 + 1e-12)
    assert effective <= (1 + REPETITION.tokens_decay) * seen * (1 + 1e-12)
    if tokens <= unique:
        assert effective == pytest.approx(tokens)


@given(POSITIVE, st.floats(1, 100))
def test_the_inverse_returns_the_tokens(unique: float, epochs: float) -> None:
    """Tokens for effective tokens undoes it; beyond the limit nothing suffices."""
    effective = REPETITION.effective_tokens(epochs * unique, unique)
    assert REPETITION.tokens_for_effective(effective, unique) == pytest.approx(epochs * unique)
    assert REPETITION.tokens_for_effective(17 * unique, unique) == np.inf


def test_other_laws_take_the_tokens_alone() -> None:
    """Without R_N* the size is not discounted; without repetition the law is itself."""
    law = HoffmannLaw(1.7, 406.4, 410.7, 0.34, 0.28)
    alone = Repetition(size_decay=None)
    assert alone.effective_parameters(1e12, 1e6) == 1e12
    assert alone.loss(law, 1e9, 2e10, 1e12) == law.loss(1e9, 2e10)
    assert alone.loss(law, 1e9, 2e10, 5e9) > law.loss(1e9, 2e10)


@given(POSITIVE, POSITIVE)
def test_surplus_parameters_are_discounted(size: float, unique: float) -> None:
    """N' is at most N, and N where the unique tokens support it."""
    effective = float(REPETITION.effective_parameters(size, unique))
    assert effective <= size * (1 + 1e-12)
    if size <= unique / REPETITION.tokens_per_parameter:
        assert effective == pytest.approx(size)
