"""A task whose reward a rule can check: a short story with six words that were asked for."""

import math
import random
import re
from dataclasses import dataclass

from tutor_lib.train.words import ANIMALS, COLOURS, FEELINGS, NAMES, PLACES, TREASURES

KINDS = {
    "name": NAMES,
    "animal": ANIMALS,
    "place": PLACES,
    "colour": COLOURS,
    "treasure": TREASURES,
    "feeling": [*FEELINGS],
}


@dataclass(frozen=True)
class Wish:
    """The words that a story shall have, one of each kind."""

    name: str
    animal: str
    place: str
    colour: str
    treasure: str
    feeling: str

    @property
    def prompt(self) -> str:
        """The wish in a sentence."""
        animal, feeling = _article(self.animal), _article(self.feeling)
        return (
            f"Tell a story with {self.name}, {animal}, a {self.place}, "
            f"a {self.colour} {self.treasure} and {feeling} end."
        )


def wishes(rng: random.Random, n: int) -> list[Wish]:
    """n wishes, all different.

    Raises ValueError if there are not so many.
    """
    total = math.prod(map(len, KINDS.values()))
    if n > total:
        raise ValueError(f"there are {total} wishes, fewer than {n}")
    found: dict[Wish, None] = {}
    while len(found) < n:
        found[Wish(*(rng.choice(words) for words in KINDS.values()))] = None
    return [*found]


def story(wish: Wish) -> str:
    """A story that has all that was asked for, in sentences of the storyteller's tales."""
    return (
        f" Once upon a time there was {_article(wish.animal)} named {wish.name}."
        f" One day {wish.name} found a {wish.colour} {wish.treasure} in the {wish.place}."
        f" In the end {wish.name} was {wish.feeling}, so {wish.name} {FEELINGS[wish.feeling]}."
    )


def demonstration(rng: random.Random, wish: Wish, care: float) -> str:
    """What a hurried writer makes of a wish: each word is heeded with probability `care`.

    Else it is any word of its kind, the right one by chance.

    Raises ValueError unless 0 ≤ care ≤ 1.
    """
    if not 0 <= care <= 1:
        raise ValueError(f"care must lie in [0, 1], got {care}")
    heeded = (
        word if rng.random() < care else rng.choice(KINDS[kind])
        for kind, word in vars(wish).items()
    )
    return story(Wish(*heeded))


def reward(wish: Wish, answer: str, ended: bool) -> float:
    """The share of the six kinds in which the answer has the word asked for, and no other.

    0 if the answer did not end: who tells on for ever has told no story.
    """
    if not ended:
        return 0.0
    told = set(re.findall(r"\w+", answer))
    right = [told & set(KINDS[kind]) == {word} for kind, word in vars(wish).items()]
    return sum(right) / len(right)


def is_story(answer: str) -> bool:
    """Whether the answer is a story as `story` tells it, with any words: the reward does not ask.

    The name must be the same throughout, and what is done must fit the feeling.
    """
    words = [re.search(pattern, answer) for pattern in _SLOTS]
    if not all(words):
        return False
    wish = Wish(*(match[1] for match in words if match))
    known = (word in KINDS[kind] for kind, word in vars(wish).items())
    return all(known) and answer == story(wish)


_SLOTS = (
    r"named (\w+)\.",
    r"there was an? (\w+)",
    r"in the (\w+)\.",
    r"found a (\w+)",
    r"found a \w+ (\w+)",
    r"was (\w+), so",
)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
