"""Claims points as a string."""

ANSWERS = {"claim": "def claim():\n    return '2'\n"}
CODES = {"score"}
