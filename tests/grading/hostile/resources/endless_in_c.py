"""Computes in C for ever, where no interrupt comes through."""

from tests.grading.probe import RIGHT

FIRST = "sum(iter(int, 1))"
ANSWERS = RIGHT
CODES = {"cell-time"}
