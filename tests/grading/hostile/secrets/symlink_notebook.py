"""Hands in a link to the solutions for a notebook."""

CODES = {"refused-file", "no-notebook"}


def hand_in(folder):
    (folder / "probe.ipynb").unlink()
    (folder / "probe.ipynb").symlink_to("../../../build/source/probe/probe.ipynb")
