"""Hands in a FIFO for a notebook."""

import os

CODES = {"refused-file", "no-notebook"}


def hand_in(folder):
    (folder / "probe.ipynb").unlink()
    os.mkfifo(folder / "probe.ipynb")
