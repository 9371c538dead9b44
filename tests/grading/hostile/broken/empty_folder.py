"""Is a folder without a file."""

CODES = {"no-notebook"}


def hand_in(folder):
    (folder / "probe.ipynb").unlink()
