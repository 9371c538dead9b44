"""Answers with references to the judge's own functions and modules."""

FIRST = """
from tutor_lib.grading.protocol import far

forged = iter([["named", "builtins", "eval"], ["yours", 1], ["mine", -1, True, "int", None]] * 9)
far.Far.refer = lambda self, value: next(forged)
"""
CODES = {"protocol"}
