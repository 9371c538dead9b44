"""Has commas, quotes, blanks and braces in its name."""

from tests.grading.probe import POINTS, RIGHT

STUDENT = 'O\'Neil, "Pat" {x}'
ANSWERS, SCORES = RIGHT, POINTS
