"""Learn the pieces of a Unigram tokenizer: many at first, then EM and pruning by turns.

Kudo 2018, §3.2 (arXiv:1804.10959), with the details of SentencePiece (Kudo and Richardson 2018,
arXiv:1808.06226) that Hugging Face's trainer has too.
"""

import math
from collections import Counter
from collections.abc import Mapping
from heapq import nlargest

import torch

from tutor_lib.tokenize.lattice import Lattice, PieceScores

MAX_LENGTH = 16  # characters of a piece
SEED_SIZE = 1_000_000
SHRINK = 0.75  # share of the pieces that pruning keeps
EM_STEPS = 2  # between prunings
MIN_COUNT = 0.5  # pieces expected less often are dropped


def learn_pieces(words: Mapping[str, int], n_pieces: int) -> dict[str, float]:
    """At most `n_pieces` pieces with log p, the most probable first, each character among them.

    Raises ValueError if there are more characters than pieces.
    """
    characters = {c for word in words for c in word}
    if len(characters) > n_pieces:
        raise ValueError(f"{n_pieces} pieces cannot hold the {len(characters)} characters")
    log_p = seed_pieces(words)
    wanted = n_pieces * 11 // 10
    while True:
        for _ in range(EM_STEPS):
            log_p = maximize(expected_counts(words, log_p))
        if len(log_p) <= wanted:
            return _adjust(log_p, characters, n_pieces)
        log_p = prune(words, log_p, max(wanted, int(SHRINK * len(log_p))))


def seed_pieces(words: Mapping[str, int], size: int = SEED_SIZE) -> dict[str, float]:
    """The characters, and the substrings with the highest count × length.

    A substring that is always followed by the same character is left to the longer one. One of
    n characters can only be frequent if both of its parts of n - 1 are: so they are counted
    length by length.
    """
    characters = _count_substrings(words, 1, Counter())
    shorter, score = characters, Counter[str]()
    for length in range(2, MAX_LENGTH + 1):
        longer = _count_substrings(words, length, shorter)
        score.update({piece: n * length for piece, n in longer.items()})
        for piece, n in longer.items():
            if shorter[piece[:-1]] == n:
                del score[piece[:-1]]
        shorter = longer
    best = nlargest(size, score.items(), key=lambda item: (item[1], item[0]))
    seeds = characters | dict(best)
    total = sum(seeds.values())
    return {piece: math.log(n / total) for piece, n in seeds.items()}


def _count_substrings(
    words: Mapping[str, int], length: int, shorter: Mapping[str, int]
) -> Counter[str]:
    """Those that occur twice; with length 1 all."""
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for start in range(len(word) - length + 1):
            piece = word[start : start + length]
            if length == 1 or (piece[:-1] in shorter and piece[1:] in shorter):
                counts[piece] += n
    return Counter({piece: n for piece, n in counts.items() if n > 1 or length == 1})


def expected_counts(words: Mapping[str, int], log_p: Mapping[str, float]) -> dict[str, float]:
    """E-step: how often each piece is expected, over all ways to cut each word."""
    scores, expected = PieceScores(log_p), dict.fromkeys(log_p, 0.0)
    for word, n in words.items():
        for piece, count in Lattice(word, scores).expected_counts().items():
            if piece in expected:
                expected[piece] += n * count
    return expected


def maximize(expected: Mapping[str, float]) -> dict[str, float]:
    """M-step: log p = ψ(count) - ψ(Σ count), without the rare ones.

    The digamma function ψ(x) ≈ log(x - ½) takes from small counts the most: the mean-field
    update under a sparse Dirichlet prior, not plain maximum likelihood.
    """
    kept = {piece: count for piece, count in expected.items() if count >= MIN_COUNT}
    counts = torch.tensor([*kept.values()], dtype=torch.float64)
    log_p = counts.digamma() - counts.sum().digamma()
    return dict(zip(kept, log_p.tolist(), strict=True))


def prune(words: Mapping[str, int], log_p: Mapping[str, float], size: int) -> dict[str, float]:
    """The characters, and of the other pieces those whose loss would hurt most: `size` in all.

    Without a piece, its F occurrences in the best ways are cut as it would best be cut itself:
    the likelihood falls by F (log F / N - Σ_a log (F_a + F) / N'), N' = N + F (|a| - 1).
    """
    scores, used = PieceScores(log_p), Counter[str]()
    for word, n in words.items():
        for piece in Lattice(word, scores).best():
            used[piece] += n
    total = used.total()

    def loss(piece: str) -> float:
        parts, n = Lattice(piece, scores, without=piece).best(), used[piece]
        log_total = math.log(total + n * (len(parts) - 1))
        log_parts = sum(math.log(used[part] + n) - log_total for part in parts)
        return n * (math.log(n) - math.log(total) - log_parts)

    single = [piece for piece in log_p if len(piece) == 1]
    others = [piece for piece in used if len(piece) > 1]
    kept = single + nlargest(size - len(single), others, key=loss)
    return {piece: log_p[piece] for piece in kept}


def _adjust(log_p: Mapping[str, float], characters: set[str], size: int) -> dict[str, float]:
    """Every character and the most probable other pieces; lost characters become the rarest."""
    lost = sorted(characters - log_p.keys())
    rarest = min(log_p.values(), default=0.0)
    final = {c: log_p[c] for c in sorted(characters - {*lost})}
    # Never two of them equally probable.
    final |= {c: rarest + 1e-4 * i for i, c in enumerate(lost)}
    others = [piece for piece in log_p if piece not in final]
    final |= {p: log_p[p] for p in nlargest(size - len(final), others, key=log_p.__getitem__)}
    return dict(sorted(final.items(), key=lambda item: -item[1]))
