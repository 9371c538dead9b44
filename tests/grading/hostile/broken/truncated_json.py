"""Is cut off in the middle of its JSON."""

CODES = {"unreadable"}


def hand_in(folder):
    path = folder / "probe.ipynb"
    path.write_bytes(path.read_bytes()[:-500])
