"""Small English stories from a grammar of our own, each kind made to teach one phenomenon.

| kind | what must be learned to predict it well |
|---|---|
| lists said again | induction: find the last time this word came, and copy what followed |
| referents | which of two nouns comes: the word after "it was" tells, with "so" or "but" |
| agreement | "is" or "are" from the first noun, across a noun of the other number |
| gifts | who gave, who got: names that repeat |
| tales | all of these, in the order of a story |
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from tutor_lib.tokenize.bpe import END_OF_TEXT
from tutor_lib.train.words import (
    ANIMALS,
    COLOURS,
    FEELINGS,
    FOODS,
    LISTABLE,
    NAMES,
    PLACES,
    QUALITIES,
    SYLLABLES,
    THINGS,
    TREASURES,
)


@dataclass(frozen=True)
class Referent:
    """A sentence in which the word after "it was" decides which noun comes next.

    `prompt` ends right before a noun is named again: after "so the" the `referent` of "it",
    after "but the" the `other` noun.
    """

    prompt: str
    referent: str
    other: str
    ending: str


def referents(rng: random.Random, held_out: bool) -> Referent:
    """Draw "…, so the" from the training combinations, or from the held-out ones.

    One combination of animal, thing and reason in ten is never trained on.
    """
    scene, reason, referent, other = _scene(rng, held_out)
    ending = f"{referent} {(FEELINGS | QUALITIES)[reason]}"
    if rng.random() < 0.5:
        ending += f", and {rng.choice(NAMES)} saw the {other}"
    return Referent(f"{scene} because it was {reason}, so the", referent, other, ending)


def contrasts(rng: random.Random, held_out: bool) -> Referent:
    """Draw "…, but the": the other noun comes, with a reason of its own kind.

    So the deciding word alone does not tell which noun is next, and nothing can be settled
    before "so" or "but" is read.
    """
    scene, reason, referent, other = _scene(rng, held_out)
    against = rng.choice([*(QUALITIES if reason in FEELINGS else FEELINGS)])
    ending = f"{other} was {against}"
    return Referent(f"{scene} because it was {reason}, but the", referent, other, ending)


def _scene(rng: random.Random, held_out: bool) -> tuple[str, str, str, str]:
    """A main clause, a reason, the noun that the reason fits, and the other noun."""
    while True:
        animal, thing = rng.choice(ANIMALS), rng.choice(THINGS)
        reasons = rng.choice([FEELINGS, QUALITIES])
        reason = rng.choice([*reasons])
        if _is_held_out(animal, thing, reason) == held_out:
            break
    clause = rng.choice(
        [
            f"The {animal} {rng.choice(['sat', 'lay', 'slept', 'stood'])} on the {thing}",
            f"The {thing} was under the {animal}",
            f"The {animal} jumped off the {thing}",
            f"The {thing} was left to the {animal}",
        ]
    )
    referent, other = (animal, thing) if reasons is FEELINGS else (thing, animal)
    return clause, reason, referent, other


def _is_held_out(*words: str) -> bool:
    return hashlib.sha256(" ".join(words).encode()).digest()[0] % 10 == 0


def corpus(seed: int, documents: int, held_out: bool = False) -> str:
    """`documents` documents, each followed by `<|endoftext|>`; the same text for the same seed.

    Raises ValueError if `documents` is not positive.
    """
    if documents < 1:
        raise ValueError(f"documents must be positive, got {documents}")
    rng = random.Random(f"{seed} {held_out}")
    kinds: dict[Callable[[random.Random, bool], str], float] = {
        _list: 0.32, _referents: 0.40, _agreements: 0.05, _gift: 0.05, _tale: 0.18,
    }  # fmt: skip
    chosen = rng.choices([*kinds], weights=[*kinds.values()], k=documents)
    return "".join(kind(rng, held_out) + END_OF_TEXT for kind in chosen)


def _list(rng: random.Random, held_out: bool) -> str:
    """Random words, some made up, said two or three times over."""
    words = [_made_up(rng) if rng.random() < 0.15 else rng.choice(LISTABLE)
             for _ in range(rng.randint(5, 18))]  # fmt: skip
    said = " ".join(words)
    first, second = rng.sample(NAMES, 2)
    if rng.random() < 0.5:
        return f"{first} said: {said}. {second} said: {said}."
    return f"{first} said: {' '.join([said] * rng.choice([2, 2, 3]))}."


def _made_up(rng: random.Random) -> str:
    """A word of syllables, so that its pieces depend on the piece before."""
    return "".join(rng.choices(SYLLABLES, k=rng.randint(2, 4)))


def _referents(rng: random.Random, held_out: bool) -> str:
    return " ".join(_referent(rng, held_out) for _ in range(rng.randint(1, 3)))


def _referent(rng: random.Random, held_out: bool) -> str:
    drawn = rng.choice([referents, referents, contrasts])(rng, held_out)
    return f"{drawn.prompt} {drawn.ending}."


def _agreements(rng: random.Random, held_out: bool) -> str:
    return " ".join(_agreement(rng) for _ in range(rng.randint(1, 3)))


def _agreement(rng: random.Random) -> str:
    """The verb agrees with the first noun, not with the nearer second one."""
    subject, near = rng.choice(ANIMALS), rng.choice(THINGS)
    many, near_many = rng.random() < 0.5, rng.random() < 0.5
    noun = _plural(subject) if many else subject
    beside = _plural(near) if near_many else near
    verb = "are" if many else "is"
    return f"The {noun} {rng.choice(['by', 'near'])} the {beside} {verb} {rng.choice(COLOURS)}."


def _plural(noun: str) -> str:
    irregular = {"mouse": "mice", "fox": "foxes", "box": "boxes", "bench": "benches"}
    return irregular.get(noun, noun + "s")


def _gift(rng: random.Random, held_out: bool) -> str:
    giver, getter = rng.sample(NAMES, 2)
    gift = f"{rng.choice(COLOURS)} {rng.choice(TREASURES)}"
    return (
        f"{giver} gave {getter} a {gift}. {getter} liked the {gift} and thanked {giver}. "
        f"{giver} was glad."
    )


def _tale(rng: random.Random, held_out: bool) -> str:
    """Who and where, a find, a trouble, a friend, an end."""
    hero, friend = rng.sample(NAMES, 2)
    animal, helper = rng.sample(ANIMALS, 2)
    place, colour, treasure = rng.choice(PLACES), rng.choice(COLOURS), rng.choice(TREASURES)
    feeling = rng.choice([*FEELINGS])
    scenes = [
        f"Once upon a time there was {_article(animal)} named {hero}.",
        f"{hero} lived in the {place} with {_article(helper)} named {friend}.",
        f"One day {hero} found a {colour} {treasure} in the {place}.",
        rng.choice(
            [
                f'"Look, {friend}!" said {hero}. "I found a {treasure}!"',
                f"{hero} gave the {colour} {treasure} to {friend}, and {friend} thanked {hero}.",
                f"But the {treasure} was broken, so {hero} asked {friend} for help.",
            ]
        ),
        rng.choice([_referent(rng, held_out), _agreement(rng), _meal(rng, hero, friend)]),
        f"In the end {hero} was {feeling}, so {hero} {FEELINGS[feeling]}.",
        rng.choice(
            [f"{friend} and {hero} were friends for ever.", f"{friend} kept the {treasure}."]
        ),
    ]
    return " ".join(scenes)


def _meal(rng: random.Random, hero: str, friend: str) -> str:
    food = rng.choice(FOODS)
    return f"{hero} had some {food}, and {friend} had some {food} too."


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
