"""Descend a loss over given examples, which is all that SFT, reward models and DPO ask for."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from tutor_lib.train.schedule import warmup_cosine
from tutor_lib.train.trainer import make_optimizer

T = TypeVar("T")


@dataclass(frozen=True)
class Fit:
    """How long to train, on how many examples a step, how fast.

    Raises ValueError if a number is not positive.
    """

    steps: int
    batch: int
    learning_rate: float

    def __post_init__(self) -> None:
        for name, number in vars(self).items():
            if not 0 < number < math.inf:
                raise ValueError(f"{name} must be positive, got {number}")


def fit(
    model: nn.Module,
    loss_of: Callable[[Sequence[T]], Tensor],
    data: Sequence[T],
    plan: Fit,
    generator: torch.Generator,
) -> Iterator[float]:
    """Step down `loss_of` batches of `data`; yield each step's loss, as each is made.

    AdamW without decay; the learning rate warms up and then falls along half a cosine. Every
    example is seen once before one is seen again. Shows a progress bar. The model trains in the
    mode it is in: `model.train()` turns dropout on.

    Raises ValueError if there are no data, or a loss is not finite.
    """
    optimizer = make_optimizer(model, plan.learning_rate, weight_decay=0.0)
    batches = shuffled_batches(data, plan.batch, generator)
    with tqdm(range(plan.steps), unit="step", dynamic_ncols=True) as progress:
        for step in progress:
            factor = warmup_cosine(step, plan.steps, warmup=plan.steps // 16)
            for group in optimizer.param_groups:
                group["lr"] = plan.learning_rate * factor
            loss = descend(optimizer, loss_of(next(batches)))
            progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
            yield loss


def shuffled_batches(data: Sequence[T], size: int, generator: torch.Generator) -> Iterator[list[T]]:
    """Endless batches of `size`: all data in random order, then in another, and so on.

    Raises ValueError if there are none.
    """
    if not len(data):
        raise ValueError("there are no data to train on")
    order = itertools.chain.from_iterable(
        torch.randperm(len(data), generator=generator, device=generator.device).tolist()
        for _ in itertools.count()
    )
    while True:
        yield [data[i] for i in itertools.islice(order, size)]


def chunks(data: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`data` in its order, `size` at a time."""
    return (data[i : i + size] for i in range(0, len(data), size))


def descend(optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""], clip: float = 1.0) -> float:
    """One step down the gradient, its norm clipped to `clip`; returns the loss.

    Raises ValueError if the loss is not finite.
    """
    if not math.isfinite(value := loss.item()):
        raise ValueError(f"the loss is {value}")
    optimizer.zero_grad()
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    return value
