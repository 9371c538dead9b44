"""Closes the link to the judge, and right answers with it."""

from tests.grading.probe import RIGHT

FIRST = """
import os
os.closerange(3, 4096)
"""
ANSWERS = RIGHT
CODES = {"died"}
