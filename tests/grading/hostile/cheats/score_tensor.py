"""Claims points as a tensor."""

ANSWERS = {"claim": "def claim():\n    return __import__('torch').tensor(2.0)\n"}
CODES = {"score"}
