"""What the checks of the KV cache do with a student's class."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.kv_cache import held
from tutor_lib.checks.run import Complaint

UPDATE = (
    *(f"the {what} of update {i}" for i in (1, 2, 3) for what in ("keys", "values")),
    "the length",
)
CROP = ("the length after crop",)
ROOM = (
    "whether an update that does not fit raises ValueError",
    "what the refused update adds to the length",
    "whether an update that fills the room exactly is taken",
)


def _made(student: Any, k: Tensor, room: int) -> Any:
    return student(k.size(0), k.size(1), room, k.size(3), k.dtype, k.device)


def _in_steps(cache: Any, k: Tensor, v: Tensor, steps: tuple[int, ...]) -> list[Tensor]:
    """What each update returns: keys, values, keys, values and so on."""
    parts = zip(k.split(steps, dim=2), v.split(steps, dim=2), strict=True)
    return [seen for part in parts for seen in held.updated(cache, *part)]


def updates(draw: Draw) -> list[Arguments]:
    """Keys and values, the room for them, and how many come at once."""
    return [
        (draw(1, 2, 5, 4), draw(1, 2, 5, 4), 8, (3, 1, 1)),  # (B, K, T, D) in all, room, steps
        (draw(2, 3, 11, 5), draw(2, 3, 11, 5), 17, (1, 7, 3)),
        (draw(5, 1, 7, 3).double(), draw(5, 1, 7, 3).double(), 7, (2, 2, 3)),  # full to the brim
        (draw(3, 3, 3, 3), draw(3, 3, 3, 3), 13, (1, 1, 1)),  # equal sizes: any axis would fit
    ]


def update(student: Any, k: Tensor, v: Tensor, room: int, steps: tuple[int, ...]) -> Any:
    """What three updates return, and the length after them."""
    cache, other = _made(student, k, room), _made(student, k, room)
    seen = _in_steps(cache, k, v, steps)
    if wrong := [t.dtype for t in seen if t.dtype != k.dtype]:
        raise Complaint(
            f"The cache was made for {k.dtype} and returns {wrong[0]}. Take the room in the dtype "
            "that is handed to __init__."
        )
    if held.length(other):
        raise Complaint(
            "Two caches share one count: after updates of the first, the second, which is empty, "
            "says it is longer than 0. What belongs to one cache is set on self, in __init__."
        )
    return *seen, held.length(cache)


def crops(draw: Draw) -> list[Arguments]:
    """Keys and values, the room, filled to, cropped to."""
    return [
        (draw(1, 2, 6, 4), draw(1, 2, 6, 4), 8, 5, 3),
        (draw(2, 3, 13, 5), draw(2, 3, 13, 5), 17, 11, 4),
        (draw(3, 1, 13, 2), draw(3, 1, 13, 2), 13, 11, 0),
        (draw(2, 2, 7, 3).double(), draw(2, 2, 7, 3).double(), 7, 5, 5),
    ]


def crop(student: Any, k: Tensor, v: Tensor, room: int, filled: int, to: int) -> Any:
    """Fill, crop and go on; beside it, a cache that was never filled further.

    The student's own cache is what this is held to, so that a mistake in update costs nothing
    here; for the same reason, one token at a time.
    """
    cache, beside = _made(student, k, room), _made(student, k, room)
    _one_by_one(cache, k[:, :, :filled], v[:, :, :filled])
    _one_by_one(beside, k[:, :, :to], v[:, :, :to])
    cache.crop(to)
    after = held.length(cache)
    seen = held.updated(cache, k[:, :, filled:][:, :, :1], v[:, :, filled:][:, :, :1])
    wanted = held.updated(beside, k[:, :, filled:][:, :, :1], v[:, :, filled:][:, :, :1])
    return after, _listed(seen), _listed(wanted)


def _listed(seen: Iterable[Tensor]) -> list[Any]:
    """As lists: on which device a cache lies is for the part of update."""
    return [t.tolist() for t in seen]


def cropped(result: Any, k: Tensor, v: Tensor, room: int, filled: int, to: int) -> Any:
    """The length after crop; raises Complaint if the two caches go on differently."""
    after, *updates = result
    for pair in zip(*updates, strict=True):
        one, other = (torch.tensor(numbers, dtype=torch.float64) for numbers in pair)
        # Only what is filled: what lies behind it is for the part of update.
        if one.shape != other.shape or not torch.equal(one[:, :, : to + 1], other[:, :, : to + 1]):
            raise Complaint(
                f"After filling {filled} positions and crop({to}), an update of one token returns "
                f"{_shape(one, other)}. It should go on as if no more than {to} had ever come."
            )
    return after


def _shape(one: Tensor, other: Tensor) -> str:
    """What is returned after crop, against a cache that was never filled further."""
    if one.shape == other.shape:
        return "other numbers than in a cache that was filled so far only"
    return f"shape {tuple(one.shape)}; in a cache that was filled so far only, {tuple(other.shape)}"


def _one_by_one(cache: Any, k: Tensor, v: Tensor) -> None:
    for t in range(k.size(2)):
        cache.update(k[:, :, t : t + 1].clone(), v[:, :, t : t + 1].clone())


def rooms(draw: Draw) -> list[Arguments]:
    """Keys and values, the room, and what is filled before one update too many."""
    return [
        (draw(1, 2, 9, 4), draw(1, 2, 9, 4), 8, 8),  # room, filled to before one update too many
        (draw(2, 3, 13, 5), draw(2, 3, 13, 5), 11, 7),
        (draw(3, 1, 17, 2), draw(3, 1, 17, 2), 5, 0),
    ]


def room(student: Any, k: Tensor, v: Tensor, room: int, filled: int) -> Any:
    """Fill the cache in part, ask too much of it, then fill it to the brim."""
    cache, needed = _made(student, k, room), 2 * k[:, :, :1].numel() * room
    if (there := held.numbers(cache)) < needed:
        raise Complaint(
            f"After __init__ your cache holds {there} numbers, but the keys and values of {room} "
            f"positions are {needed}. Take all the room at once, at the beginning: a tensor that "
            "grows is copied whole for each token."
        )
    _one_by_one(cache, k[:, :, :filled], v[:, :, :filled])
    before = held.length(cache)
    raised, _ = _tried(cache, k[:, :, filled:], v[:, :, filled:])
    grown = held.length(cache) - before
    last = slice(filled, room)
    refused, seen = (False, None) if filled == room else _tried(cache, k[:, :, last], v[:, :, last])
    if (now := held.numbers(cache)) > there:
        raise Complaint(
            f"After __init__ your cache holds {there} numbers, and {now} when it is full. The room "
            "that you take at the beginning is where the keys and values go: write them into it."
        )
    if seen is None:
        return raised, grown, not refused, [], []
    beside = _made(student, k, room)
    _one_by_one(beside, k[:, :, :filled], v[:, :, :filled])
    wanted = _tried(beside, k[:, :, last], v[:, :, last])[1]
    return raised, grown, not refused, _listed(seen), _listed(wanted)


def refused(result: Any, *case: Any) -> Any:
    """The first three; raises Complaint if an update that was refused has left a trace."""
    raised, grown, taken, seen, wanted = result
    if seen != wanted:
        raise Complaint(
            "After an update that does not fit, the next one returns other keys and values than in "
            "a cache that was never asked too much. Look whether the tokens fit before you write."
        )
    return raised, grown, taken


def _tried(cache: Any, k: Tensor, v: Tensor) -> tuple[bool, Any]:
    """Does the cache refuse these, and if not, what does it return?"""
    try:
        return False, cache.update(k.clone(), v.clone())
    except ValueError:
        return True, None
    except NotImplementedError:
        raise
    except Exception as error:
        raise Complaint(
            f"An update of {k.size(2)} tokens ends in a {type(error).__name__}: {str(error)[:100]} "
            "Look first whether they fit, and if not, raise a ValueError that says so."
        ) from error
