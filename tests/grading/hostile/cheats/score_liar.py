"""Claims points with an int that lies about what it is."""

FIRST = """
class Two(int):
    __repr__ = __str__ = lambda self: "2"
    __int__ = __index__ = lambda self: 2
    __eq__ = __ge__ = __le__ = lambda self, other: True
    __hash__ = int.__hash__
    __float__ = lambda self: 2.0
    _repr_mimebundle_ = lambda self, **kwargs: {"text/plain": "2"}
    _ipython_display_ = lambda self: print(2)
"""
ANSWERS = {
    "claim": "def claim():\n    return Two(2_000_000)\n",
    "squares": "def squares(numbers):\n    return [Two(0) for _ in numbers]\n",
}
CODES = {"score"}
