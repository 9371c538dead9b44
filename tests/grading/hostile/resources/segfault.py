"""Crashes with a segmentation fault."""

from tests.grading.probe import RIGHT

FIRST = "import ctypes; ctypes.string_at(0)"
ANSWERS = RIGHT
CODES = {"died"}
