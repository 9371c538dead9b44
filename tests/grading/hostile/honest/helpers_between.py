"""Has helpers in cells of its own, uses them from others, and prints."""

from nbformat.v4 import new_code_cell

from tests.grading.probe import POINTS, RIGHT

FIRST = """
from collections import namedtuple
Pair = namedtuple("Pair", "left right")
"""
ANSWERS = RIGHT | {
    "double": """def double(x):
    pair = Pair(x, x)
    print("doubling", type(x).__name__)
    return add(*pair)
""",
    "squares": """def squares(numbers):
    for n in numbers:
        yield n * n
""",
}
SCORES = POINTS


def edit(notebook):
    notebook.cells.insert(2, new_code_cell("def add(a, b):\n    return a + b"))
