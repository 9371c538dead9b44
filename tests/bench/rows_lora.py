"""A training step with LoRA against peft's, on the same base: 10 M parameters, every linear layer.

Both train the same `Decoder` with the same A and B, and PyTorch's fused AdamW for both. Ours is
compiled, as `train(…, compiled=True)` does.
"""

import copy
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from tests.bench.harness import Comparison
from tutor_lib.adapt.lora import inject_lora, lora_layers
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.loop import loss_function

CONFIG = DecoderConfig(640, 256, 6, 384, 6, 6, 1024)
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RANK, ALPHA = 8, 16.0


def rows() -> list[Comparison]:
    return [training((1, 32), at_least=1.1), training((4, 128), at_least=1.1)]


def training(shape: tuple[int, int], at_least: float) -> Comparison:
    ours, theirs = pair()
    ids = torch.randint(CONFIG.vocab_size, shape)
    work = f"LoRA training step, 10 M, {shape[0]} × {shape[1]} tokens"
    return Comparison(work, "peft", step(ours, ids, compiled=True), step(theirs, ids),
                      lambda a, b: abs(a - b) < 1e-4, at_least)  # fmt: skip


def pair() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    base = Decoder(CONFIG)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS)
    theirs = get_peft_model(copy.deepcopy(base), config)
    ours = inject_lora(base, TARGETS, RANK, ALPHA)
    for path, layer in lora_layers(ours):
        peer = theirs.base_model.model.get_submodule(path)
        nn.init.normal_(layer.update.B, std=0.02)
        peer.lora_A["default"].weight.data.copy_(layer.update.A.data)
        peer.lora_B["default"].weight.data.copy_(layer.update.B.data)
    return ours.train(), theirs.train()


def step(model: nn.Module, ids: Tensor, compiled: bool = False) -> Callable[[], float]:
    loss_of = loss_function(model, compiled)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)

    def run() -> float:
        loss = loss_of(ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return run
