"""Has a folder where the notebook should be."""

CODES = {"no-notebook"}


def hand_in(folder):
    (folder / "probe.ipynb").unlink()
    (folder / "probe.ipynb").mkdir()
