"""Speculative decoding against its target alone, held to the formula's speed-up.

Leviathan et al. take a pass over γ + 1 tokens to last as long as one over a single token. On a
CPU that is near the truth in bfloat16 (1.0 to 1.2 times as long for 2 to 5 tokens when this was
written) and not in float32 (1.3 to 1.5 times): there a product with one row is much the fastest.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace

import torch

from tests.bench.harness import Comparison, seconds
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler
from tutor_lib.predict.speculative import acceptance_rate, expected_speedup, speculate

CONFIG = DecoderConfig(
    vocab_size=1024, context_length=80, n_layers=12, d_model=512, n_heads=8, n_kv_heads=8,
    d_ff=1408, tied=False,
)  # fmt: skip
GREEDY = Sampler(temperature=0.0)
PROMPT = torch.tensor([[3, 4, 5, 6, 7]])
NEW, GAMMA = 64, 3


def rows() -> list[Comparison]:
    target, draft = counting_pair()
    rounds = list(speculate(target, draft, PROMPT, NEW, GAMMA, GREEDY))
    alpha, cost = acceptance_rate(rounds), relative_cost(draft, target)
    return [
        Comparison(
            f"speculative decoding, γ {GAMMA}, α {alpha:.2f}, c {cost:.2f}",
            "the target alone",
            lambda: [t for r in speculate(target, draft, PROMPT, NEW, GAMMA, GREEDY)
                     for t in r.tokens[0].tolist()],
            lambda: [int(token) for token in generate(target, PROMPT, NEW, GREEDY)],
            list.__eq__,
            at_least=0.85 * expected_speedup(alpha, GAMMA, cost),
            rounds=21,
        )
    ]  # fmt: skip


def counting_pair() -> tuple[Decoder, Decoder]:
    """A target that says t + 1 after t, and its first two layers, wrong for some t.

    Both are sure of what they say, so that bfloat16 cannot turn a choice. Which tokens the
    draft misses is independent from one to the next, as the formula takes it.
    """
    torch.manual_seed(0)
    target = Decoder(CONFIG)
    draft = Decoder(replace(CONFIG, n_layers=2))
    with torch.no_grad():
        embedding = target.embedding.weight.normal_()
        target.unembedding.weight.copy_(embedding.roll(1, dims=0))
        weights = {name: target.state_dict()[name].clone() for name in draft.state_dict()}
        missed = torch.rand(CONFIG.vocab_size) < 0.15
        weights["unembedding.weight"][missed] = weights["unembedding.weight"][missed].roll(1, 0)
        draft.load_state_dict(weights)
    return target.bfloat16().eval(), draft.bfloat16().eval()


def relative_cost(draft: Decoder, target: Decoder) -> float:
    """c: one token through the draft over one through the target, timed in turn."""
    one, other = one_token(draft), one_token(target)
    return statistics.median(seconds(one) / seconds(other) for _ in range(25))


@torch.no_grad()
def one_token(model: Decoder) -> Callable[[], object]:
    caches, half = model.new_caches(1), NEW // 2
    model(torch.arange(half)[None], caches)

    @torch.no_grad()
    def run() -> None:
        model(PROMPT[:, :1], caches)
        for cache in caches:
            cache.crop(half)

    return run
