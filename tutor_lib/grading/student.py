"""Pack what students need, and nothing else, into one file.

    labs/ chapters/ tutor_lib/ and how to install them → build/transformers-course.zip

Every lab is released anew first, so that nobody's answers are in it. Left out are solutions,
hidden tests, grading code, the instructors' page, tests and the gradebook. The same course gives
the same bytes.
"""

import argparse
import re
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutor_lib.grading.build import release
from tutor_lib.grading.intake.canon import labs_of

NAME = "transformers-course"
# What the library, the chapters and an installation consist of; no caches and no scratch files.
KINDS = {".py", ".js", ".css", ".html", ".json", ".safetensors", ".md", ".bib", ".png", ".svg"}
ALONE = ("LICENSE", "constraints.txt", "pyproject.toml")
FOR_INSTRUCTORS = ("chapters/instructors.md", "tutor_lib/grading/")
# The tables of pyproject.toml that name modules of grading, which the package does not hold.
THEIR_TABLES = ("project.scripts", 'project.entry-points."jupyter_client.kernel_provisioners"')
README = "tutor_lib/grading/student_readme.md"
# nbgrader's own limit of 30 seconds a cell is short for a first `import torch`. This is the
# instructor's limit; the rest of the instructor's settings are nobody else's business.
SETTINGS = """\
# What the Validate button goes by.
c = get_config()
c.Execute.timeout = 120  # seconds for one cell
"""


def contents(course: Path) -> dict[str, bytes]:
    """The files of the package by name, in order.

    Raises ValueError if one is missing.
    """
    try:
        files = {name: (course / name).read_bytes() for name in _names(course)}
        files["README.md"] = (course / README).read_bytes()
        files["pyproject.toml"] = _without_tables(files["pyproject.toml"].decode()).encode()
    except FileNotFoundError as error:
        raise ValueError(f"the course lacks {error.filename}") from error
    files["nbgrader_config.py"] = SETTINGS.encode()
    return dict(sorted(files.items()))


def _without_tables(toml: str) -> str:
    """The text without the instructors' tables; each goes on to the next table's head."""
    for table in THEIR_TABLES:
        toml = re.sub(rf"^\[{re.escape(table)}\]\n(?:(?!\[).*\n)*", "", toml, flags=re.MULTILINE)
    return toml


def _names(course: Path) -> Iterator[str]:
    yield from ALONE
    yield from (f"labs/{lab}/{lab}.ipynb" for lab in labs_of(course))
    for folder in ("chapters", "tutor_lib"):
        for path in (course / folder).rglob("*"):
            name = path.relative_to(course).as_posix()
            hidden = any(part.startswith(".") for part in name.split("/"))
            if path.suffix in KINDS and not hidden and not name.startswith(FOR_INSTRUCTORS):
                yield name


def pack(course: Path) -> Path:
    """Write build/transformers-course.zip and return its path.

    Raises ValueError if the course has no labs, or lacks a file.
    """
    if not labs_of(course):
        raise ValueError(f"no labs in {course / 'solutions'}; is this the course's folder?")
    files = contents(course)
    target = course / "build" / f"{NAME}.zip"
    target.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(target, "w") as package:
        for name, data in files.items():
            package.writestr(_entry(name), data, zipfile.ZIP_DEFLATED, 9)
    return target


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without today's date, and with the same rights on every system."""
    entry = zipfile.ZipInfo(f"{NAME}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, where the rights below mean something
    entry.external_attr = 0o100644 << 16
    return entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Release every lab, and pack."""
    course = _parser().parse_args(arguments).course.resolve()
    try:
        for lab in labs_of(course):
            release(course, lab)
        print(pack(course).relative_to(course))
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tutor_lib.grading.student", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--course", type=Path, default=Path(), help="folder with solutions/ and nbgrader_config.py"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
