"""Raises what should end the judge, not a test: SystemExit, an interrupt, an error that lies."""

ANSWERS = {
    "double": "def double(x):\n    raise SystemExit(0)\n",
    "Stack": "def Stack():\n    raise KeyboardInterrupt\n",
    "squares": """class Silent(BaseException):
    def __str__(self):
        raise self

    def _render_traceback_(self):
        return ["2"]

def squares(numbers):
    raise Silent("x" * 10**6)
""",
    "claim": "def claim():\n    raise StopIteration(2)\n",
}
