"""Leaves by os._exit."""

from tests.grading.probe import RIGHT

FIRST = "import os; os._exit(0)"
ANSWERS = RIGHT
CODES = {"died"}
