"""Is 200 MB large."""

CODES = {"too-large"}


def hand_in(folder):
    with (folder / "probe.ipynb").open("r+b") as file:
        file.truncate(200 << 20)
