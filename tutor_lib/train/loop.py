"""The training loop: batches of next-token prediction, and how well the rest is predicted."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from tutor_lib.train.checkpoint import digest, load_checkpoint, save_checkpoint
from tutor_lib.train.loss import next_token_loss
from tutor_lib.train.trainer import Batch, Trainer, TrainingPlan


def loss_function(
    model: nn.Module, compiled: bool = False
) -> Callable[[Int[Tensor, "B T"]], Float[Tensor, ""]]:
    """The loss of `model` as a function of ids.

    `compiled` lets `torch.compile` fuse the forward and backward passes: a minute of waiting
    before the first step, then a fifth faster steps. It needs a C++ compiler.
    """

    def loss(ids: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
        return next_token_loss(model(ids), ids)

    return torch.compile(loss) if compiled else loss


def random_windows(
    tokens: Int[Tensor, "N"], batch: int, length: int, generator: torch.Generator
) -> Iterator[Int[Tensor, "B T"]]:
    """Endless batches of windows that start anywhere in the corpus.

    Raises ValueError if the corpus is shorter than a window.
    """
    if len(tokens) < length:
        raise ValueError(f"a window of {length} does not fit a corpus of {len(tokens)} tokens")
    windows = tokens.unfold(0, length, 1)
    while True:
        yield windows[torch.randint(len(windows), (batch,), generator=generator)]


def train(
    model: nn.Module,
    batches: Iterator[Int[Tensor, "B T"]],
    steps: int,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.1,
    clip: float = 1.0,
    compiled: bool = False,
) -> list[float]:
    """Train for `steps` batches; return the loss of each, in nats a token.

    The learning rate warms up over the first sixteenth of the run. The gradient's norm over
    all parameters is clipped to `clip` before each step. `compiled`: see `loss_function`.
    """
    plan = TrainingPlan(steps, learning_rate, weight_decay, clip)
    trainer = Trainer(model, loss_function(model, compiled), plan)
    return train_on(trainer, ((ids,) for ids in batches))


def train_on(
    trainer: Trainer,
    batches: Iterable[Batch],
    checkpoint: Path | None = None,
    every: int = 100,
) -> list[float]:
    """Train to the end of the trainer's plan; return the loss of each step, in nats a target.

    With `checkpoint`, the run is stored in that file before the first step, after every `every`
    steps and after the last. Where the file is there already, the run goes on from it, and ends
    bit for bit as if it had not been interrupted: hand over the same batches from the first one
    on; those that were trained on are drawn again and left out.

    Raises ValueError if the batches end early or are others than before, if `every` < 1, or if
    the file does not fit: see `load_checkpoint`.
    """
    if every < 1:
        raise ValueError(f"every must be positive, got {every}")
    batches = iter(batches)  # a list would begin again after what is left out
    if checkpoint is not None:
        _begin(trainer, batches, checkpoint)
    done, steps = len(trainer.losses), trainer.plan.steps
    with tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True) as progress:
        for step, batch in enumerate(islice(batches, steps - done), done + 1):
            loss = trainer.step(batch)
            progress.update()
            progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if checkpoint is not None and (step % every == 0 or step == steps):
                save_checkpoint(trainer, checkpoint, batch)
    if len(trainer.losses) < steps:
        raise ValueError(f"the batches ended after {len(trainer.losses)} of {steps} steps")
    return trainer.losses


def _begin(trainer: Trainer, batches: Iterator[Batch], checkpoint: Path) -> None:
    """Store the run before its first step, or go on with the stored one."""
    if not checkpoint.exists():
        save_checkpoint(trainer, checkpoint)
        return
    expected = load_checkpoint(trainer, checkpoint)
    with torch.random.fork_rng():  # whatever is drawn to make the batches again
        last = deque(islice(batches, len(trainer.losses)), maxlen=1)
    if digest(last[0] if last else ()) != expected:
        raise ValueError(f"{checkpoint} was made with other batches than these")


def consecutive_windows(tokens: Int[Tensor, "N"], length: int) -> Int[Tensor, "B T"]:
    """`tokens` cut into windows one after the other; a shorter rest is left out."""
    return tokens[: len(tokens) // length * length].view(-1, length)


@torch.no_grad()
def held_out_loss(model: nn.Module, tokens: Int[Tensor, "N"], length: int) -> float:
    """The mean loss over consecutive windows of `tokens`, in nats a token."""
    windows = consecutive_windows(tokens, length)
    losses = [next_token_loss(model(chunk), chunk) * len(chunk) for chunk in windows.split(64)]
    return float(sum(losses) / len(windows))
