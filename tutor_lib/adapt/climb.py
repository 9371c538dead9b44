"""What PPO and GRPO share: answer, be judged, step up the reward, and again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from tqdm import tqdm

from tutor_lib.adapt.rollout import Rollout, Task, roll_out
from tutor_lib.model.decoder import Decoder


@dataclass(frozen=True)
class Step:
    """One step of training: mean reward, nats an answer from the reference, and the loss."""

    reward: float
    kl: float
    loss: float


def climb(
    policy: Decoder,
    reference: Decoder,
    task: Task,
    update: Callable[[Rollout], list[float]],
    steps: int,
    n_prompts: int,
    group_size: int,
    generator: torch.Generator,
) -> Iterator[Step]:
    """Let `policy` answer and `update` it, step by step; yield each step as it is made.

    A step draws `n_prompts` prompts, each answered `group_size` times in a row. `update`
    returns the loss of each of its updates. Dropout is off all along: a token's probability must
    be the one with which it was drawn.

    Raises ValueError as `roll_out` and `update` do.
    """
    policy.eval()
    with tqdm(range(steps), unit="step", dynamic_ncols=True) as progress:
        for _ in progress:
            drawn = task.draw(n_prompts, generator)
            prompts = [prompt for prompt in drawn for _ in range(group_size)]
            made = roll_out(policy, reference, task, prompts, generator)
            losses = update(made)
            step = Step(made.rewards.mean().item(), made.kl, sum(losses) / len(losses))
            progress.set_postfix(reward=f"{step.reward:.3f}", kl=f"{step.kl:.2f}", refresh=False)
            yield step
