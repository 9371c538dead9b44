"""Patches builtins: int, list, all, isinstance and their like."""

FIRST = """
import builtins

class Two(int):
    def __new__(cls, *args):
        return int.__new__(cls, 2)

builtins.all = builtins.any = builtins.isinstance = lambda *args: True
builtins.int = Two
builtins.list = lambda *args: [1, 4]
builtins.sum = builtins.min = builtins.max = lambda *args, **kwargs: 2
"""
