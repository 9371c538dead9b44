"""Comes in a tar archive with a device, a FIFO and a link, under a zip's name."""

import io
import tarfile

SCORES = None


def archive(path, notebook):
    with tarfile.open(path, "w:gz") as file:
        about = tarfile.TarInfo("probe.ipynb")
        about.size = len(notebook.encode())
        file.addfile(about, io.BytesIO(notebook.encode()))
        for kind in (tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
            about = tarfile.TarInfo(f"evil-{kind!r}.ipynb")
            about.type, about.linkname = kind, "/etc/passwd"
            file.addfile(about)
