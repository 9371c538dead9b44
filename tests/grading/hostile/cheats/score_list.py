"""Claims a list of points."""

ANSWERS = {"claim": "def claim():\n    return [2]\n"}
CODES = {"score"}
