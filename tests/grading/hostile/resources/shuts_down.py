"""Asks the kernel to shut down, as a menu of JupyterLab does."""

from tests.grading.probe import RIGHT

FIRST = """
get_ipython().ask_exit()
"""
ANSWERS = RIGHT
CODES = {"died"}
