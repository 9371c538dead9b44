"""Kills every process that it can, itself included."""

from tests.grading.probe import RIGHT

FIRST = "import os; os.system('kill -9 -1'); os.kill(os.getpid(), 9)"
ANSWERS = RIGHT
CODES = {"died"}
