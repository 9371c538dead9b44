"""Has one right answer, and one that is half right."""

from tests.grading.probe import RIGHT, WRONG

ANSWERS = WRONG | {
    "Stack": RIGHT["Stack"],
    "squares": "def squares(numbers):\n    return [abs(n) * n for n in numbers]\n",
}
SCORES = {"Stack_check": 3, "squares_check": 1}
