"""All ways to cut a word into pieces, as a lattice: the best, the n best, a sample, the mean.

With pieces independent, p(x₁ … x_m) = Π p(x_i): Kudo 2018, §3.1 (arXiv:1804.10959). Every sum
over the 2ⁿ⁻¹ ways is one walk along the n places of the word.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import nlargest
from typing import NamedTuple

# What is no piece may be cut into single characters, each worse by this than the worst piece.
UNKNOWN_PENALTY = 10.0


class PieceScores:
    """log p of each piece, in nats; for what is unknown, the price of a character."""

    def __init__(self, log_p: Mapping[str, float]) -> None:
        self.log_p = log_p
        self.longest = max(map(len, log_p), default=1)
        self.unknown = min(log_p.values(), default=0.0) - UNKNOWN_PENALTY


class Edge(NamedTuple):
    """A piece of the word that begins at `start`."""

    start: int
    piece: str
    log_p: float


class Lattice:
    """The pieces of one word, by the place at which they end."""

    def __init__(self, word: str, scores: PieceScores, without: str | None = None) -> None:
        self.ending: list[list[Edge]] = [[] for _ in range(len(word) + 1)]
        for end, edges in enumerate(self.ending):
            for start in range(max(0, end - scores.longest), end):
                piece = word[start:end]
                log_p = scores.log_p.get(piece) if piece != without else None
                if log_p is None and start == end - 1:
                    log_p = scores.unknown
                if log_p is not None:
                    edges.append(Edge(start, piece, log_p))

    def best(self) -> list[str]:
        """The most probable pieces (Viterbi); of equals, those with the longest last piece."""
        score, last = [0.0], [Edge(0, "", 0.0)]
        for edges in self.ending[1:]:
            last.append(max(edges, key=lambda edge: score[edge.start] + edge.log_p))
            score.append(score[last[-1].start] + last[-1].log_p)
        pieces, place = [], len(last) - 1
        while place:
            pieces.append(last[place].piece)
            place = last[place].start
        return pieces[::-1]

    def n_best(self, n: int) -> list[tuple[float, list[str]]]:
        """The `n` most probable ways, or all if there are fewer, with their log p."""
        ways: list[list[tuple[float, list[str]]]] = [[(0.0, [])]]
        for edges in self.ending[1:]:
            longer = ((log_p + edge.log_p, [*pieces, edge.piece])
                      for edge in edges for log_p, pieces in ways[edge.start])  # fmt: skip
            ways.append(nlargest(n, longer, key=lambda way: way[0]))
        return ways[-1]

    def forward(self, alpha: float = 1.0) -> list[float]:
        """log Σ p(way)^α over the ways from the beginning to each place; the last is log Z."""
        totals = [0.0]
        for edges in self.ending[1:]:
            totals.append(log_sum_exp([totals[e.start] + alpha * e.log_p for e in edges]))
        return totals

    def sample(self, alpha: float, rng: random.Random) -> list[str]:
        """A way, drawn with p(way)^α / Z: forward sums, then back from the end."""
        totals, place = self.forward(alpha), len(self.ending) - 1
        pieces = []
        while place:
            edges = self.ending[place]
            weights = [math.exp(totals[e.start] + alpha * e.log_p - totals[place]) for e in edges]
            (edge,) = rng.choices(edges, weights)
            pieces.append(edge.piece)
            place = edge.start
        return pieces[::-1]

    def expected_counts(self) -> dict[str, float]:
        """How often each piece occurs in a way that is drawn with its probability.

        Forward sums, then backwards the probability that a way passes each place: it came there
        over an edge with the share that the edge has in the sum.
        """
        totals, counts = self.forward(), defaultdict[str, float](float)
        passed = [0.0] * len(totals)
        passed[-1] = 1.0
        for place in range(len(totals) - 1, 0, -1):
            for edge in self.ending[place]:
                share = math.exp(totals[edge.start] + edge.log_p - totals[place])
                counts[edge.piece] += passed[place] * share
                passed[edge.start] += passed[place] * share
        return counts


def log_sum_exp(terms: Iterable[float]) -> float:
    """log Σ exp(term), without overflow."""
    most = max(terms := list(terms))
    return most + math.log(math.fsum(math.exp(term - most) for term in terms))
