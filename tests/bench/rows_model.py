"""Decoding and training against `transformers`' Llama with the same weights.

Two sizes: the storyteller's, and 10 M parameters as in nanoGPT's smallest (L 6, C 384, H 6).
Decoding is greedy, from a prompt of 16 tokens, by `generate` of each. A training step is the
forward pass with its loss, the backward pass and AdamW (PyTorch's fused one for both); ours is
compiled, as `train(…, compiled=True)` does. In a small batch calls cost most, in a large one passes
over memory: the storyteller has a row for each, the second with its own batch.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from tests.bench.harness import Comparison
from tutor_lib.model.checkpoint_config import write_config
from tutor_lib.model.checkpoint_names import rules
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.fast import FastDecoder
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler
from tutor_lib.train.loop import loss_function
from tutor_lib.train.storyteller import BATCH, CONFIG

NEW_TOKENS = 128
SIZES = {
    "storyteller-sized": replace(CONFIG, context_length=16 + NEW_TOKENS),
    "10 M": DecoderConfig(640, 256, 6, 384, 6, 6, 1024),
}


def rows() -> list[Comparison]:
    return [
        decoding("storyteller-sized", at_least=4.0),
        decoding("10 M", at_least=2.0),
        training("storyteller-sized", (2, 128), at_least=1.3),
        training("storyteller-sized", (BATCH, 128), at_least=1.1),
        training("10 M", (4, 128), at_least=1.1),
    ]


def pair(config: DecoderConfig) -> tuple[Decoder, LlamaForCausalLM]:
    """Ours and theirs, with the same random weights."""
    torch.manual_seed(0)
    ours = Decoder(config)
    for parameter in ours.parameters():  # far apart, so that no two tokens tie
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.1)
    theirs = LlamaForCausalLM(LlamaConfig(**write_config(config)))
    state = ours.state_dict()
    weights = {rule.theirs[0]: state[rule.ours[0]] for rule in rules(config)}
    theirs.load_state_dict(weights, strict=False)
    return ours, theirs


def decoding(size: str, at_least: float) -> Comparison:
    ours, theirs = pair(SIZES[size])
    fast, theirs = FastDecoder(ours.eval()), theirs.eval()
    prompt = torch.randint(ours.config.vocab_size, (1, 16))
    greedy = Sampler(temperature=0.0)

    def mine() -> Tensor:
        return torch.stack(list(generate(fast, prompt, NEW_TOKENS, greedy)), dim=1)

    def peers() -> Tensor:
        with torch.no_grad():
            made = theirs.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0,
                eos_token_id=None, max_new_tokens=NEW_TOKENS,
            )  # fmt: skip
        return made[:, 16:]

    return Comparison(f"decode 128 tokens, {size}", "transformers generate", mine, peers,
                      torch.equal, at_least)  # fmt: skip


def training(size: str, shape: tuple[int, int], at_least: float) -> Comparison:
    ours, theirs = pair(SIZES[size])
    ids = torch.randint(ours.config.vocab_size, shape)

    def their_loss() -> Tensor:
        return theirs(ids, labels=ids).loss

    loss_of = loss_function(ours, compiled=True)
    work = f"training step, {size}, {shape[0]} × {shape[1]} tokens"
    return Comparison(work, "transformers Llama",
                      step(ours, lambda: loss_of(ids)),
                      step(theirs.train(), their_loss),
                      lambda a, b: abs(a - b) < 1e-4, at_least)  # fmt: skip


def step(model: nn.Module, loss_of: Callable[[], Tensor]) -> Callable[[], float]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def run() -> float:
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return run
