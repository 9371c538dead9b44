"""Turns every later cell into `pass`, even that which lets the judge call."""

FIRST = """
get_ipython().input_transformers_cleanup.append(lambda lines: ["pass"])
"""
CODES = {"protocol"}
