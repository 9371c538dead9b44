"""Supervised fine-tuning: learn to answer, from prompts with good answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from tutor_lib.adapt.fit import Fit, fit
from tutor_lib.model.decoder import Decoder
from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.train.loss import IGNORED, cross_entropy


@dataclass(frozen=True)
class Example:
    """The token ids of a prompt and of an answer, whose last id is end-of-text if it ended.

    Raises ValueError if either is empty.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.prompt or not self.answer:
            raise ValueError(f"need a prompt and an answer, got {self.prompt} and {self.answer}")


def tokenized(tokenizer: BytePairTokenizer, prompt: str, answer: str) -> Example:
    """The example in tokens. End-of-text follows the answer, so that the model learns to stop.

    Nothing in either text is special: what a user writes cannot end the prompt.
    """
    ids = tokenizer.encode_ordinary(answer)
    return Example(tuple(tokenizer.encode_ordinary(prompt)), (*ids, tokenizer.end_of_text_id))


def pack(
    examples: Sequence[Example], context_length: int, device: torch.device | None = None
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Ids, and as targets the next id where that is a part of the answer, else -100.

    Position t predicts token t + 1: the prompt's last position predicts the answer's first
    token, and end-of-text predicts nothing. Rows are filled up on the right, where no token of
    theirs looks.

    Raises ValueError if there is no example, or one does not fit the context.
    """
    if not examples:
        raise ValueError("there are no examples to pack")
    lengths = [len(e.prompt) + len(e.answer) for e in examples]
    if (longest := max(lengths)) > context_length:
        i = lengths.index(longest)
        raise ValueError(
            f"example {i} has {longest} tokens, which do not fit the context of {context_length}"
        )
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    targets = torch.full_like(ids, IGNORED)
    for row, (e, length) in enumerate(zip(examples, lengths, strict=True)):
        ids[row, :length] = torch.tensor(e.prompt + e.answer)
        targets[row, len(e.prompt) - 1 : length - 1] = torch.tensor(e.answer)
    return ids.to(device), targets.to(device)


def fine_tune(
    model: Decoder, examples: Sequence[Example], plan: Fit, generator: torch.Generator
) -> Iterator[float]:
    """Train `model` on examples, drawn by `generator`; yield the loss of each step.

    -1/n Σ log p(y_t | prompt, y_<t), n the number of answer tokens in the batch, in nats: the
    loss of pre-training, with the prompt's tokens left out. Ouyang et al. 2022, §3.5
    (arXiv:2203.02155), begin so.

    Raises ValueError as `pack` and `fit` do.
    """
    device, length = model.embedding.weight.device, model.config.context_length

    def loss_of(batch: Sequence[Example]) -> Tensor:
        ids, targets = pack(batch, length, device)
        return cross_entropy(model(ids), targets)

    return fit(model, loss_of, examples, plan, generator)
