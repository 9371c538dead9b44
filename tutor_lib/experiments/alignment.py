"""Can comparisons and rewards teach what careless demonstrations could not?

The storyteller learns to tell stories to order from demonstrations that heed each of six wishes
with probability `care` only, and so becomes at least as careless as they are. Then DPO, GRPO, and
PPO with a learned reward model go on from there, each with as many answers a step. GRPO is paid by
the rule itself. PPO is paid by a model of it, and finds out where the model is wrong: its score
goes on rising when the reward has long begun to fall, as in Gao et al. 2022 (arXiv:2210.10760).

Curves are to be read one by one. PPO updates twice on each batch of answers, and only DPO's
learning rate falls: they tell what each kind of reward does, not which method is best.
"""

import copy
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from tutor_lib.adapt.dpo import dpo
from tutor_lib.adapt.fit import Fit, chunks
from tutor_lib.adapt.grpo import GRPO, grpo
from tutor_lib.adapt.ppo import PPO, ppo
from tutor_lib.adapt.reward import (
    Preference,
    ScalarModel,
    accuracy,
    preferences,
    train_reward_model,
)
from tutor_lib.adapt.rollout import RewardFunction, Task, exact_kl, frozen_copy, sample
from tutor_lib.adapt.sft import Example, fine_tune, pack, tokenized
from tutor_lib.experiments.alignment_task import Wish, demonstration, is_story, reward, wishes
from tutor_lib.experiments.plot import panels
from tutor_lib.model.decoder import Decoder
from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.train.loss import IGNORED
from tutor_lib.train.storyteller import load_storyteller

LONGEST = 56  # tokens of an answer; a story has about 40
METHODS = {"dpo": "DPO", "grpo": "GRPO", "ppo": "PPO, learned reward"}


@dataclass(frozen=True)
class Plan:
    """The sizes of the experiment."""

    care: float = 0.6
    demonstrations: int = 4000
    prompts: int = 2000  # to sample answers to
    held_out: int = 128  # to measure with
    sft_steps: int = 180
    sft_batch: int = 48
    sft_rate: float = 1e-3
    compared: int = 512  # prompts whose answers are ranked, for DPO and the reward model
    group: int = 4  # answers to each of them
    margin: float = 0.25  # of reward, in a pair: two wishes or more
    judge_steps: int = 240
    judge_rate: float = 5e-4
    steps: int = 32
    answers: int = 64  # a step, of each method
    every: int = 4  # steps between measurements
    dpo_rate: float = 5e-5
    dpo_beta: float = 0.1
    rate: float = 1e-4  # of GRPO and PPO
    grpo_beta: float = 0.04
    ppo_beta: float = 0.02


FULL = Plan()
CUT_DOWN = Plan(
    demonstrations=200, prompts=20, held_out=4, sft_steps=10, sft_batch=16, compared=8,
    judge_steps=1, steps=1, answers=8, every=1,
)  # fmt: skip


class Desk:
    """What turns wishes into tokens, and judges answers in tokens by the rule."""

    def __init__(self, tokenizer: BytePairTokenizer, asked: Sequence[Wish]) -> None:
        self.tokenizer, self.end = tokenizer, tokenizer.end_of_text_id
        self.prompts = [tuple(tokenizer.encode_ordinary(wish.prompt)) for wish in asked]
        self.wish_of = dict(zip(self.prompts, asked, strict=True))

    def text(self, example: Example) -> str:
        """The answer's text, without its end."""
        return self.tokenizer.decode(i for i in example.answer if i != self.end)

    def rule(self, examples: Sequence[Example]) -> list[float]:
        """What the rule gives each answer."""
        return [
            reward(self.wish_of[e.prompt], self.text(e), e.answer[-1] == self.end) for e in examples
        ]


@dataclass(frozen=True)
class Lab:
    """What all methods begin with: the model fine-tuned on demonstrations, prompts, and pairs."""

    plan: Plan
    desk: Desk
    start: Decoder
    held_out: Sequence[tuple[int, ...]]
    prompts: Sequence[tuple[int, ...]]
    pairs: Sequence[Preference]
    judge: ScalarModel  # learned from the pairs
    seed: int

    def policy(self) -> Decoder:
        """The model that all begin with, ready to be trained."""
        return copy.deepcopy(self.start).requires_grad_()

    def dpo(self, policy: Decoder) -> Iterator[object]:
        """Learn from the pairs."""
        fit = Fit(self.plan.steps, self.plan.answers // 2, self.plan.dpo_rate)
        return dpo(policy, self.start, self.pairs, fit, self._generator(), self.plan.dpo_beta)

    def grpo(self, policy: Decoder) -> Iterator[object]:
        """Learn from the rule."""
        plan, size = self.plan, 8
        settings = GRPO(plan.steps, plan.answers // size, size, plan.rate, plan.grpo_beta)
        return grpo(policy, self.start, self._task(self.desk.rule), settings, self._generator())

    def ppo(self, policy: Decoder) -> Iterator[object]:
        """Learn from the reward model, with which the values begin too, as in Ouyang et al."""
        plan, value = self.plan, copy.deepcopy(self.judge)
        settings = PPO(plan.steps, plan.answers, plan.rate, plan.ppo_beta)
        task = self._task(self.learned)
        return ppo(policy, value, self.start, task, settings, self._generator())

    def follow(self, policy: Decoder, steps: Iterable[object]) -> dict[str, list[float]]:
        """Train, and measure every few steps, before the first one too."""
        points = [{"step": 0, **self.measure(policy)}]
        for step, _ in enumerate(steps, start=1):
            if step % self.plan.every == 0:
                points.append({"step": step, **self.measure(policy)})
        return {key: [point[key] for point in points] for key in points[0]}

    @torch.no_grad()
    def measure(self, policy: Decoder) -> dict[str, float]:
        """Means over answers to the held-out prompts; errors are standard errors of the mean.

        `kl` is that to the start, in nats an answer: exact at each token, for answers drawn.
        """
        answers = self.answers(policy, self.held_out)
        ids, targets = pack(answers, policy.config.context_length)
        kl = exact_kl(policy(ids), self.start(ids)).where(targets != IGNORED, 0.0).sum(1)
        rewards = torch.tensor(self.desk.rule(answers))
        return {
            "reward": rewards.mean().item(),
            "reward_error": _standard_error(rewards),
            "kl": kl.mean().item(),
            "kl_error": _standard_error(kl),
            "learned": sum(self.learned(answers)) / len(answers),
            "stories": sum(is_story(self.desk.text(e)) for e in answers) / len(answers),
        }

    def answers(self, policy: Decoder, prompts: Sequence[tuple[int, ...]]) -> list[Example]:
        """The policy's answers, drawn with the same numbers each time."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return sample(policy, prompts, LONGEST, self.desk.end, generator)

    @torch.no_grad()
    def learned(self, answers: Sequence[Example]) -> list[float]:
        """What the reward model gives each answer."""
        return self.judge.scores(answers).tolist()

    def _task(self, reward: RewardFunction) -> Task:
        return Task(self.prompts, reward, LONGEST, self.desk.end)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def run(plan: Plan = FULL, seed: int = 0) -> dict:
    """Fine-tune on demonstrations, then by each method; measure reward and KL on the way."""
    generator, rng = torch.Generator().manual_seed(seed), random.Random(seed)
    model, tokenizer = load_storyteller()
    asked = wishes(rng, plan.held_out + plan.prompts + plan.demonstrations)
    desk = Desk(tokenizer, asked)
    held_out, rest = desk.prompts[: plan.held_out], desk.prompts[plan.held_out :]
    shown = demonstrations(desk, rest[plan.prompts :], plan.care, rng)
    fit = Fit(plan.sft_steps, plan.sft_batch, plan.sft_rate)
    losses = [*fine_tune(model, shown, fit, generator)]
    prompts = rest[: plan.prompts]
    pairs = ranked_pairs(model, desk, prompts[: plan.compared], plan, generator)
    judge, judged = reward_model(model, pairs, plan, generator)
    lab = Lab(plan, desk, frozen_copy(model), held_out, prompts, pairs, judge, seed)
    policies, curves = {}, {}
    for name, trained_by in (("dpo", lab.dpo), ("grpo", lab.grpo), ("ppo", lab.ppo)):
        policies[name] = lab.policy()
        curves[name] = lab.follow(policies[name], trained_by(policies[name]))
    return {
        "demonstrations": sum(desk.rule(shown)) / len(shown),
        "sft_losses": losses[:: max(1, len(losses) // 40)],
        "reward_model": judged,
        **curves,
        "examples": examples(lab, {"sft": lab.start, **policies}),
    }


def demonstrations(
    desk: Desk, prompts: Sequence[tuple[int, ...]], care: float, rng: random.Random
) -> list[Example]:
    """A hurried writer's answers."""
    wanted = [desk.wish_of[prompt] for prompt in prompts]
    return [tokenized(desk.tokenizer, w.prompt, demonstration(rng, w, care)) for w in wanted]


def ranked_pairs(
    model: Decoder,
    desk: Desk,
    prompts: Sequence[tuple[int, ...]],
    plan: Plan,
    generator: torch.Generator,
) -> list[Preference]:
    """The model's own answers, of which the rule prefers one to another."""
    pairs: list[Preference] = []
    for some in chunks(prompts, 16):
        repeated = [prompt for prompt in some for _ in range(plan.group)]
        answers = sample(model, repeated, LONGEST, desk.end, generator)
        for one in chunks(answers, plan.group):
            pairs += preferences(one, desk.rule(one), plan.margin)
    return pairs


def reward_model(
    model: Decoder, pairs: Sequence[Preference], plan: Plan, generator: torch.Generator
) -> tuple[ScalarModel, dict[str, float]]:
    """A model that learned the rule from nine tenths of the pairs, and how well."""
    judge, kept = ScalarModel(model), len(pairs) * 9 // 10
    fit = Fit(plan.judge_steps, plan.answers // 2, plan.judge_rate)
    losses = [*train_reward_model(judge, pairs[:kept], fit, generator)]
    found = {
        "pairs": len(pairs),
        "last_loss": losses[-1],
        "accuracy": accuracy(judge, pairs[kept:]),
    }
    return judge, found


def examples(lab: Lab, policies: dict[str, Decoder]) -> list[dict[str, str]]:
    """What each policy answers to the same few prompts."""
    prompts = lab.held_out[:3]
    rows = [{"prompt": lab.desk.wish_of[prompt].prompt} for prompt in prompts]
    for name, policy in policies.items():
        for row, answer in zip(rows, lab.answers(policy, prompts), strict=True):
            row[name] = lab.desk.text(answer).strip()
    return rows


def figure(results: dict) -> Figure:
    """What was wanted, what PPO was paid for, what nobody asked for, and how far they went."""
    drawn, (rewards, scores, stories, distances) = panels(
        ["Reward by the rule", "Score by the reward model", "Form", "Distance from the start"]
    )
    for name, label in METHODS.items():
        curve = results[name]
        step = curve["step"]
        for panel, key in ((rewards, "reward"), (distances, "kl")):
            error = curve[f"{key}_error"]
            panel.errorbar(step, curve[key], error, fmt="o-", markersize=3, label=label)
        scores.plot(step, curve["learned"], "o-", markersize=3, label=label)
        stories.plot(step, curve["stories"], "o-", markersize=3, label=label)
    rewards.axhline(
        results["demonstrations"], color="0.4", linestyle="--", label="the demonstrations"
    )
    rewards.set_ylabel("mean share of wishes met, 0 to 1")
    scores.set_ylabel("mean score, log-odds of being preferred")
    stories.set_ylabel("share of well-formed stories, 0 to 1")
    distances.set_ylabel("KL to the SFT model, nats an answer")
    for panel in (rewards, scores, stories, distances):
        panel.set_xlabel("steps after SFT")
        panel.legend(fontsize="small")
    return drawn


def _standard_error(x: Float[Tensor, "B"]) -> float:
    return (x.std() / len(x) ** 0.5).item()
