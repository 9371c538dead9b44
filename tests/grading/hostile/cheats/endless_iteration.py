"""Returns what can be iterated over for ever."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS = RIGHT | {
    "squares": """import itertools
def squares(numbers):
    return itertools.count()
""",
}
SCORES = POINTS | {"squares_check": 0}
CODES = {"cell-time"}
