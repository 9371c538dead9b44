"""Byte-pair encoding made fast: learn merges from an index of pairs, encode from a heap.

Equal to the plain loops of `bpe.py`, merge for merge and id for id; the tests compare them.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from itertools import pairwise

Pair = tuple[int, int]


def learn_merges(
    words: Mapping[tuple[int, ...], int], n_merges: int, first_id: int, min_frequency: int
) -> list[Pair]:
    """Merge the most frequent pair, at most `n_merges` times; merge i makes id `first_id` + i.

    `words` counts each distinct word once. A round touches the words that hold its pair alone,
    not the whole text. Of equally frequent pairs the one with the smaller ids comes first.
    """
    index = PairIndex(words)
    merges: list[Pair] = []
    while len(merges) < n_merges and (pair := index.most_frequent(min_frequency)):
        index.merge(pair, first_id + len(merges))
        merges.append(pair)
    return merges


class PairIndex:
    """How often each pair of neighbours occurs, in which words, and which occurs most.

    A merge makes new pairs, all with the new id, and takes from the counts of old ones. So a
    count in the heap is right or too high: an entry is put right when it comes to the top.
    """

    def __init__(self, words: Mapping[tuple[int, ...], int]) -> None:
        self._words = [list(word) for word in words]
        self._frequency = list(words.values())
        self._count: defaultdict[Pair, int] = defaultdict(int)
        self._holders: defaultdict[Pair, set[int]] = defaultdict(set)
        for w, word in enumerate(self._words):
            for pair in pairwise(word):
                self._count[pair] += self._frequency[w]
                self._holders[pair].add(w)
        self._heap = [(-count, pair) for pair, count in self._count.items()]
        heapify(self._heap)

    def most_frequent(self, min_frequency: int) -> Pair | None:
        """The most frequent pair, or None if none occurs `min_frequency` times."""
        while self._heap and -self._heap[0][0] >= min_frequency:
            count, pair = self._heap[0]
            if -count == self._count[pair]:
                return pair
            heapreplace(self._heap, (-self._count[pair], pair))
        return None

    def merge(self, pair: Pair, new_id: int) -> None:
        """Replace `pair` by `new_id` in every word, from left to right."""
        changes: defaultdict[Pair, int] = defaultdict(int)
        for w in self._holders.pop(pair):
            self._merge_in(w, pair, new_id, changes)
        for changed, change in changes.items():
            self._count[changed] += change
            if change > 0:
                heappush(self._heap, (-change, changed))
        del self._count[pair]

    def _merge_in(self, w: int, pair: Pair, new_id: int, changes: defaultdict[Pair, int]) -> None:
        """Merge in one word; note what that does to its other pairs."""
        (left, right), word, frequency = pair, self._words[w], self._frequency[w]
        merged: list[int] = []
        i, last = 0, len(word) - 1
        while i <= last:
            if i == last or word[i] != left or word[i + 1] != right:
                merged.append(word[i])
                i += 1
                continue
            if merged:
                changes[merged[-1], left] -= frequency
                changes[merged[-1], new_id] += frequency
                self._holders[merged[-1], new_id].add(w)
            if i + 1 < last:
                changes[right, word[i + 2]] -= frequency
                changes[new_id, word[i + 2]] += frequency
                self._holders[new_id, word[i + 2]].add(w)
            merged.append(new_id)
            i += 2
        self._words[w] = merged


def apply_merges(ids: list[int], rank: Mapping[Pair, int], first_id: int) -> list[int]:
    """Merge `ids`, the pair of the lowest rank first, the leftmost of equals.

    A heap of the pairs and links between neighbours: O(n log n) for n ids. A dead place holds
    -1, so that an entry whose pair is no longer there has another rank and is passed over.
    """
    end = len(ids)
    ids = [*ids, -1]
    before, after = [*range(-1, end)], [*range(1, end + 2)]
    heap = [(rank[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in rank]
    heapify(heap)
    while heap:
        lowest, i = heappop(heap)
        j = after[i]
        if rank.get((ids[i], ids[j])) != lowest:
            continue
        ids[i], ids[j] = first_id + lowest, -1
        after[i], before[after[j]] = after[j], i
        for start, stop in ((before[i], i), (i, after[i])):
            new = rank.get((ids[start], ids[stop])) if start >= 0 else None
            if new is not None:
                heappush(heap, (new, start))
    return [i for i in ids if i >= 0]


class Memo(dict[str, list[int]]):
    """What `encode` gave for each word lately, at most about `room` bytes.

    Natural text repeats its words, so most of them are looked up and not encoded. When half
    the room is full, the words since the last time are kept as the old half.
    """

    def __init__(self, encode: Callable[[str], list[int]], room: int) -> None:
        super().__init__()
        self._encode, self._half, self._filled = encode, room // 2, 0
        self._old: dict[str, list[int]] = {}

    def __missing__(self, word: str) -> list[int]:
        ids = self._old[word] if word in self._old else self._encode(word)
        # 28 bytes an id, about 100 for the place in the table.
        size = sys.getsizeof(word) + sys.getsizeof(ids) + 28 * len(ids) + 100
        if size > self._half // 8:
            return ids
        if self._filled + size > self._half:
            self._old, self._filled = dict(self), 0
            self.clear()
        self[word] = ids
        self._filled += size
        return ids
