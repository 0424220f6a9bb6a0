"""Training once and serving for months."""

from __future__ import annotations

import numpy as np
import pytest

from coefficients import load
from laws.flops import two_n
from laws.lifetime import Serving, Shares, best_loss, cheapest, device_flops

COEFFICIENTS = load("busbridge2025")
LAW = COEFFICIENTS.supervised
NONE = Serving(0, 0, 0, 0)
EVEN = Shares(0.4, 0.4, 0.4)


def test_a_lifetime_of_serving() -> None:
    """Requests x tokens x months; decoding at a tenth of the utilisation takes tenfold time."""
    served = Serving(requests=1e6, prompt=1000, completion=200, months=24)
    assert served.prefill_tokens == 2.4e10
    assert served.decode_tokens == pytest.approx(4.8e9)
    assert served.weighted_tokens(0.4, 0.4, 0.4) == pytest.approx(served.tokens)
    assert served.weighted_tokens(0.4, 0.04, 0.4) == pytest.approx(2.4e10 + 4.8e10)
    both = device_flops(two_n(), 1e9, 1e10, served, Shares(0.4, 0.4, 0.04))
    assert both == pytest.approx(2e9 * (3e10 + 2.4e10 + 4.8e10) / 0.4)


def test_without_serving_the_cheapest_size_is_compute_optimal() -> None:
    """Then the least cost at a loss and the least loss at a cost are one model."""
    found = cheapest(lambda n: LAW.tokens_for_loss(n, 2.2), two_n(), NONE, EVEN)
    assert found is not None
    dual = best_loss(LAW.loss, two_n(), NONE, found.device_flops, EVEN)
    assert dual is not None
    assert dual[1] == pytest.approx(2.2, abs=1e-6)
    assert dual[0].parameters == pytest.approx(found.parameters, rel=0.01)
    assert found.device_flops * 0.4 == pytest.approx(6 * found.parameters * found.tokens)


def test_the_heavier_the_load_the_smaller_the_model() -> None:
    """Sardana et al.'s finding, and slow decoding makes it smaller still."""

    def size(requests: float, decode: float) -> float:
        found = cheapest(
            lambda n: LAW.tokens_for_loss(n, 2.2),
            two_n(),
            Serving(requests, 1000, 500, 12),
            Shares(decode=decode),
        )
        assert found is not None
        return found.parameters

    sizes = [size(requests, 0.05) for requests in (1e3, 1e7, 1e9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.8 * sizes[0]
    assert size(1e9, 0.01) < size(1e9, 0.4)


def test_a_distilled_student_can_serve_the_same_loss_for_less() -> None:
    """With a teacher that exists, fewer tokens reach the loss; its inference is paid."""
    served = Serving(1e8, 1000, 500, 12)
    direct = cheapest(lambda n: LAW.tokens_for_loss(n, 2.2), two_n(), served)
    law = COEFFICIENTS.distillation
    assert law is not None
    taught = cheapest(
        lambda n: law.tokens_for_loss(n, np.asarray(2.05), 2.2),
        two_n(),
        served,
        teacher_flops_per_token=2 * 7e9,
    )
    assert direct is not None
    assert taught is not None
    assert law.loss(taught.parameters, taught.tokens, 2.05) == pytest.approx(2.2, abs=1e-6)
    assert taught.device_flops != direct.device_flops


def test_what_no_size_reaches_has_no_cheapest() -> None:
    """Below the law's floor, or a budget that serving alone exceeds."""
    assert cheapest(lambda n: LAW.tokens_for_loss(n, 1.0), two_n(), NONE) is None
    assert best_loss(LAW.loss, two_n(), Serving(1e12, 1e3, 1e3, 12), 1e18) is None
