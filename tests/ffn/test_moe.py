"""Mixtures of experts against Mixtral's and DeepSeek-V3's, and against loops over the formulas."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import DeepseekV3Config, MixtralConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.mixtral.modeling_mixtral import (
    MixtralSparseMoeBlock,
    load_balancing_loss_func,
)
from transformers.models.switch_transformers.modeling_switch_transformers import router_z_loss_func

from tutor_lib.ffn import moe
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.ffn.moe import (
    Experts,
    MixtureOfExperts,
    SigmoidRouter,
    SoftmaxRouter,
    load_balancing_loss,
    pays_to_pad,
    router_z_loss,
)
from tutor_lib.ffn.routing import Routing

C, F, E, K = 13, 29, 7, 3
GROUPED = {"n_experts": 15, "n_active": 4, "n_groups": 3, "n_active_groups": 2, "scale": 2.5}
EAGER = {"experts_implementation": "eager"}


def randomised(module: MixtureOfExperts) -> MixtureOfExperts:
    torch.manual_seed(7)
    for tensor in [*module.parameters(), *module.buffers()]:
        nn.init.normal_(tensor, std=0.5)
    return module


def mixture(capacity_factor: float | None = None) -> MixtureOfExperts:
    return randomised(
        MixtureOfExperts(SoftmaxRouter(C, E, K), Experts(E, C, F), None, capacity_factor)
    )


def grouped_mixture() -> MixtureOfExperts:
    shared = SwiGLUFeedForward(C, 2 * F)
    return randomised(MixtureOfExperts(SigmoidRouter(C, **GROUPED), Experts(15, C, F), shared))


def mixtral() -> nn.Module:
    config = MixtralConfig(
        hidden_size=C, intermediate_size=F, num_local_experts=E, num_experts_per_tok=K,
        num_attention_heads=1, head_dim=2, **EAGER,
    )  # fmt: skip
    return MixtralSparseMoeBlock(config)


def deepseek(**options) -> nn.Module:
    config = DeepseekV3Config(
        hidden_size=C, moe_intermediate_size=F, n_routed_experts=15, num_experts_per_tok=4,
        n_group=3, topk_group=2, routed_scaling_factor=2.5, n_shared_experts=2,
        **{"norm_topk_prob": True} | options | EAGER,
    )  # fmt: skip
    return DeepseekV3MoE(config)


def in_their_names(ours: MixtureOfExperts, what=lambda tensor: tensor.detach()) -> dict:
    """Our weights, or what `what` makes of them, under the names of `transformers`."""
    gate, up, down = map(what, ours.experts.stacks())
    theirs = {
        "gate.weight": what(ours.router.weight),
        "experts.gate_up_proj": torch.cat([gate, up], dim=1),
        "experts.down_proj": down,
    }
    if ours.shared is not None:
        named = ours.shared.named_parameters()
        theirs |= {f"shared_experts.{name}": what(p) for name, p in named}
    return theirs


def with_our_weights(peer: nn.Module, ours: MixtureOfExperts) -> nn.Module:
    weights = in_their_names(ours)
    if isinstance(ours.router, SigmoidRouter):
        weights["gate.e_score_correction_bias"] = ours.router.bias
    peer.load_state_dict(weights)
    return peer.to(ours.router.weight)


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    largest = theirs.abs().max().item()
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("padded", [False, True], ids=["one by one", "side by side"])
@pytest.mark.parametrize(
    ("make", "make_peer"),
    [(mixture, mixtral), (grouped_mixture, deepseek)],
    ids=["Mixtral", "DeepSeek-V3"],
)
def test_equals_transformers(make, make_peer, padded, place, monkeypatch):
    monkeypatch.setattr(moe, "pays_to_pad", lambda queues: padded)
    device, dtype, tolerance = place
    tolerance = max(tolerance, 1e-6)  # their routers compute in float32
    ours = make().to(device, dtype)
    theirs = with_our_weights(make_peer(), ours)
    x = torch.randn(2, 11, C).to(device, dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    slope = torch.randn(2, 11, C).to(device, dtype)
    out, expected = ours(x), theirs(y)
    close(out, expected, tolerance)
    out.backward(slope)
    expected.backward(slope)
    close(x.grad, y.grad, tolerance)
    gradients = in_their_names(ours, lambda p: p.grad)
    for name, parameter in theirs.named_parameters():
        close(gradients[name], parameter.grad, tolerance)


def loop(m: MixtureOfExperts, x: Tensor, room: float = math.inf) -> tuple[Tensor, int]:
    """All first choices in the order of the tokens, then all second ones, each by itself."""
    chosen, taken, dropped = [], [0] * E, 0
    for token in x:
        logits = m.router.weight @ token
        best = sorted(range(E), key=lambda e, z=logits: -z[e].item())[:K]
        total = sum(logits[e].exp() for e in best)
        chosen.append([(e, logits[e].exp() / total) for e in best])
    out = [torch.zeros(C, dtype=x.dtype) for _ in x]
    for i in range(K):
        for n, token in enumerate(x):
            e, weight = chosen[n][i]
            if taken[e] >= room:
                dropped += 1
                continue
            taken[e] += 1
            gate, up, down = (stack[e] for stack in m.experts.stacks())
            out[n] = out[n] + weight * (down @ (functional.silu(gate @ token) * (up @ token)))
    return torch.stack(out), dropped


@pytest.mark.parametrize("factor", [None, 0.3, 1.0, 1.25, 7.0])
@pytest.mark.parametrize("n_tokens", [1, 2, 23, 173])
def test_equals_a_loop_with_and_without_capacity(n_tokens, factor):
    m = mixture(factor).double()
    x = torch.randn(n_tokens, C, dtype=torch.float64, requires_grad=True)
    room = math.inf if factor is None else math.ceil(factor * n_tokens * K / E)
    out, (expected, dropped) = m(x), loop(m, x, room)
    close(out, expected, 1e-12)
    assert m.routing.n_dropped == dropped
    assert m.routing.load.sum() == n_tokens * K
    slope = torch.randn_like(out)
    inputs = [x, *m.parameters()]
    ours, theirs = (torch.autograd.grad(y, inputs, slope) for y in (out, expected))
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other, 1e-12)


def test_a_token_that_is_turned_away_keeps_its_residual_alone():
    m = MixtureOfExperts(SoftmaxRouter(C, E, 1), Experts(E, C, F), capacity_factor=1.0)
    x = torch.randn(C).expand(2, 7, C)  # all want the same expert, which has room for two
    out = m(x)
    assert m.routing.n_dropped == 12
    assert out[0, :2].abs().min() > 0
    assert not out[0, 2:].any()
    assert not out[1].any()


@pytest.mark.parametrize("queues", [[3, 0, 5, 1, 0, 2, 11], [0, 0, 0, 0, 0, 0, 1], [0] * 7])
def test_side_by_side_is_one_by_one(queues):
    experts = mixture().double().experts
    x = torch.randn(sum(queues), C, dtype=torch.float64, requires_grad=True)
    fast = experts.side_by_side(x, queues)
    if not sum(queues):
        assert fast.shape == (0, C)
        return
    plain = experts.one_by_one(x, queues)
    close(fast, plain, 1e-12)
    inputs, slope = [x, *experts.parameters()], torch.randn_like(x)
    ours, theirs = (torch.autograd.grad(y, inputs, slope) for y in (fast, plain))
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other, 1e-12)


@torch.no_grad()
def test_queues_are_padded_where_it_is_cheap():
    assert pays_to_pad([3, 4, 2, 3])
    assert not pays_to_pad([0, 1, 0, 0, 1, 0])  # as when decoding: most experts are idle
    assert not pays_to_pad([65, 65, 65, 65])
    with torch.enable_grad():
        assert not pays_to_pad([3, 4, 2, 3])


@pytest.mark.parametrize("make", [mixture, grouped_mixture])
def test_no_tokens_are_no_trouble(make):
    assert make()(torch.zeros(2, 0, C)).shape == (2, 0, C)
    with torch.no_grad():
        assert make()(torch.zeros(2, 0, C)).shape == (2, 0, C)


def test_weights_of_the_chosen_are_renormalised():
    """Leaving it out is a well-known bug: the output shrinks by the chosen experts' share."""
    x = torch.randn(23, C)
    m = mixture()
    routing = m.router(x)
    without = routing.logits.softmax(-1).gather(1, routing.experts)
    assert torch.allclose(routing.weights.sum(-1), torch.ones(23))
    assert torch.allclose(routing.weights, without / without.sum(-1, keepdim=True))
    assert not torch.allclose(routing.weights, without, atol=0.1)
    ours, peer = grouped_mixture(), deepseek(norm_topk_prob=False)
    assert torch.allclose(ours.router(x).weights.sum(-1), torch.tensor(2.5))
    assert not torch.allclose(ours(x[None]), with_our_weights(peer, ours)(x[None]), atol=0.1)


def test_the_bias_chooses_and_does_not_weigh():
    x, router = torch.randn(23, C), SigmoidRouter(C, **GROUPED)
    before = router(x)
    router.bias[6] += 10.0
    after = router(x)
    assert (after.experts[:, 0] == 6).all()
    assert not (before.experts == 6).any(1).all()
    scores = before.logits.sigmoid().gather(1, after.experts)
    assert torch.allclose(after.weights, 2.5 * scores / scores.sum(-1, keepdim=True))


def test_experts_come_from_the_active_groups_alone():
    router = SigmoidRouter(C, **GROUPED)
    groups = router(torch.randn(97, C)).experts // 5
    assert all(len(set(row)) <= 2 for row in groups.tolist())
    free = SigmoidRouter(C, 15, 4)
    free.weight = router.weight
    assert any(len(set(row)) == 3 for row in (free(torch.randn(97, C)).experts // 5).tolist())


def test_balancing_is_the_papers_rule():
    torch.manual_seed(11)
    router = SigmoidRouter(C, E, K)
    routing = router(torch.randn(23, C))
    expected = [0.0] * E
    for e in range(E):
        load = sum(row.count(e) for row in routing.experts.tolist())
        if load * E != 23 * K:
            expected[e] += 0.01 if load * E < 23 * K else -0.01
    router.balance(routing, speed=0.01)
    assert torch.allclose(router.bias, torch.tensor(expected))
    assert "bias" in router.state_dict()
    assert [name for name, _ in router.named_parameters()] == ["weight"]


def test_balancing_evens_out_a_skewed_load():
    torch.manual_seed(13)
    router, common = SigmoidRouter(C, E, K), 3 * torch.randn(C)

    def largest_over_mean() -> float:
        load = router(torch.randn(997, C) + common).load
        return (load.max() / load.float().mean()).item()

    before = largest_over_mean()
    for _ in range(200):
        router.balance(router(torch.randn(199, C) + common), speed=0.005)
    assert before > 2
    assert largest_over_mean() < 1.2


def test_load_balancing_loss_is_transformers_and_the_formulas():
    routing = mixture().router(torch.randn(23, C))
    leaf = routing.logits.detach().requires_grad_()
    ours = load_balancing_loss(Routing(routing.experts, routing.weights, leaf))
    theirs = load_balancing_loss_func((leaf,), E, K)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, leaf), torch.autograd.grad(theirs, leaf))
    total = 0.0
    for e in range(E):
        share = sum(e in row for row in routing.experts.tolist()) / 23
        total += share * sum(p[e] for p in leaf.softmax(-1).tolist()) / 23
    assert ours.item() == pytest.approx(E * total, rel=1e-5)


def test_an_even_load_loses_k():
    experts = torch.arange(E).repeat(K).view(K, E).T  # token n, all k times, wants expert n
    even = Routing(experts, torch.full((E, K), 1 / K), torch.zeros(E, E))
    assert load_balancing_loss(even).item() == pytest.approx(K)


def test_z_loss_is_transformers_and_the_formulas():
    logits = (3 * torch.randn(23, E)).requires_grad_()
    ours, theirs = router_z_loss(logits), router_z_loss_func(logits[None])
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits)
    )
    squares = [math.log(sum(map(math.exp, row))) ** 2 for row in logits.tolist()]
    assert ours.item() == pytest.approx(sum(squares) / 23, rel=1e-5)


def test_experts_begin_as_linear_layers_do():
    for stack, width in zip(Experts(E, C, F).stacks(), [C, C, F], strict=True):
        for weight in stack:
            assert 0.9 < weight.abs().max() * math.sqrt(width) <= 1


def test_an_expert_that_nobody_chose_has_a_gradient_of_zeros():
    m = mixture()
    m(torch.randn(1, C)).sum().backward()
    idle = m.routing.load == 0
    assert idle.sum() == E - K
    assert not m.experts.gate_proj.grad[idle].any()
    assert m.experts.gate_proj.grad[~idle].abs().amax((1, 2)).min() > 0


def test_a_model_that_has_been_used_can_be_copied():
    """The choice that was kept for the losses hung on a graph, which no copy can take along."""
    m, x = mixture(), torch.randn(3, C)
    out = m(x)
    twin = copy.deepcopy(m)
    assert m.routing is not None
    assert twin.routing is None
    assert torch.equal(twin(x), out)


def test_bfloat16_is_routed_in_float32():
    for m in (mixture(), grouped_mixture()):
        out = m.bfloat16()(torch.randn(5, C).bfloat16())
        assert out.dtype == torch.bfloat16
        assert m.routing.weights.dtype == torch.float32


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SoftmaxRouter(C, E, 0), "got 0 and 7"),
        (lambda: SoftmaxRouter(C, E, 8), "got 8 and 7"),
        (lambda: SigmoidRouter(C, 15, 4, 4), "15 experts do not form 4"),
        (lambda: SigmoidRouter(C, 15, 4, 3, 4), "got 4 and 3"),
        (lambda: SigmoidRouter(C, 15, 6, 3, 1), "hold 5 experts, fewer than 6"),
        (lambda: Experts(0, C, F), r"\(0, 13, 29\)"),
        (lambda: mixture(0.0)(torch.zeros(3, C)), "got 0.0"),
        (lambda: mixture(math.inf)(torch.zeros(3, C)), "got inf"),
        (lambda: MixtureOfExperts(SoftmaxRouter(C, 5, K), Experts(E, C, F))(torch.zeros(3, C)),
         "among 5 experts, not among 7"),
        (lambda: SigmoidRouter(C, E, K).balance(mixture().router(torch.zeros(3, C)), 0.0),
         "got 0.0"),
        (lambda: load_balancing_loss(mixture().router(torch.zeros(0, C))), r"\(0, 7\)"),
        (lambda: router_z_loss(torch.zeros(0, E)), r"\(0, 7\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
