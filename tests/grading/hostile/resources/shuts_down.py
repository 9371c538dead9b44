"""Asks the kernel to shut down, as a menu of JupyterLab does; its answers are wrong."""

FIRST = """
get_ipython().ask_exit()
"""
CODES = {"died"}
