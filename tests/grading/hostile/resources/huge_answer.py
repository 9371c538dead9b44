"""Returns 180 MB at once, more than the judge has memory to unpack."""

ANSWERS = {"double": "def double(x):\n    return torch.zeros(1).expand(45_000_000)\n"}
CODES = {"memory"}
