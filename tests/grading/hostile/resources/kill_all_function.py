"""Kills every process that it can when it is called; the other answers are right."""

from tests.grading.probe import RIGHT

ANSWERS = RIGHT | {
    "Stack": """import os
def Stack():
    os.system("kill -9 -1")
    os.kill(os.getpid(), 9)
""",
}
SCORES = {"double_check": 2}
CODES = {"died"}
