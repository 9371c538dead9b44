"""What the tests of fine-tuning share: small decoders, and answers to learn from."""

import pytest
import torch
from torch import nn

from tutor_lib.adapt.sft import Example
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder

V = 31


@pytest.fixture
def decoder():
    """A tiny Llama with weights far from their start, so that its choices are not all alike."""

    def make(seed: int = 0, context_length: int = 19) -> Decoder:
        torch.manual_seed(seed)
        model = Decoder(DecoderConfig(V, context_length, 2, 22, 1, 1, 17))
        for parameter in model.parameters():
            nn.init.normal_(parameter, mean=1.0 * (parameter.ndim < 2), std=0.3)
        return model

    return make


@pytest.fixture
def examples() -> list[Example]:
    """Prompts and answers of unequal lengths."""
    return [
        Example((3, 1, 4, 1), (5, 9, 2)),
        Example((6,), (5, 3, 5, 8, 9, 7)),
        Example((9, 3), (2,)),
        Example((3, 8, 4, 6, 2), (6, 4)),
    ]
