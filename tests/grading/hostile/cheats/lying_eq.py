"""Returns objects that say they are equal to anything, true and of any class."""

FIRST = """
class Yes:
    yes = lambda self, *args: True
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = yes
    __hash__ = lambda self: 0
    __len__ = __int__ = __index__ = lambda self: 2
    __float__ = lambda self: 2.0
    __class__ = property(lambda self: int)
    __repr__ = __str__ = __format__ = lambda self, *args: "2"
    __getitem__ = __getattr__ = __call__ = lambda self, *args: self
    __iter__ = lambda self: iter([self, self])
    __add__ = __radd__ = __sub__ = __rsub__ = __abs__ = lambda self, *args: self

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
"""
ANSWERS = {name: f"{name} = Yes()" for name in ("double", "Stack", "squares", "claim")}
CODES = {"score"}
