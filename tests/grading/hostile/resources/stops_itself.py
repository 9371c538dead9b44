"""Stops its own process, so that it neither runs nor ends."""

from tests.grading.probe import RIGHT

FIRST = """
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
"""
ANSWERS = RIGHT
CODES = {"cell-time"}
