"""Comes in an archive with absolute paths, to the course among others."""

import zipfile

SCORES = None


def archive(path, notebook):
    course = path.parents[3]
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{course}/submitted/plain/probe/probe.ipynb", notebook)
        file.writestr(f"{course}/evil", notebook)
        file.writestr("C:/evil", notebook)
