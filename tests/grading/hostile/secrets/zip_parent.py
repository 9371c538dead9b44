"""Comes in an archive whose files would be written above its folder."""

import zipfile

SCORES = None


def archive(path, notebook):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("probe.ipynb", notebook)
        for depth in range(1, 7):
            file.writestr("../" * depth + "evil.ipynb", notebook)
