"""The house rules: what the README says is there is there, and imports point one way."""

import ast
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A package may import those of its own row and of the rows above.
ROWS = [
    {"device", "tokenize", "embed", "attention", "ffn", "predict"},
    {"model"},
    {"train", "adapt", "inside", "rivals"},
    {"experiments"},
    {"checks", "demos"},
    {"book"},
]

MODULES = sorted((ROOT / "tutor_lib").rglob("*.py"))


def tracked(*patterns: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()


def imports(module: Path) -> set[str]:
    """The packages of tutor_lib, and other top-level packages, that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def inside(names: set[str]) -> set[str]:
    return {n.split(".")[1] for n in names if n.startswith("tutor_lib.")}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_imports_point_one_way(module):
    parts = module.relative_to(ROOT / "tutor_lib").with_suffix("").parts
    package, names = parts[0], imports(module)
    assert not {n.split(".")[0] for n in names} & {"chapters", "labs", "solutions", "tests"}
    if package == "__init__":
        return
    if package == "grading":
        assert inside(names) <= {"grading"}
        assert not {n for n in names if n.split(".")[0] == "torch"}
        return
    row = next(i for i, packages in enumerate(ROWS) if package in packages)
    assert inside(names) <= set().union(*ROWS[: row + 1])


@pytest.mark.parametrize("path", tracked("tutor_lib/*.py", "tutor_lib/*.js"))
def test_a_module_is_one_idea(path):
    assert len((ROOT / path).read_text().splitlines()) <= 300


def test_the_library_imports_its_core_packages_alone():
    """Whoever wants the library alone installs no Jupyter package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {re.match(r"\w+", requirement)[0] for requirement in project["dependencies"]}
    library = set().union(*ROWS[:3])
    modules = [m for m in MODULES if m.relative_to(ROOT / "tutor_lib").parts[0] in library]
    names = {name.split(".")[0] for module in modules for name in imports(module)}
    assert names - set(sys.stdlib_module_names) - {"tutor_lib"} <= core


def test_the_readmes_tree_is_the_disks():
    readme = (ROOT / "README.md").read_text()
    tree = re.search(r"## What is where\n\n```\n(.*?)```", readme, re.S)[1]
    told = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    folders = {Path(path).parts[:-1] for path in tracked()}
    top = {parts[0] for parts in folders if parts and not parts[0].startswith(".")}
    library = {"/".join(p[:2]) for p in folders if p[:1] == ("tutor_lib",) and len(p) > 1}
    assert told == top | library
    assert all(len(line.split(maxsplit=1)) == 2 for line in tree.splitlines()), "a line a folder"


def test_the_readme_points_at_files_that_exist():
    for document in ["README.md", "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / document).read_text()):
            assert (ROOT / target).exists(), f"{document} → {target}"


def test_the_readmes_commands_are_the_makefiles():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in ["README.md", "CONTRIBUTING.md"]:
        assert set(re.findall(r"\bmake ([a-z]+)\b(?=[`  ]|$)", _code(document))) <= targets


def _code(document: str) -> str:
    text = (ROOT / document).read_text()
    return "\n".join(re.findall(r"```sh\n.*?```|`[^`\n]+`", text, re.S))


def test_constraints_pin_what_the_project_asks_for():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines)
    pinned = {_normal(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *itertools.chain(*extras)]
    names = {_normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in asked}
    assert names - {"tutor-lib"} <= pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_path_of_one_machine_is_tracked():
    for path in tracked("*.py", "*.md", "*.yml", "*.toml", "*.js", "*.ipynb", "*.json", "Makefile"):
        assert str(ROOT) not in (ROOT / path).read_text(), path


def test_tests_that_belong_together_stay_in_one_process(request):
    """pytest 9.2 lost pytest-xdist's groups without a word: every process built the book."""
    in_groups = getattr(request.config.option, "loadgroup", False)
    assert "@" in request.node.nodeid or not in_groups
