"""Claims NaN points."""

ANSWERS = {"claim": "def claim():\n    return float('nan')\n"}
CODES = {"score"}
