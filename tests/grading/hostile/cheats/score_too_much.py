"""Claims more points than there are."""

ANSWERS = {"claim": "def claim():\n    return 2.5\n"}
CODES = {"score"}
