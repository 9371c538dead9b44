"""One input, tried on the student's answer and on ours."""

from dataclasses import dataclass
from typing import Any

from tutor_lib.checks.compare import agree, matches
from tutor_lib.checks.run import Outcome

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Trial:
    """One input, what the student's answer made of it, and what the reference did."""

    case: Arguments
    theirs: Outcome
    ours: Outcome

    @property
    def right(self) -> bool:
        """Is the student's result the right one?"""
        return self.theirs.error is None and agree(self.ours.value, self.theirs.value)

    def told_by(self, its: Outcome) -> bool:
        """Does it tell a mistake from the reference: by value, or by the very same error?"""
        if self.theirs.error is not None:
            return its.error is not None and self.theirs.error.text == its.error.text
        return not (self.right or agree(self.ours.value, its.value))


def alike(their: Outcome, its: Outcome) -> bool:
    """Are these the same result, errors being equal in their type?"""
    if their.error is not None or its.error is not None:
        return bool(their.error and its.error and their.error.kinds == its.error.kinds)
    return matches(its.value, their.value)
