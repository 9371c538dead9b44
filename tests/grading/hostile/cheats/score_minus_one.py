"""Claims -1 points."""

ANSWERS = {"claim": "def claim():\n    return -1\n"}
CODES = {"score"}
