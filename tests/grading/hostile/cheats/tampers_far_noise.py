"""Writes noise on the judge's link, and answers nothing."""

FIRST = """
import os
from tutor_lib.grading.protocol import far

far.serve = lambda: os.write(int(os.environ["TUTOR_LINK"]), bytes(range(256)) * 8)
"""
CODES = {"protocol"}
