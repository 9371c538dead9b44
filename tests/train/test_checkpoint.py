"""A run that was killed and resumed against the same run in one go, bit for bit."""

import itertools
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from tutor_lib.train import checkpoint as module
from tutor_lib.train.checkpoint import HEADER, digest, load_checkpoint, save_checkpoint
from tutor_lib.train.loop import train_on
from tutor_lib.train.loss import IGNORED, cross_entropy, next_tokens
from tutor_lib.train.schedule import warmup_cosine, warmup_linear, warmup_stable_decay
from tutor_lib.train.trainer import Batch, Trainer, TrainingPlan

V, STEPS = 31, 11
PLAN = TrainingPlan(STEPS, 0.01, micro_batches=2, schedule=warmup_linear)
PLACES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


class Noisy(nn.Module):
    """A small model that draws random numbers, has a buffer, and a parameter nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(V, 13), nn.Linear(13, V)
        self.dropout, self.norm = nn.Dropout(0.3), nn.BatchNorm1d(13)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.embedding(ids).transpose(1, 2)).transpose(1, 2)
        return self.out(self.dropout(x))


def trainer(plan: TrainingPlan = PLAN, device: str = "cpu", seed: int = 3) -> Trainer:
    torch.manual_seed(seed)
    model = Noisy().to(device)
    return Trainer(model, lambda ids, targets: cross_entropy(model(ids), targets), plan)


def batches(device: str = "cpu", seed: int = 5) -> Iterator[Batch]:
    """Batches of four rows, some of their targets masked."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        ids = torch.randint(V, (4, 7), generator=generator)
        targets = next_tokens(ids, torch.rand(ids.shape, generator=generator) < 0.8)
        yield ids.to(device), targets.to(device)


def everything(run: Trainer) -> dict[str, torch.Tensor]:
    """All that a further step would depend on."""
    found = dict(run.model.state_dict())
    for i, state in run.optimizer.state_dict()["state"].items():
        found |= {f"{i} {name}": t for name, t in state.items()}
    scale = run.scaler.get_scale()
    return found | {"cpu": torch.get_rng_state(), "scale": torch.tensor(scale)}


def assert_equal(ours: Trainer, theirs: dict, losses: list[float]) -> None:
    assert ours.losses == losses
    found = everything(ours)
    assert found.keys() == theirs.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, theirs[name]), name


class Killed(Exception):
    """As by a power cut."""


def killed_at(step: int, plan: TrainingPlan, path: Path, every: int, device: str = "cpu") -> None:
    """Train, and die in the middle of the step after `step` others, in its second part."""
    run = trainer(plan, device)
    calls, loss_of = itertools.count(), run.loss_of

    def dying(*batch: torch.Tensor) -> torch.Tensor:
        if next(calls) == plan.micro_batches * step + 1:
            raise Killed
        return loss_of(*batch)

    run.loss_of = dying
    with pytest.raises(Killed):
        train_on(run, batches(device), path, every)


@pytest.mark.parametrize("device", PLACES)
@pytest.mark.parametrize("precision", [None, torch.bfloat16, torch.float16])
def test_a_run_killed_at_any_step_goes_on_bit_for_bit(tmp_path, device, precision):
    plan = replace(PLAN, precision=precision)
    whole = trainer(plan, device)
    losses = train_on(whole, batches(device))
    expected = everything(whole)
    for step in range(STEPS):
        path = tmp_path / f"{step}.safetensors"
        killed_at(step, plan, path, every=3, device=device)
        resumed = trainer(plan, device, seed=17)  # it starts elsewhere: all comes from the file
        assert train_on(resumed, batches(device), path, every=3) == losses
        assert_equal(resumed, expected, losses)


def test_a_list_of_batches_goes_on_where_it_was(tmp_path):
    """A list can be begun again, and a resumed run once trained on its first batches twice."""
    some = [*itertools.islice(batches(), STEPS)]
    whole = trainer()
    train_on(whole, some)
    theirs, path = everything(whole), tmp_path / "run.safetensors"
    killed_at(5, PLAN, path, every=2)
    resumed = trainer(seed=8)
    train_on(resumed, some, path, every=2)
    assert_equal(resumed, theirs, whole.losses)


def test_a_loss_that_is_not_finite_is_named_and_changes_nothing():
    run = trainer()
    run.step(next(batches()))
    with torch.no_grad():
        run.model.out.bias[3] = math.nan
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    with pytest.raises(ValueError, match="the loss of step 1 is nan"):
        run.step(next(batches()))
    for name, p in run.model.named_parameters():
        assert torch.equal(p, before[name]) or name == "out.bias"


def test_a_model_that_is_frozen_is_refused():
    with pytest.raises(ValueError, match="all are frozen"):
        Trainer(Noisy().requires_grad_(False), cross_entropy, PLAN)


def test_a_run_killed_again_and_again_ends_the_same(tmp_path):
    path = tmp_path / "run.safetensors"
    whole = trainer()
    losses = train_on(whole, batches())
    expected = everything(whole)
    for step in (2, 3, 3):
        killed_at(step, PLAN, path, every=2)
    resumed = trainer(seed=17)
    train_on(resumed, batches(), path, every=2)
    assert_equal(resumed, expected, losses)
    again = trainer(seed=19)
    assert train_on(again, batches(), path) == losses
    assert_equal(again, expected, losses)


def test_the_scale_of_the_loss_goes_on_where_it_was(tmp_path):
    """After a gradient of ∞ it is half of what a new run begins with, and counts good steps."""
    plan = replace(PLAN, precision=torch.float16)
    run, resumed, source = trainer(plan), trainer(plan), batches()
    loss_of = run.loss_of
    for factor in (float("inf"), 1.0, 1.0):
        run.loss_of = lambda *batch, factor=factor: loss_of(*batch) * factor
        run.step(next(source))
    save_checkpoint(run, tmp_path / "run")
    load_checkpoint(resumed, tmp_path / "run")
    assert resumed.scaler.get_scale() == 32768
    assert resumed.scaler.state_dict() == run.scaler.state_dict()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_checkpoint import PLAN, batches, train_on, trainer

def until_killed():
    for i, batch in enumerate(batches()):
        if i == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch

train_on(trainer(), until_killed(), Path({path!r}), every=2)
"""


def test_a_process_that_is_killed_can_be_resumed(tmp_path):
    path = tmp_path / "run.safetensors"
    code = KILLED.format(folder=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    resumed, whole = trainer(seed=17), trainer()
    losses = train_on(whole, batches())
    expected = everything(whole)
    assert load_checkpoint(resumed, path)
    assert len(resumed.losses) == 6
    train_on(resumed, batches(), path)
    assert_equal(resumed, expected, losses)


def write_half(tensors: dict, partly: Path, metadata: dict) -> None:
    partly.write_bytes(b"half of it")
    raise Killed


def die(*arguments: object) -> None:
    raise Killed


@pytest.mark.parametrize(
    "broken", [(module, "save_file", write_half), (module.os, "fsync", die), (Path, "replace", die)]
)
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, broken):
    path, run = tmp_path / "run.safetensors", trainer()
    save_checkpoint(run, path)
    before = path.read_bytes()
    run.step(next(batches()))
    monkeypatch.setattr(*broken)
    with pytest.raises(Killed):
        save_checkpoint(run, path)
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_the_file_is_renamed_only_when_whole(tmp_path, monkeypatch):
    """At the moment of the renaming, the other name holds all that the file will hold."""
    path, sizes, rename = tmp_path / "run.safetensors", [], Path.replace

    def watched(partly: Path, target: Path) -> Path:
        sizes.append((partly.stat().st_size, target.exists()))
        return rename(partly, target)

    monkeypatch.setattr(Path, "replace", watched)
    save_checkpoint(trainer(), path)
    assert sizes == [(path.stat().st_size, False)]


@pytest.fixture
def stored(tmp_path) -> Path:
    """The checkpoint of a run of four steps."""
    path, run, source = tmp_path / "run.safetensors", trainer(), batches()
    batch = ()
    for _ in range(4):
        batch = next(source)
        run.step(batch)
    save_checkpoint(run, path, batch)
    return path


def altered(path: Path, change) -> None:
    """Rewrite the file with its tensors and facts changed."""
    with safe_open(path, "pt") as opened:
        facts = json.loads(opened.metadata()[HEADER])
    tensors = load_file(path)
    change(tensors, facts)
    save_file(tensors, path, metadata={HEADER: json.dumps(facts)})


def refused(path: Path, message: str, run: Trainer | None = None) -> None:
    """Loading raises, and leaves the trainer as it was."""
    run = run or trainer(seed=17)
    before, losses = everything(run), [*run.losses]
    with pytest.raises(ValueError, match=message):
        load_checkpoint(run, path)
    assert_equal(run, before, losses)


def test_every_truncated_file_is_refused(stored):
    whole = stored.read_bytes()
    for length in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        stored.write_bytes(whole[:length])
        refused(stored, "damaged, or no safetensors file")


@pytest.mark.parametrize("content", [b"\x80\x04\x95pickle", b"{}", b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(stored, content):
    stored.write_bytes(content)
    refused(stored, "damaged, or no safetensors file")


def test_no_file_and_no_checkpoint_are_named(tmp_path):
    refused(tmp_path / "none", "none is missing")
    refused(tmp_path, "damaged, or no safetensors file")
    save_file(trainer().model.state_dict(), tmp_path / "weights")
    refused(tmp_path / "weights", "no checkpoint of a training run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, f: f.pop("scaler"), "no checkpoint of a training run"),
        (lambda t, f: f.update(losses={}), "no checkpoint of a training run"),
        (lambda t, f: f["plan"].pop("clip"), "no checkpoint of a training run"),
        (lambda t, f: f["plan"].update(clip=1), "no checkpoint of a training run"),
        (lambda t, f: f.update(losses=["1.0"]), "no checkpoint of this training run"),
        (lambda t, f: f.update(losses=[1.0] * 12), "no checkpoint of this training run"),
        (lambda t, f: f["scaler"].update(scale="1"), "no checkpoint of this training run"),
        (lambda t, f: t.pop("random.cpu"), "random.cpu is missing there"),
        (lambda t, f: t.update({"random.cpu": torch.zeros(3)}), r"random.cpu is .* of \(3,\)"),
        (lambda t, f: t.pop("model.unused"), "model.unused is missing there"),
        (lambda t, f: t.update({"model.unused": torch.zeros(4)}),
         r"torch.float32 of \(4,\) there, torch.float32 of \(3,\) here"),
        (lambda t, f: t.update({"model.unused": torch.zeros(3).half()}), "torch.float16"),
        (lambda t, f: t.update({"model.x": torch.zeros(3)}), r"model.x is .* missing here"),
        (lambda t, f: t.update({"optimizer.9.step": torch.zeros(())}), "optimizer.9.step"),
        (lambda t, f: t.update({"optimizer.0.exp_avg": torch.zeros(1)}), "optimizer.0.exp_avg"),
        (lambda t, f: t.update({"evil": torch.zeros(1)}), "evil is .* missing here"),
    ],
)  # fmt: skip
def test_a_file_that_was_tampered_with_is_refused(stored, change, message):
    altered(stored, change)
    refused(stored, message)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, learning_rate=0.02), "learning_rate is 0.01 there, 0.02 here"),
        (replace(PLAN, steps=12), "steps is 11 there, 12 here"),
        (replace(PLAN, micro_batches=1), "micro_batches is 2 there, 1 here"),
        (replace(PLAN, schedule=warmup_cosine), "schedule is warmup_linear there, warmup_cosine"),
        (replace(PLAN, schedule=partial(warmup_linear, floor=0.1)), r"\{'floor': 0.1\} here"),
        (replace(PLAN, precision=torch.float16), "precision is None there, torch.float16 here"),
    ],
)
def test_another_plan_is_named(stored, plan, message):
    refused(stored, message, trainer(plan))


def test_a_schedule_with_settings_is_known_again(tmp_path):
    plan = replace(PLAN, schedule=partial(warmup_stable_decay, decay=0.5))
    save_checkpoint(trainer(plan), tmp_path / "run")
    load_checkpoint(trainer(plan), tmp_path / "run")


def test_other_batches_are_named(stored):
    with pytest.raises(ValueError, match="made with other batches"):
        train_on(trainer(), batches(seed=6), stored)
    used = batches()
    next(used)
    with pytest.raises(ValueError, match="made with other batches"):
        train_on(trainer(), used, stored)
    with pytest.raises(ValueError, match="made with other batches"):
        train_on(trainer(), itertools.islice(batches(), 3), stored)


def test_batches_that_end_and_a_bad_interval_are_named(tmp_path):
    with pytest.raises(ValueError, match="ended after 5 of 11 steps"):
        train_on(trainer(), itertools.islice(batches(), 5))
    with pytest.raises(ValueError, match="every must be positive, got 0"):
        train_on(trainer(), batches(), tmp_path / "run", every=0)


def test_a_digest_tells_batches_apart():
    ids, targets = next(batches())
    assert digest((ids, targets)) == digest((ids.clone(), targets.clone()))
    assert digest((ids[1:], targets)) != digest((ids, targets))
    assert digest((ids, targets.clone().fill_(IGNORED))) != digest((ids, targets))


def test_nothing_is_unpickled(stored, monkeypatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("pickle.Unpickler", refuse)
    monkeypatch.setattr("pickle.loads", refuse)
    load_checkpoint(trainer(), stored)


def test_tied_parameters_are_stored_under_both_names(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = self.a

    made = [Trainer(Tied(), torch.sum, PLAN) for _ in range(2)]
    save_checkpoint(made[0], tmp_path / "run")
    load_checkpoint(made[1], tmp_path / "run")
    assert torch.equal(made[0].model.a.weight, made[1].model.b.weight)
