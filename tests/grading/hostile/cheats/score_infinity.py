"""Claims infinitely many points."""

ANSWERS = {"claim": "def claim():\n    return float('inf')\n"}
CODES = {"score"}
