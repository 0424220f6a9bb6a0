"""The chunked loss against the plain one."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from planner.errors import PlannerError
from planner.trainer.loss import (
    IGNORE,
    TERMS,
    Dense,
    Full,
    LinearLoss,
    Objective,
    Signal,
    Sparse,
    kept,
    target,
)

M, D, T, V = 37, 8, 12, 50
Z = 1e-2


def problem(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    labels = torch.randint(V, (M,), generator=generator)
    labels[::5] = IGNORE
    hidden, head = normal(M, D).requires_grad_(), normal(V, D).requires_grad_()
    return hidden, head, labels, normal(M, T), normal(V, T)


def naive(
    objective: Objective | None, hidden: Tensor, head: Tensor, labels: Tensor, teacher: Tensor
) -> Tensor:
    """The definition, written with full logits and PyTorch's own losses; sum over tokens."""
    keep = labels != IGNORE
    logits, teacher, labels = (hidden @ head.T)[keep], teacher[keep], labels[keep]
    z = torch.logsumexp(logits, -1).square().sum()
    ce = functional.cross_entropy(logits, labels, reduction="sum")
    if objective is None:
        return ce + Z * z
    tau = objective.temperature
    log_q, log_p = (torch.log_softmax(x / tau, -1) for x in (logits, teacher))
    if objective.top_k or objective.top_p:
        log_q, log_p = truncated(objective, log_q, log_p)
    if objective.direction == "jsd":
        p, q, beta = log_p.exp(), log_q.exp(), objective.beta
        m = beta * p + (1 - beta) * q
        kd = beta * (torch.special.xlogy(p, p) - torch.special.xlogy(p, m)).sum()
        kd = kd + (1 - beta) * (q * (log_q - m.log())).sum()
    elif objective.direction == "forward":
        kd = -(log_p.exp() * log_q.masked_fill(log_p == -torch.inf, 0)).sum()
    else:
        kd = functional.kl_div(log_p, log_q, log_target=True, reduction="sum")
    return (1 - objective.mixing) * ce + objective.mixing * tau**2 * kd + Z * z


def truncated(objective: Objective, log_q: Tensor, log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Both distributions over what is kept, and one more outcome for the tail if it is a bucket."""
    rows = []
    for q, p in zip(log_q, log_p, strict=True):
        order = p.argsort(descending=True)[: objective.top_k]
        if objective.top_p:
            before = p[order].exp().cumsum(0) - p[order].exp()
            order = order[before < objective.top_p]
        if objective.tail == "renormalise":
            full = torch.full_like(p, -torch.inf)
            full[order] = torch.log_softmax(p[order], 0)
            rows.append((q, full))
        else:
            pairs = [
                torch.cat((x[order], torch.log1p(-x[order].exp().sum())[None])) for x in (q, p)
            ]
            rows.append(tuple(functional.pad(x, (0, V - len(x)), value=-torch.inf) for x in pairs))
    q, p = (torch.stack(x) for x in zip(*rows, strict=True))
    if objective.tail == "bucket":  # absent outcomes have mass 0 on both sides
        q, p = q.masked_fill(q == -torch.inf, -1e4), p.masked_fill(p == -torch.inf, -1e4)
    return q, p


OBJECTIVES = {
    "supervised": None,
    "distilled": Objective(),
    "warm": Objective(temperature=2.0),
    "mixed": Objective(mixing=0.3, temperature=0.5),
    "reverse": Objective(direction="reverse", temperature=1.5),
    "top-k": Objective(top_k=7),
    "top-k, bucket": Objective(top_k=7, tail="bucket"),
    "top-k, bucket, warm": Objective(top_k=7, tail="bucket", temperature=2.0),
    "top-p": Objective(top_p=0.8, mixing=0.6),
    "both": Objective(top_k=9, top_p=0.7),
    "jsd": Objective(direction="jsd", temperature=1.5),
    "jsd, near the student": Objective(direction="jsd", beta=0.9, mixing=0.4),
    "jsd, top-k": Objective(direction="jsd", beta=0.3, top_k=7),
    "reverse, bucket": Objective(direction="reverse", top_k=5, tail="bucket"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("elements", [1, 7 * V, 1_000 * V])
def test_chunked_loss_and_gradients_equal_the_naive_ones(name: str, elements: int) -> None:
    """Every objective has the value and the gradients of its definition, in any chunking."""
    objective = OBJECTIVES[name]
    hidden, head, labels, teacher_hidden, teacher_head = problem(torch.float32)
    expected = naive(
        objective,
        hidden.double(),
        head.double(),
        labels,
        (teacher_hidden @ teacher_head.T).double(),
    )
    wanted = torch.autograd.grad(expected, (hidden, head))
    signal = Dense(teacher_hidden, teacher_head) if objective else None
    loss, sums = LinearLoss(objective, Z, elements=elements)(hidden, head, labels, signal)
    got = torch.autograd.grad(loss, (hidden, head))
    assert loss.item() == pytest.approx(expected.item(), rel=2e-5)
    assert sums[TERMS.index("tokens")].item() == (labels != IGNORE).sum().item()
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["supervised", "mixed", "reverse", "top-k, bucket"])
def test_padding_of_the_vocabulary_changes_nothing(name: str) -> None:
    """Rows that mean no token leave loss and gradients as they are and get none themselves."""
    objective = OBJECTIVES[name]
    hidden, head, labels, teacher_hidden, teacher_head = problem(torch.float32)
    signal = Dense(teacher_hidden, teacher_head) if objective else None
    loss, _ = LinearLoss(objective, Z, elements=7 * V)(hidden, head, labels, signal)
    wanted = torch.autograd.grad(loss, (hidden, head))
    wide = torch.cat((head.detach(), torch.randn(14, D))).requires_grad_()
    if objective:
        signal = Dense(teacher_hidden, torch.cat((teacher_head, torch.randn(6, T))), V)
    padded = LinearLoss(objective, Z, elements=7 * V, vocabulary=V)
    again, _ = padded(hidden, wide, labels, signal)
    got = torch.autograd.grad(again, (hidden, wide))
    assert again.item() == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(got[0], wanted[0])
    torch.testing.assert_close(got[1][:V], wanted[1])
    assert not got[1][V:].any()


def test_agrees_with_torchs_own_chunked_cross_entropy() -> None:
    """The supervised loss is that of `linear_cross_entropy`, where PyTorch has it."""
    if not hasattr(functional, "linear_cross_entropy"):
        pytest.skip("this PyTorch has no linear_cross_entropy")
    hidden, head, labels, _, _ = problem(torch.float32)
    ours = LinearLoss(None, elements=5 * V)(hidden, head, labels)[0]
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=5)
    theirs = functional.linear_cross_entropy(hidden, head, labels, reduction="sum", options=options)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(
        torch.autograd.grad(ours, (hidden, head)),
        torch.autograd.grad(theirs, (hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_kl_and_teacher_cross_entropy_differ_by_the_entropy() -> None:
    """Both numbers are reported: a KL that is zero for the teacher itself, and its entropy."""
    hidden, head, labels, _, _ = problem(torch.float32)
    log_p = torch.log_softmax(hidden @ head.T, -1)[labels != IGNORE]
    entropy = -(log_p.exp() * log_p).sum()
    _, sums = LinearLoss(Objective())(hidden, head, labels, Dense(hidden.detach(), head.detach()))
    assert sums[TERMS.index("kl")].item() == pytest.approx(0, abs=1e-4)
    assert sums[TERMS.index("teacher_cross_entropy")].item() == pytest.approx(
        entropy.item(), rel=1e-5
    )


def test_masked_positions_change_nothing() -> None:
    """A position without a label gives no loss and no gradient, whatever stands there."""
    hidden, head, labels, teacher_hidden, teacher_head = problem(torch.float32)
    rows = labels != IGNORE
    results = []
    for chosen in (torch.ones_like(rows), rows):
        x = hidden.detach()[chosen].requires_grad_()
        signal = Dense(teacher_hidden[chosen], teacher_head)
        loss, _ = LinearLoss(Objective(mixing=0.5), Z)(x, head, labels[chosen], signal)
        loss.backward()
        assert x.grad is not None
        results.append((loss.item(), x.grad if chosen.sum() == rows.sum() else x.grad[rows]))
        if len(chosen) != rows.sum():
            assert not x.grad[labels[chosen] == IGNORE].any()
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1])


@pytest.mark.parametrize("tail", ["renormalise", "bucket"])
def test_kept_mass_and_renormalisation(tail: str) -> None:
    """The reported mass is that of the k likeliest tokens, and the target still sums to one."""
    log_q, teacher = torch.randn(6, V), torch.randn(6, V)
    objective = Objective(top_k=4, tail=tail)  # type: ignore[arg-type]
    log_p, mass, *_ = target(objective, torch.log_softmax(log_q, -1), teacher, None, None)
    expected = torch.softmax(teacher, -1).topk(4).values.sum(-1)
    torch.testing.assert_close(mass, expected)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(6))
    if tail == "bucket":
        torch.testing.assert_close(log_p.exp().topk(V).values.sum(-1), torch.ones(6))
        best = torch.softmax(teacher, -1).topk(4)
        torch.testing.assert_close(log_p.exp().gather(1, best.indices), best.values)


def test_top_p_keeps_the_smallest_sufficient_set() -> None:
    """Nucleus truncation keeps at least the wanted mass, and less without its last token."""
    log_p = torch.log_softmax(3 * torch.randn(20, V), -1)
    keep = kept(log_p, None, 0.9)
    for row, chosen in zip(log_p.exp(), keep, strict=True):
        mass = row[chosen].sum()
        assert mass >= 0.9 - 1e-6
        assert mass - row[chosen].min() < 0.9
    for tight, loose in pairwise(kept(log_p, None, p).sum() for p in (0.3, 0.6, 0.9, 1.0)):
        assert tight <= loose


@pytest.mark.parametrize(
    "objective", [Objective(top_k=6), Objective(top_k=6, tail="bucket", mixing=0.4)]
)
def test_stored_and_online_top_k_agree(objective: Objective) -> None:
    """A teacher's stored top k trains as the same teacher truncated online."""
    hidden, head, labels, teacher_hidden, teacher_head = problem(torch.float32)
    best = torch.log_softmax(teacher_hidden @ teacher_head.T, -1).topk(9)
    signals: list[Signal] = [
        Dense(teacher_hidden, teacher_head),
        Full(teacher_hidden @ teacher_head.T),
        Sparse(best.indices.to(torch.int32), best.values),
    ]
    results = [LinearLoss(objective, Z)(hidden, head, labels, signal) for signal in signals]
    gradients = [torch.autograd.grad(loss, (hidden, head)) for loss, _ in results]
    for (_, sums), gradient in zip(results[1:], gradients[1:], strict=True):
        torch.testing.assert_close(sums, results[0][1], rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-5)


def test_full_logits_never_exist() -> None:
    """No tensor made on the way, forward or backward, is larger than a chunk of logits."""

    class Largest(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            for value in result if isinstance(result, tuple | list) else [result]:
                if isinstance(value, Tensor):
                    self.seen = max(self.seen, value.numel())
            return result

    rows = 2_000
    hidden, head = torch.randn(rows, D, requires_grad=True), torch.randn(V, D, requires_grad=True)
    signal = Dense(torch.randn(rows, T), torch.randn(V, T))
    with Largest() as largest:
        loss, _ = LinearLoss(Objective(), elements=400 * V)(
            hidden, head, torch.zeros(rows, dtype=torch.long), signal
        )
        loss.backward()
    assert largest.seen <= max(400 * V, rows * T) < rows * V


def test_half_precision_hidden_states() -> None:
    """With bfloat16 hidden states and a float32 head the gradients stay within their rounding."""
    hidden, head, labels, teacher_hidden, teacher_head = problem(torch.float32)
    half = hidden.detach().bfloat16().requires_grad_()
    signal = Dense(teacher_hidden.bfloat16(), teacher_head.bfloat16())
    loss, _ = LinearLoss(Objective(), Z, elements=10 * V)(half, head, labels, signal)
    d_half, d_head = torch.autograd.grad(loss, (half, head))
    exact, _ = LinearLoss(Objective(), Z)(hidden, head, labels, Dense(teacher_hidden, teacher_head))
    d_exact, d_head_exact = torch.autograd.grad(exact, (hidden, head))
    assert d_half.dtype == torch.bfloat16
    assert d_head.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=2e-2)
    for got, wanted in ((d_half.float(), d_exact), (d_head, d_head_exact)):
        assert (got - wanted).norm() < 0.03 * wanted.norm()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"mixing": 1.5}, "share"),
        ({"temperature": 0}, "temperature"),
        ({"top_k": 0}, "top-k"),
        ({"top_p": 1.2}, "top-p"),
        ({"top_k": 5, "direction": "reverse"}, "infinite"),
    ],
)
def test_impossible_objectives_are_refused(changes: dict[str, object], word: str) -> None:
    """An objective without a meaning is refused with the word that names the fault."""
    with pytest.raises(PlannerError, match=word):
        Objective(**changes)  # type: ignore[arg-type]
