"""Byte-level BPE against `tokenizers` on one thread, on prose that any machine has.

The text is docstrings of Python's standard library, filled up with stories of our own grammar:
a natural vocabulary of tens of thousands of distinct words. One half of the docstrings is
learned from, the other encoded. Both sides remember words while they encode, as they always do,
but none from an earlier round: each round takes a tokenizer that has not encoded yet.
"""

import ast
import json
import os
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.bench.harness import Comparison
from tutor_lib.tokenize.bpe import END_OF_TEXT, BytePairTokenizer, Pair
from tutor_lib.train.corpus import corpus

# Looked at when `tokenizers` first has work to share out, not when it is imported.
os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

CHARACTERS = 1_000_000
MERGES = 4_000
ROUNDS = 9


def rows() -> list[Comparison]:
    """Training and encoding; the texts are made when a row first runs."""
    learn = Comparison(
        "BPE training, 1 MB, 4,000 merges",
        "tokenizers, 1 thread",
        ours=lambda: BytePairTokenizer.train_fast(text(0), 256 + MERGES, special_tokens=()),
        theirs=their_training,
        same=lambda ours, theirs: ours.merges == merges_of(theirs),
        at_least=1 / 8,
        rounds=ROUNDS,
    )
    encode = Comparison(
        "BPE encoding, 1 MB, 4,000 merges",
        "tokenizers, 1 thread",
        ours=lambda: fresh_ours().pop().encode(text(1)),
        theirs=lambda: fresh_theirs().pop().encode(text(1)).ids,
        same=lambda ours, theirs: ours == theirs,
        at_least=0.3,
        rounds=ROUNDS,
    )
    return [learn, encode]


@cache
def text(half: int) -> str:
    """A million characters; the two halves of the docstrings make two texts."""
    prose = "\n\n".join([*docstrings()][half::2])[: CHARACTERS * 9 // 10]
    stories = corpus(half, 10_000, held_out=bool(half)).replace(END_OF_TEXT, "\n")
    assert len(prose) + len(stories) >= CHARACTERS
    return prose + stories[: CHARACTERS - len(prose)]


def docstrings() -> Iterator[str]:
    """Every docstring of the standard library's own modules, without its tests."""
    library = Path(sysconfig.get_path("stdlib"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in sorted(library.rglob("*.py")):
        if {"site-packages", "test", "tests", "lib2to3"} & {*path.relative_to(library).parts}:
            continue
        nodes = ast.walk(ast.parse(path.read_bytes()))
        yield from filter(None, (ast.get_docstring(n) for n in nodes if isinstance(n, kinds)))


def their_training() -> Tokenizer:
    tokenizer = empty_peer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=256 + MERGES,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator([text(0)], trainer)
    return tokenizer


def empty_peer(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def merges_of(tokenizer: Tokenizer) -> list[Pair]:
    model = json.loads(tokenizer.to_str())["model"]
    return [(model["vocab"][left], model["vocab"][right]) for left, right in model["merges"]]


@cache
def learned() -> BytePairTokenizer:
    return BytePairTokenizer.train_fast(text(0), 256 + MERGES, special_tokens=())


@cache
def fresh_ours() -> list[BytePairTokenizer]:
    """One for each round and one for the check before; ours and theirs know the same merges."""
    return [BytePairTokenizer(learned().merges, ()) for _ in range(ROUNDS + 1)]


@cache
def fresh_theirs() -> list[Tokenizer]:
    symbols = [*(vocabulary := learned().vocabulary())]
    merges = [(symbols[left], symbols[right]) for left, right in learned().merges]
    return [empty_peer(models.BPE(vocabulary, merges)) for _ in range(ROUNDS + 1)]
