"""Is right but for rounding, within 1e-6."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS = RIGHT | {
    "double": """def double(x):
    return 2 * x if isinstance(x, int) else 2 * x * (1 + 1e-6)
""",
}
SCORES = POINTS
