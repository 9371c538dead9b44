"""Claims more points than a float can hold."""

ANSWERS = {"claim": "def claim():\n    return 10**4299\n"}
CODES = {"score"}
