"""Lets the protocol answer `True`, `0` and nonsense to every question."""

FIRST = """
from tutor_lib.grading.protocol import far

far.Far._done = lambda self, frame: True
"""
CODES = {"protocol"}
