"""One Mamba-2 layer over a long text, against its own recurrence and `transformers`' slow path."""

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import Mamba2Config as PeerConfig
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from tests.bench.harness import Comparison
from tutor_lib.rivals.language_model import Recurrent
from tutor_lib.rivals.mamba2 import Mamba2, Mamba2Config

T, C = 4096, 256
SIZES = Mamba2Config(d_model=C, n_heads=8, head_size=64, state_size=128, chunk=64)


def mixer(ours: Mamba2) -> Mamba2Mixer:
    """The peer's layer with our weights; without CUDA it takes its path in plain PyTorch."""
    config = PeerConfig(
        hidden_size=C, num_heads=8, head_dim=64, state_size=128, n_groups=1, num_hidden_layers=1,
        chunk_size=SIZES.chunk, layer_norm_epsilon=SIZES.norm_eps,
    )  # fmt: skip
    theirs = Mamba2Mixer(config, layer_idx=0)
    theirs.load_state_dict(ours.state_dict())
    return theirs.eval()


def without_gradient(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def done() -> Tensor:
        with torch.no_grad():
            return work()

    return done


def same(ours: object, theirs: object) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def rows() -> list[Comparison]:
    torch.manual_seed(0)
    ours, x = Mamba2(SIZES), torch.randn(1, T, C)
    theirs, work = mixer(ours), f"Mamba-2 chunked forward, {T} tokens"
    chunked = without_gradient(lambda: ours(x))
    stepwise = without_gradient(lambda: Recurrent.resume(ours, x, ours.new_state(1))[0])
    peer = without_gradient(lambda: theirs(x))
    return [
        Comparison(work, "itself, step by step", chunked, stepwise, same, 10.0, rounds=4),
        Comparison(work, "transformers, slow path", chunked, peer, same, 1.0),
    ]
