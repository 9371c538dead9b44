"""Knows the visible tests' values by heart, and nothing else."""

ANSWERS = {
    "double": "def double(x):\n    return {3: 6}[x]\n",
    "Stack": """class Stack:
    def push(self, item):
        pass

    def pop(self):
        return 3
""",
    "squares": "def squares(numbers):\n    return [1, 4]\n",
}
SCORES = {"squares_check": 1}
