"""One step of training after the other: accumulate, unscale, clip, update."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutor_lib.train.loss import IGNORED
from tutor_lib.train.schedule import Schedule, warmup_cosine

# Tensors of B rows each; the last one holds the targets.
Batch = Sequence[Tensor]
LossFunction = Callable[..., Float[Tensor, ""]]


@dataclass(frozen=True)
class TrainingPlan:
    """How to train, whatever the model and the data.

    `micro_batches`: each batch is worked on in so many parts, one after the other, which takes
    the memory of one part and gives the step of the whole batch.

    `precision`: bfloat16 or float16 computes products and attention in half precision
    (`torch.autocast`), and sums, norms and the loss in float32. The weights stay in float32:
    an update is often less than 1/256 of its weight, where bfloat16 would round it to nothing.
    float16 also scales the loss, lest small gradients become 0. None: all as the weights are.
    Micikevicius et al. 2018 (arXiv:1710.03740).

    Raises ValueError if a number is out of its range.
    """

    steps: int
    learning_rate: float = 3e-3  # the peak
    weight_decay: float = 0.1
    clip: float = 1.0  # the largest norm of the gradient over all parameters
    schedule: Schedule = warmup_cosine
    warmup: int | None = None  # steps; a sixteenth of the run if None
    micro_batches: int = 1
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "learning_rate", "clip", "micro_batches"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        if self.precision not in (None, torch.bfloat16, torch.float16):
            raise ValueError(f"precision must be bfloat16, float16 or None, got {self.precision}")
        self.learning_rate_at(0)  # the schedule checks what it is given

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of the step after `step` others."""
        warmup = self.steps // 16 if self.warmup is None else self.warmup
        return self.learning_rate * self.schedule(step, self.steps, warmup)


class Trainer:
    """A model on its way through a plan: all that changes from step to step.

    `loss_of(*batch)` is the mean loss over the batch's targets, which are its last tensor.
    """

    def __init__(self, model: nn.Module, loss_of: LossFunction, plan: TrainingPlan) -> None:
        self.model, self.loss_of, self.plan = model, loss_of, plan
        self.optimizer = make_optimizer(model, plan.learning_rate, plan.weight_decay)
        self.device = next(model.parameters()).device
        # Without float16 it does nothing.
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=plan.precision is torch.float16
        )
        self.losses: list[float] = []  # of each step so far

    def step(self, batch: Batch) -> float:
        """One step on `batch`; return its loss, in nats a target.

        In float16 an infinite or NaN gradient skips the update and halves the loss's scale;
        2,000 steps without one double it.

        Raises ValueError if the plan is at its end, the batch holds no target, or the loss is
        not finite without float16; the weights are then as they were.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate_at(len(self.losses))
        self.optimizer.zero_grad()
        loss = self._add_gradients(batch)
        if not (math.isfinite(loss) or self.scaler.is_enabled()):
            raise ValueError(f"the loss of step {len(self.losses)} is {loss}")
        self.scaler.unscale_(self.optimizer)  # before the clip, which would see the scale
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.losses.append(loss)
        return loss

    def _add_gradients(self, batch: Batch) -> float:
        """The gradient of the mean over all targets, however many each part holds.

        A mean of the parts' means would let a token of a part with few targets count more.
        """
        n_targets = count_targets(batch)
        if not n_targets:
            raise ValueError(f"a batch of {len(batch[0])} rows holds no target")
        total = 0.0
        for part in micro_batches(batch, self.plan.micro_batches):
            if n_here := count_targets(part):
                loss = self._loss(part) * (n_here / n_targets)
                self.scaler.scale(loss).backward()
                total += loss.item()
        return total

    def _loss(self, batch: Batch) -> Float[Tensor, ""]:
        half = self.plan.precision
        with torch.autocast(self.device.type, half, enabled=half is not None):
            return self.loss_of(*batch)


def micro_batches(batch: Batch, parts: int) -> list[Batch]:
    """The rows of `batch` in `parts` parts of much the same size, fewer if there are fewer rows."""
    parts = min(parts, len(batch[0]))
    return [*zip(*(tensor.tensor_split(parts) for tensor in batch), strict=True)]


def count_targets(batch: Batch) -> int:
    """How many targets the batch's last tensor holds.

    Where that is the ids of a decoder-only model, the last of each row counts too, though
    nothing asks for what follows it: rows are of one length, and only shares are of interest.
    """
    return int((batch[-1] != IGNORED).sum())


def make_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with decay on matrices only: Loshchilov and Hutter 2019 (arXiv:1711.05101).

    Norm gains are left alone: pulling a gain to 0 would silence its layer.

    Raises ValueError if nothing in the model is to be trained.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("no parameter of the model is to be trained: all are frozen")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))
