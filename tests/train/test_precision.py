"""Accumulated gradients, half precision and the loss's scale against plain steps by hand."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.loss import IGNORED, cross_entropy
from tutor_lib.train.schedule import warmup_constant
from tutor_lib.train.trainer import Trainer, TrainingPlan, make_optimizer

V, B, T = 31, 7, 11
PLACES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def decoder() -> Decoder:
    torch.manual_seed(3)
    return Decoder(DecoderConfig(V, T, 2, 22, 1, 1, 17))


def loss_of(model: nn.Module):
    return lambda ids, targets: cross_entropy(model(ids), targets)


def constant(**options) -> TrainingPlan:
    return TrainingPlan(**{"steps": 5, "schedule": warmup_constant, "warmup": 0} | options)


def unequal_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows with 11, 10, 2, 0, 1, 0 and 3 targets."""
    ids, targets = torch.randint(V, (2, B, T))
    for row, n in enumerate([11, 10, 2, 0, 1, 0, 3]):
        targets[row, n:] = IGNORED
    return ids, targets


def gradient_of_the_whole(model: nn.Module, ids, targets) -> list[torch.Tensor]:
    logits = model(ids).flatten(0, 1)
    return torch.autograd.grad(F.cross_entropy(logits, targets.flatten()), [*model.parameters()])


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 19])
def test_micro_batches_give_the_gradient_of_the_whole_batch(parts):
    """A mean of means is the usual bug: here the parts hold unequal numbers of targets."""
    model, batch = decoder().double(), unequal_batch()
    expected, loss = gradient_of_the_whole(model, *batch), loss_of(model)(*batch).item()
    trainer = Trainer(model, loss_of(model), constant(micro_batches=parts, clip=1e9))
    assert trainer.step(batch) == pytest.approx(loss, rel=1e-12)
    for p, g in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-10, atol=1e-13)


def test_micro_batches_give_the_step_and_the_loss_of_the_whole_batch():
    found = []
    for parts in (1, 3):
        model = decoder().double()
        trainer = Trainer(model, loss_of(model), TrainingPlan(5, micro_batches=parts, clip=0.1))
        torch.manual_seed(5)
        losses = [trainer.step(unequal_batch()) for _ in range(5)]
        found.append((losses, torch.cat([p.flatten() for p in model.parameters()])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("device", PLACES)
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_is_near_and_the_weights_stay_whole(device, half):
    batch = tuple(x.to(device) for x in torch.randint(V, (2, B, T)))
    found, kinds = [], set()
    for precision in (None, half):
        model = decoder().to(device)
        model.blocks[0].ffn.register_forward_hook(lambda *call: kinds.add(call[2].dtype))
        trainer = Trainer(model, loss_of(model), constant(precision=precision))
        found.append([trainer.step(batch) for _ in range(5)])
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    assert kinds == {torch.float32, half}, "the products were made in half precision"
    assert found[0] == pytest.approx(found[1], rel=0.02)
    assert found[0] != found[1]


def test_a_small_update_is_lost_on_a_half_precision_weight():
    """Why the weights that are updated stay in float32."""
    weight = torch.ones(1)
    assert weight.bfloat16() + 1e-3 == weight.bfloat16()
    assert weight + 1e-3 != weight


@pytest.mark.parametrize("device", PLACES)
def test_the_clip_sees_the_gradient_without_its_scale(device):
    """Clipped before unscaling, a scale of 65,536 would make the gradient all but vanish."""
    batch = tuple(x.to(device) for x in torch.randint(V, (2, B, T)))
    model = decoder().to(device)
    trainer = Trainer(model, loss_of(model), constant(precision=torch.float16, clip=0.05))
    trainer.step(batch)
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()))
    assert norm == pytest.approx(0.05, rel=1e-3)
    half = decoder().to(device)
    expected = gradient_of_the_whole(half, *batch)
    whole = math.sqrt(sum(g.square().sum().item() for g in expected))
    for p, g in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g * 0.05 / whole, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_an_infinite_gradient_skips_the_step_and_halves_the_scale(bad):
    model = decoder()
    factors = iter([1.0, bad, 1.0, bad, bad])
    trainer = Trainer(
        model,
        lambda ids, targets: cross_entropy(model(ids), targets) * next(factors),
        constant(precision=torch.float16),
    )
    scales, moved = [trainer.scaler.get_scale()], []
    for _ in range(5):
        before = [p.clone() for p in model.parameters()]
        trainer.step(tuple(torch.randint(V, (2, B, T))))
        pairs = zip(model.parameters(), before, strict=True)
        moved.append(any(not torch.equal(p, q) for p, q in pairs))
        scales.append(trainer.scaler.get_scale())
    assert moved == [True, False, True, False, False]
    assert scales == [65536, 65536, 32768, 32768, 16384, 8192]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_the_scale_doubles_after_two_thousand_good_steps():
    model = nn.Linear(1, 2)
    trainer = Trainer(
        model,
        lambda x, targets: F.cross_entropy(model(x), targets),
        TrainingPlan(2000, precision=torch.float16),
    )
    batch = (torch.randn(3, 1), torch.tensor([0, 1, 0]))
    for _ in range(1999):
        trainer.step(batch)
    assert trainer.scaler.get_scale() == 65536
    trainer.step(batch)
    assert trainer.scaler.get_scale() == 131072


def test_a_step_equals_amp_by_hand():
    """PyTorch's recipe for float16, written out; four steps of two parts each."""
    torch.manual_seed(5)
    batches = [tuple(torch.randint(V, (2, 8, T))) for _ in range(4)]
    ours, theirs = decoder(), decoder()
    plan = constant(precision=torch.float16, micro_batches=2, clip=0.05)
    trainer = Trainer(ours, loss_of(ours), plan)
    optimizer = make_optimizer(theirs, plan.learning_rate, plan.weight_decay)
    scaler = torch.amp.GradScaler("cpu")
    for ids, targets in batches:
        trainer.step((ids, targets))
        optimizer.zero_grad()
        for rows in (slice(0, 4), slice(4, 8)):
            with torch.autocast("cpu", torch.float16):
                logits = theirs(ids[rows])
            loss = F.cross_entropy(logits.float().flatten(0, 1), targets[rows].flatten()) / 2
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        scaler.step(optimizer)
        scaler.update()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
        ({"micro_batches": 0}, "micro_batches must be positive, got 0"),
        ({"clip": 0.0}, "clip must be positive, got 0.0"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
        ({"precision": torch.float64}, "got torch.float64"),
        ({"warmup": 5}, "warmup must lie in 0…4, got 5"),
    ],
)
def test_a_bad_plan_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        constant(**options)


def test_a_batch_without_targets_and_a_step_too_many_are_named():
    model = decoder()
    trainer = Trainer(model, loss_of(model), constant(steps=1))
    with pytest.raises(ValueError, match="batch of 7 rows holds no target"):
        trainer.step((torch.randint(V, (B, T)), torch.full((B, T), IGNORED)))
    trainer.step(tuple(torch.randint(V, (2, B, T))))
    with pytest.raises(ValueError, match="step must lie in 0…0, got 1"):
        trainer.step(tuple(torch.randint(V, (2, B, T))))
