"""Loops for ever when it is called, and swallows interrupts; the other answers are right."""

from tests.grading.probe import RIGHT

ANSWERS = RIGHT | {
    "Stack": """def Stack():
    while True:
        try:
            while True: pass
        except BaseException:
            pass
""",
}
SCORES = {"double_check": 2}
CODES = {"cell-time"}
