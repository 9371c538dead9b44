"""Sleeps for ever when it is called, and swallows interrupts; the other answers are right."""

from tests.grading.probe import RIGHT

ANSWERS = RIGHT | {
    "Stack": """import time
def Stack():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
""",
}
SCORES = {"double_check": 2}
CODES = {"cell-time"}
