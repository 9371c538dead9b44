"""Returns a tensor of ten billion numbers, a list that holds itself, and an int of a megabyte."""

ANSWERS = {
    "double": """def double(x):
    return torch.zeros(1).expand(10**10)
""",
    "squares": """def squares(numbers):
    numbers.append(numbers)
    return [numbers, numbers]
""",
    "claim": "def claim():\n    return 1 << (8 << 20)\n",
}
