"""Sends a million messages in the name of a cell that there is not."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
kernel = get_ipython().kernel
for number in range(1_000_000):
    kernel.session.send(kernel.iopub_socket, "stream", {"name": "stdout", "text": "x" * 100})
"""
ANSWERS, SCORES = RIGHT, POINTS
CODES = {"output"}
