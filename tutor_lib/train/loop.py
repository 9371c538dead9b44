"""The training loop: batches of next-token prediction with AdamW."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from tutor_lib.train.schedule import warmup_cosine

NOTHING = -100  # what follows the last token, and is not predicted


def next_token_loss(logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean of -log p(next token), in nats: position t predicts token t + 1."""
    targets = F.pad(ids[:, 1:], (0, 1), value=NOTHING)  # cheaper than a copy of the logits
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NOTHING)


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


def make_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with decay on matrices only: Loshchilov and Hutter 2019 (arXiv:1711.05101).

    Norm gains are left alone: pulling a gain to 0 would silence its layer.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))


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
    loss_of = loss_function(model, compiled)
    optimizer = make_optimizer(model, learning_rate, weight_decay)
    losses = []
    with tqdm(range(steps), unit="step", dynamic_ncols=True) as progress:
        for step in progress:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * warmup_cosine(step, steps, warmup=steps // 16)
            losses.append(_step(model, loss_of(next(batches)), optimizer, clip))
            progress.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses


def _step(
    model: nn.Module, loss: Float[Tensor, ""], optimizer: torch.optim.Optimizer, clip: float
) -> float:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def consecutive_windows(tokens: Int[Tensor, "N"], length: int) -> Int[Tensor, "B T"]:
    """`tokens` cut into windows one after the other; a shorter rest is left out."""
    return tokens[: len(tokens) // length * length].view(-1, length)


@torch.no_grad()
def held_out_loss(model: nn.Module, tokens: Int[Tensor, "N"], length: int) -> float:
    """The mean loss over consecutive windows of `tokens`, in nats a token."""
    windows = consecutive_windows(tokens, length)
    losses = [next_token_loss(model(chunk), chunk) * len(chunk) for chunk in windows.split(64)]
    return float(sum(losses) / len(windows))
