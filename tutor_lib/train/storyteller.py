"""The storyteller: a small decoder, really trained, that every demo and lab shows.

    python -m tutor_lib.train.storyteller

writes `storyteller.safetensors`, `tokenizer.json` and `storyteller.json` (command, seed,
losses) to `tutor_lib/assets/`. Minutes on two CPU cores.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from tutor_lib.device import best_device
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.pretrained import load_weights, save_weights
from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.train.corpus import corpus
from tutor_lib.train.loop import consecutive_windows, held_out_loss, random_windows, train

ASSETS = Path(__file__).parents[1] / "assets"

CONFIG = DecoderConfig(
    vocab_size=640,
    context_length=128,
    n_layers=3,
    d_model=128,
    n_heads=4,
    n_kv_heads=2,
    d_ff=192,
    # A context of 128 needs no wavelength beyond it. With the usual base of 10,000 most pairs
    # hardly turn from one token to the next, and no head can single out the previous one.
    rope_base=500.0,
)
SEED = 0
STEPS = 2400
BATCH = 32
DOCUMENTS = 40_000
HELD_OUT_DOCUMENTS = 400
# A run that a test can repeat in seconds; its loss is recorded beside the full run's.
CUT_DOWN_STEPS = 40


def load_storyteller(folder: Path = ASSETS) -> tuple[Decoder, BytePairTokenizer]:
    """The trained model, in float32 on the CPU and ready to predict, and its tokenizer.

    Raises ValueError if the files do not fit each other or `CONFIG`.
    """
    tokenizer = BytePairTokenizer.load(folder / "tokenizer.json")
    if tokenizer.vocab_size != CONFIG.vocab_size:
        raise ValueError(f"{tokenizer.vocab_size} token ids, but V = {CONFIG.vocab_size}")
    model = Decoder(CONFIG)
    load_weights(model, folder / "storyteller.safetensors")
    return model.eval(), tokenizer


def train_tokenizer(seed: int = SEED) -> BytePairTokenizer:
    """The tokenizer, learned from 4,000 documents.

    The committed weights were trained on ids whose merges came from "<|endoftext|>" too: hence
    a text in which nothing is special.
    """
    text = corpus(seed, 4000)
    learned = BytePairTokenizer.train_fast(text, CONFIG.vocab_size - 1, special_tokens=())
    return BytePairTokenizer(learned.merges)


def train_storyteller(
    tokenizer: BytePairTokenizer, seed: int = SEED, steps: int = STEPS
) -> Decoder:
    """Train from `seed` and return the model. Shows a progress bar."""
    torch.manual_seed(seed)
    device = best_device()
    tokens = torch.tensor(tokenizer.encode(corpus(seed, DOCUMENTS)), device=device)
    windows = random_windows(
        tokens, BATCH, CONFIG.context_length, torch.Generator().manual_seed(seed)
    )
    model = Decoder(CONFIG).to(device)
    train(model, windows, steps)
    return model.cpu().eval()


def held_out_tokens(tokenizer: BytePairTokenizer, seed: int = SEED) -> Int[Tensor, "N"]:
    """Tokens of documents that training never saw."""
    return torch.tensor(tokenizer.encode(corpus(seed, HELD_OUT_DOCUMENTS, held_out=True)))


def bigram_loss(
    train_tokens: Int[Tensor, "N"], test_tokens: Int[Tensor, "M"], vocab_size: int, length: int
) -> float:
    """The loss of the best predictor that sees one token, on the windows of `held_out_loss`.

    p(b | a) = (count(ab) + 1) / (count(a) + V), counted on `train_tokens`. In nats a token.
    """
    pairs = train_tokens[:-1] * vocab_size + train_tokens[1:]
    counts = torch.bincount(pairs, minlength=vocab_size**2).view(vocab_size, vocab_size) + 1.0
    log_p = (counts / counts.sum(-1, keepdim=True)).log()
    windows = consecutive_windows(test_tokens, length)
    return F.nll_loss(log_p[windows[:, :-1].flatten()], windows[:, 1:].flatten()).item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, save and tell what came out."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    tokenizer = train_tokenizer(options.seed)
    tokenizer.save(options.out / "tokenizer.json")
    model = train_storyteller(tokenizer, options.seed, options.steps)
    save_weights(model, options.out / "storyteller.safetensors", torch.float16)
    record = _record(options, load_storyteller(options.out)[0], tokenizer)
    record["seconds"] = round(time.perf_counter() - began)
    (options.out / "storyteller.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record, indent=2), f"\nwritten to {options.out}")


def _record(options: argparse.Namespace, model: Decoder, tokenizer: BytePairTokenizer) -> dict:
    length = CONFIG.context_length
    train_tokens = torch.tensor(tokenizer.encode(corpus(options.seed, DOCUMENTS // 4)))
    test_tokens = held_out_tokens(tokenizer, options.seed)
    loss = held_out_loss(model, test_tokens, length)
    cut_down = train_storyteller(tokenizer, options.seed, CUT_DOWN_STEPS)
    return {
        "command": f"python -m tutor_lib.train.storyteller --seed {options.seed} "
        f"--steps {options.steps}",
        "config": CONFIG.sizes(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_trained_on": options.steps * BATCH * length,
        "held_out_loss": round(loss, 4),
        "held_out_perplexity": round(math.exp(loss), 2),
        "cut_down_held_out_loss": round(held_out_loss(cut_down, test_tokens, length), 4),
        "bigram_loss": round(bigram_loss(train_tokens, test_tokens, CONFIG.vocab_size, length), 4),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {best_device()}",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--steps", type=int, default=STEPS, help="batches to train on")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write to")
    return parser


if __name__ == "__main__":
    main()
