"""Claims points as True."""

ANSWERS = {"claim": "def claim():\n    return True\n"}
CODES = {"score"}
