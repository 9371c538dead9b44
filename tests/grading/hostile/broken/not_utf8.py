"""Is not UTF-8."""

CODES = {"unreadable"}


def hand_in(folder):
    path = folder / "probe.ipynb"
    path.write_bytes(path.read_text().encode("utf-16"))
