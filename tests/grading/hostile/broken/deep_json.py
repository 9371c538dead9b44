"""Is JSON, nested a hundred thousand times."""

CODES = {"unreadable"}


def hand_in(folder):
    (folder / "probe.ipynb").write_text("[" * 100_000 + "]" * 100_000)
