"""Takes more memory than it may when it is called; the other answers are right."""

from tests.grading.probe import RIGHT

ANSWERS = RIGHT | {
    "Stack": """import time
class Stack:
    def push(self, item):
        self.items = []
        while True:
            self.items.append(bytearray(20 << 20))
            time.sleep(0.01)
""",
}
SCORES = {"double_check": 2}
CODES = {"memory"}
