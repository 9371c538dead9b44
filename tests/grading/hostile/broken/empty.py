"""Is an empty file."""

CODES = {"unreadable"}


def hand_in(folder):
    (folder / "probe.ipynb").write_bytes(b"")
