"""Returns what can be iterated over for ever, as fast as it can."""

ANSWERS = {"squares": "import itertools\ndef squares(numbers):\n    return itertools.count()\n"}
CODES = {"cell-time"}
