"""Returns subclasses of int, list and Tensor that lie."""

FIRST = """
import torch

class Int(int):
    __eq__ = lambda self, other: True
    __hash__ = int.__hash__

class List(list):
    __eq__ = lambda self, other: True
    __len__ = lambda self: 2
    __iter__ = lambda self: iter([Int(), Int()])

class Tensor(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
"""
ANSWERS = {
    "double": """def double(x):
    return Int(6) if isinstance(x, int) else x.as_subclass(Tensor)
""",
    "squares": "def squares(numbers):\n    return List()\n",
    "claim": "def claim():\n    return Int(2)\n",
}
CODES = {"score"}
