"""Comes in an archive with links to the solutions, and a file behind a link."""

import stat
import zipfile

SCORES = None


def archive(path, notebook):
    course = path.parents[3]
    links = {"probe.ipynb": "build/source/probe/probe.ipynb", "all": ""}
    with zipfile.ZipFile(path, "w") as file:
        for name, target in links.items():
            link = zipfile.ZipInfo(name)
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            file.writestr(link, f"{course}/{target}")
        file.writestr("all/evil", notebook)
