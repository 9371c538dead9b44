"""English sentences in a toy language of another word order: which word means which is known.

The toy language has no articles, says each phrase backwards (noun before colour, noun before
"in" and "on") and puts the verb last:

    In the garden Mia gave Tom a red ball.   →   garden in  Mia  ball red  Tom  gave .

with a made-up word for each English one. Names and the full stop stay as they are.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from tutor_lib.train.words import ANIMALS, COLOURS, NAMES, PLACES, SYLLABLES, THINGS, TREASURES

ARTICLES = ("the", "a")
VERBS = ("gave", "found", "sat", "lay", "slept", "stood")
TRANSLATED = (*ANIMALS, *THINGS, *PLACES, *TREASURES, *COLOURS, *VERBS, "in", "on")
STOP = "."
START = "<start>"
LONGEST = 16  # words, with the full stop


def _made_up() -> list[str]:
    """A different word of two or three syllables for each one that is translated."""
    rng, found = random.Random("a toy language"), dict[str, None]()
    while len(found) < len(TRANSLATED):
        found["".join(rng.choices(SYLLABLES, k=rng.choice((2, 2, 3))))] = None
    return [*found]


DICTIONARY = dict(zip(TRANSLATED, _made_up(), strict=True)) | {w: w for w in (*NAMES, STOP)}
WORDS = tuple(dict.fromkeys((START, STOP, *ARTICLES, *DICTIONARY, *DICTIONARY.values())))
IDS = {word: number for number, word in enumerate(WORDS)}


@dataclass(frozen=True)
class Pair:
    """A sentence and its translation; word `t` of it means word `aligned[t]` of the sentence."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    aligned: tuple[int, ...]


def pairs(rng: random.Random, n: int, held_out: bool) -> list[Pair]:
    """n sentences that training may see, or of the one in ten that it never sees."""
    found: list[Pair] = []
    while len(found) < n:
        pair = _draw(rng)
        if is_held_out(pair.source) == held_out:
            found.append(pair)
    return found


def is_held_out(source: Sequence[str]) -> bool:
    """Whether training never sees this sentence."""
    return hashlib.sha256(" ".join(source).encode()).digest()[0] % 10 == 0


def _draw(rng: random.Random) -> Pair:
    """A gift, a find, or somebody somewhere; now and then with a place in front."""
    opening = f"in the {rng.choice(PLACES)}" if rng.random() < 0.3 else ""
    someone = rng.choice(NAMES) if rng.random() < 0.4 else f"the {_coloured(rng, ANIMALS)}"
    treasure, where = f"a {_coloured(rng, TREASURES)}", f"on the {_coloured(rng, THINGS)}"
    giver, getter = rng.sample(NAMES, 2)
    # The phrases in the order of English, and their numbers in the order of the toy language.
    phrases, order = rng.choice(
        [
            ((opening, giver, "gave", getter, treasure), (0, 1, 4, 3, 2)),
            ((opening, someone, "found", treasure), (0, 1, 3, 2)),
            ((opening, someone, rng.choice(VERBS[2:]), where), (0, 1, 3, 2)),
        ]
    )
    return _pair([phrase.split() for phrase in phrases], order)


def _coloured(rng: random.Random, nouns: Sequence[str]) -> str:
    """A noun, half of the time with a colour."""
    noun = rng.choice(nouns)
    return f"{rng.choice(COLOURS)} {noun}" if rng.random() < 0.5 else noun


def _pair(phrases: list[list[str]], order: Sequence[int]) -> Pair:
    """Say the phrases in `order`, each backwards and without its article."""
    starts = [sum(map(len, phrases[:i])) for i in range(len(phrases))]
    source = [word for phrase in phrases for word in phrase] + [STOP]
    places = [place for i in order for place in
              range(starts[i] + len(phrases[i]) - 1, starts[i] - 1, -1)]  # fmt: skip
    aligned = [place for place in places if source[place] not in ARTICLES] + [len(source) - 1]
    return Pair(tuple(source), tuple(DICTIONARY[source[i]] for i in aligned), tuple(aligned))


def meant(source: Sequence[str], target: Sequence[str]) -> list[int | None]:
    """For each target word the place of the source word that it means; None if there is none.

    A word that stands in the source twice is meant in the order in which it stands.
    """
    places: dict[str, list[int]] = {}
    for place, word in enumerate(source):
        places.setdefault(DICTIONARY.get(word, word), []).append(place)
    return [places[word].pop(0) if places.get(word) else None for word in target]


def encode(words: Sequence[str]) -> Int[Tensor, "T"]:
    """The words' ids.

    Raises ValueError if a word is unknown, or there is none or more than fit.
    """
    if unknown := [word for word in words if word not in IDS]:
        raise ValueError(f"the translator does not know {', '.join(unknown)}")
    if not 0 < len(words) <= LONGEST:
        raise ValueError(f"the translator reads 1 to {LONGEST} words, not {len(words)}")
    return torch.tensor([IDS[word] for word in words])
