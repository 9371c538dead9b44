"""Returns what can be iterated over for ever, and takes its time."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS = RIGHT | {
    "squares": """import time
def squares(numbers):
    while True:
        time.sleep(0.1)
        yield 1
""",
}
SCORES = POINTS | {"squares_check": 0}
CODES = {"cell-time"}
