"""Warns and logs on stderr: that is no error."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
import logging, sys, warnings
warnings.warn("harmless")
logging.warning("harmless too")
"""
ANSWERS = RIGHT | {
    "double": """import sys, warnings
def double(x):
    warnings.warn(f"doubling a {type(x).__name__}")
    print("so far, so good", file=sys.stderr)
    return x + x
""",
}
SCORES = POINTS
