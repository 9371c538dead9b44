"""One ES module out of several: a `data:` URL can import nothing by a relative path."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import quote

_RELATIVE = re.compile(r'^(?:import|export) [^;]*? from "(\./[\w-]+\.js)";\n', re.MULTILINE)
# Whole lines that are for who reads the source; a page is lighter without.
_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*\*[^\n]*\*/)\n", re.MULTILINE)
_KIT = re.compile(r'"\./kit\.js"')

# What a data: URL and the quoted string around it may hold as it is. The rest is %-escaped.
_PLAIN = " !$&'()*+,-./:;=?@[]^_`{|}~"


def with_kit(module: Path) -> str:
    """The text of a demo's module, its one import of `./kit.js` turned into a `data:` URL.

    Raises ValueError if it does not import the kit exactly once.
    """
    source = _code(module)
    if (found := len(_KIT.findall(source))) != 1:
        raise ValueError(f"{module.name} must import ./kit.js once, found {found} imports")
    return _KIT.sub(lambda _: f'"{kit_url(module.parent / "kit.js")}"', source)


@cache
def kit_url(kit: Path) -> str:
    """The kit as one `data:` URL: always the same string, so a page makes one module of it."""
    return "data:text/javascript;charset=utf-8," + quote(flatten(kit), safe=_PLAIN)


def flatten(module: Path) -> str:
    """`module` and all it imports, each once, dependencies first, as one module.

    The import lines go and the export keywords stay, so that every top-level name must be
    unique in the kit; a browser refuses a module where one is not. Raises ValueError if an
    import renames, which this would lose.
    """
    parts: dict[Path, str] = {}

    def visit(path: Path) -> None:
        if path in parts:
            return
        parts[path] = ""  # Marks the visit, so that a circle of imports ends.
        source = _code(path)
        for line in _RELATIVE.finditer(source):
            if " as " in line[0]:
                raise ValueError(f"{path.name} renames what it imports: {line[0].strip()}")
            visit(path.parent / line[1])
        parts[path] = parts.pop(path) + _RELATIVE.sub("", source)  # After what it imports.

    visit(module)
    return "\n".join(parts.values())


def _code(module: Path) -> str:
    return _COMMENT.sub("", module.read_text(encoding="utf-8"))
