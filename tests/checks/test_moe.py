"""The mixture lab's references against others' code, and how its loops and its work are seen."""

import math
from collections import Counter

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from tutor_lib.checks.compare import close
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.moe import LAB
from tutor_lib.checks.moe.products import Products
from tutor_lib.checks.moe.speed import lines_run, loops, more

E = LAB.exercises


def cases(name, seed=3):
    return LAB.parts[name].cases(Draw(torch.Generator().manual_seed(seed)))


def test_the_gate_is_a_softmax_over_what_was_chosen():
    for logits, k in cases("top_k_gating"):
        weights, experts = E["top_k_gating"].reference(logits, k)
        for row, shares, chosen in zip(logits.tolist(), weights, experts, strict=True):
            best = sorted(range(len(row)), key=lambda e: -row[e])[:k]
            exponentials = [math.exp(row[e]) for e in best]
            assert chosen.tolist() == best
            right = torch.tensor([x / sum(exponentials) for x in exponentials])
            assert close(right.to(shares), shares).all()


def test_dispatch_lines_up_the_choices():
    for experts, n_experts in cases("dispatch"):
        order, lengths = E["dispatch"].reference(experts, n_experts)
        flat = [e for row in experts.tolist() for e in row]
        assert order.tolist() == sorted(range(len(flat)), key=lambda c: flat[c])
        assert lengths.tolist() == [Counter(flat)[e] for e in range(n_experts)]


def test_combine_undoes_dispatch():
    for answers, order, weights in cases("combine"):
        mixed = E["combine"].reference(answers, order, weights)
        right = torch.zeros_like(mixed)
        for answer, choice in zip(answers, order.tolist(), strict=True):
            token, slot = divmod(choice, weights.size(1))
            right[token] += weights[token, slot] * answer
        assert close(right, mixed).all()


def test_the_layer_is_a_loop_over_tokens_and_their_experts():
    for x, router, w_in, w_out, k in cases("MoE"):
        n_experts, d_model, d_ff = w_in.shape
        layer = E["MoE"].reference(d_model, d_ff, n_experts, k).to(x)
        layer.load_state_dict({"router": router, "w_in": w_in, "w_out": w_out})
        right = torch.zeros_like(x)
        for b in range(x.size(0)):
            for t in range(x.size(1)):
                chosen = (x[b, t] @ router).topk(k)
                shares = chosen.values.exp() / chosen.values.exp().sum()
                for share, e in zip(shares, chosen.indices, strict=True):
                    right[b, t] += share * (nn.GELU()(x[b, t] @ w_in[e]) @ w_out[e])
        assert close(right, layer(x)).all()


def test_the_loss_is_mixtrals_divided_by_k():
    for logits, experts in cases("load_balancing_loss"):
        n_experts, k = logits.size(1), experts.size(1)
        mixtrals = load_balancing_loss_func((logits,), n_experts, k) / k
        assert close(mixtrals, E["load_balancing_loss"].reference(logits, experts)).all()


@pytest.mark.parametrize("k", [1, 3])
def test_an_even_load_gives_one(k):
    experts = torch.arange(7 * k).view(-1, k) % 7
    loss = E["load_balancing_loss"].reference(torch.zeros(7, 7), experts)
    assert close(torch.tensor(1.0), loss).all()


def test_drop_overflow_serves_a_queue():
    for weights, experts, n_experts, capacity in cases("drop_overflow"):
        served = [0] * n_experts
        right = torch.zeros_like(weights)
        for i in range(weights.size(1)):
            for n in range(len(weights)):
                e = int(experts[n, i])
                if served[e] < capacity:
                    right[n, i] = weights[n, i]
                served[e] += 1
        assert right.tolist() == E["drop_overflow"].reference(
            weights, experts, n_experts, capacity).tolist()  # fmt: skip


def test_an_even_load_fits_a_capacity_factor_of_one():
    for n_tokens, n_experts, k, factor in cases("expert_capacity"):
        room = E["expert_capacity"].reference(n_tokens, n_experts, k, factor)
        assert (room - 1) * n_experts < factor * n_tokens * k <= room * n_experts


class Always(Draw):
    """Draws the same number always."""

    def __init__(self, n):
        self.n = n

    def ids(self, high, *shape):
        return torch.full(shape, self.n)


def test_no_draw_of_sizes_lets_a_mistake_in_the_capacity_pass():
    """With one in five seeds, whoever rounded up before multiplying by k lost nothing."""
    (part,) = E["expert_capacity"].parts
    for mistake in E["expert_capacity"].misconceptions:
        for n in range(50):
            sizes = part.cases(Always(n))
            assert any(mistake.wrong(*s) != part.exercise.reference(*s) for s in sizes), n


def test_parameters_are_those_of_the_layer():
    for d_model, d_ff, n_experts, k in cases("parameter_counts"):
        with torch.device("meta"):
            parts = [E["MoE"].reference(d_model, d_ff, n, 1) for n in (n_experts, k)]
        total, few = (sum(p.numel() for p in part.parameters()) for part in parts)
        active = few + d_model * (n_experts - k)  # the whole router works
        assert E["parameter_counts"].reference(d_model, d_ff, n_experts, k) == (total, active)


def by_comprehension(x):
    return torch.stack([row * 2 for row in x])


def by_map(x):
    return list(map(lambda value: value + 1, x.tolist()))


def by_while(x):
    n = 0
    while n < len(x):
        n += 1
    return n


def by_key(x):
    return sorted(range(len(x)), key=lambda n: -n)


@pytest.mark.parametrize("loop", [by_comprehension, by_map, by_while, by_key])
def test_loops_over_rows_are_seen(loop):
    assert loops(more(loop, (torch.ones(11),), (torch.ones(47),)), 36)


def test_a_loop_over_something_else_is_none():
    def over_five(x):
        return sum(x * i for i in range(5)).sort().values

    assert lines_run(over_five, (torch.ones(11),)) > 5
    assert not loops(more(over_five, (torch.ones(11),), (torch.ones(47),)), 36)


def test_tracing_leaves_a_debugger_where_it_was():
    import sys

    def tracer(*_):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        lines_run(len, ([],))
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)


A, W, V = torch.ones(3, 5, 7), torch.ones(11, 7, 2), torch.ones(7)
COUNTED = {
    "matmul": lambda: A @ W[0],
    "method": lambda: A.flatten(0, 1).mm(W[0]),
    "linear": lambda: nn.Linear(7, 2)(A),
    "added": lambda: torch.addmm(torch.zeros(2), A[0], W[0]),
    "broadcast": lambda: A.flatten(0, 1) @ W,
    "einsum": lambda: torch.einsum("btc,ecf->betf", A, W),
    "einsum with dots": lambda: torch.einsum("...tc, ecf -> ...etf", A, W),
    "einsum of a list": lambda: torch.einsum("tc,c->t", [A[0], V]),
    "stacked": lambda: torch.bmm(A, W[:3]),
    "vector": lambda: A[0].mv(V),
}


@pytest.mark.parametrize("product", COUNTED)
def test_products_are_counted_as_pytorch_counts_them(product):
    """PyTorch's counter counts a multiplication and an addition as two operations."""
    with torch.no_grad(), Products() as products:
        COUNTED[product]()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        COUNTED[product]()
    expected = 7 * 5 if product == "vector" else counter.get_total_flops() / 2
    assert products.count == expected > 0


EMPTY = {
    "dispatch_speed": lambda experts, n_experts: None,
    "combine_speed": lambda answers, order, weights: torch.zeros_like(answers),
    "drop_overflow_speed": lambda weights, experts, n_experts, capacity: weights,
}


@pytest.mark.parametrize("part", EMPTY)
def test_an_answer_that_does_nothing_is_not_called_fast(part):
    assert LAB.parts[part].diagnose(EMPTY[part]) is not None


class ReturnsX(E["MoE"].reference):
    def forward(self, x):
        return x


@pytest.mark.parametrize("part", ["MoE", "MoE_gradient", "MoE_work", "MoE_speed"])
def test_a_layer_that_returns_its_input_earns_nothing(part):
    assert LAB.parts[part].diagnose(ReturnsX) is not None
