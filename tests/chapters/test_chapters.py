"""Each chapter is whole: goals, code, something to see, a question, a way on; and no outputs."""

import ast
import re
from pathlib import Path

import jupytext
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
FILES = [TOC["root"], *(c["file"] for part in TOC["parts"] for c in part["chapters"])]
# To look things up in: no goals, no story, no next page.
LOOKED_UP = {"chapters/glossary", "chapters/api", "chapters/references"}
PROSE = [  # labs are tested in tests/labs
    name for name in FILES if name.startswith("chapters/") and name not in LOOKED_UP
]
NAMES = [name for name in PROSE if name != "chapters/instructors"]
PIPELINE = [name for name in NAMES if "/pipeline/" in name]
# A phone at 360 px shows about 40 characters; longer lines scroll in their own box.
LONGEST_LINE = 78


@pytest.fixture(params=NAMES)
def chapter(request) -> Path:
    """A chapter for those who learn."""
    return ROOT / f"{request.param}.md"


@pytest.fixture(params=PROSE)
def page(request) -> Path:
    """Any text in chapters/, the instructors' too."""
    return ROOT / f"{request.param}.md"


def cells(path: Path) -> list:
    return [c for c in jupytext.read(path).cells if c.cell_type == "code"]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def test_it_begins_with_goals_and_ends_with_a_summary(page):
    text = page.read_text()
    start = f"\n{text}".split("\n# ", 1)[1]
    assert ":::{admonition} Goals" in "\n".join(start.splitlines()[:5])
    headings = re.findall(r"^## (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    assert headings[-1] == "In short"


def test_it_points_on_to_a_page_that_exists(chapter):
    last = re.findall(r"^Next: (.+(?:\n.+)*)", chapter.read_text(), re.M)
    links = re.findall(r"\]\(([\w./]+\.md)\)", chapter.read_text().split("## In short")[1])
    assert links or last
    assert all((chapter.parent / link).is_file() for link in links)
    name = chapter.relative_to(ROOT).with_suffix("").as_posix()
    following = [*NAMES[1:], NAMES[0]][NAMES.index(name)]
    assert (ROOT / f"{following}.md").resolve() in {(chapter.parent / x).resolve() for x in links}


def test_each_link_and_quoted_object_exists(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([\w./]+\.(?:md|ipynb))\)", text):
        assert (page.parent / link).is_file(), link
    for lab in re.findall(r"`(labs/[\w/]+\.ipynb)`", text):
        assert (ROOT / lab).is_file(), lab
    for path, options in re.findall(r"```\{literalinclude\} (\S+)\n(.*?)```", text, re.DOTALL):
        source = (page.parent / path).read_text()
        if quoted := re.search(r":pyobject: (\S+)", options):
            assert quoted[1] in objects(source), quoted[1]


def objects(source: str) -> set[str]:
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            if isinstance(node, ast.ClassDef):
                inner = (n for n in node.body if isinstance(n, ast.FunctionDef))
                found.update(f"{node.name}.{n.name}" for n in inner)
    return found


@pytest.mark.parametrize("name", PIPELINE)
def test_a_step_has_formula_code_and_sources(name):
    text = (ROOT / f"{name}.md").read_text()
    assert "## The problem" in text
    assert re.search(r"^\$\$$", text, re.M)
    assert "```{literalinclude} ../../tutor_lib/" in text
    assert re.search(r"\{cite:[pt]\}`", text)
    assert "**Try it** in JupyterLab" in text


def test_there_is_something_to_see(chapter):
    sources = "\n".join(cell.source for cell in cells(chapter))
    assert "plt.show()" in sources or "tutor_lib.demos" in sources
    for cell in cells(chapter):
        if "plt.show()" in cell.source:
            alt = cell.metadata["mystnb"]["image"]["alt"]
            assert len(alt) > 60, "an alt text tells what there is to see"


def test_a_prediction_is_settled_by_a_folded_output_and_explained(chapter):
    text = chapter.read_text()
    questions = re.findall(
        r":::\{admonition\} Predict, then run\n:class: question\n(.*?)\n:::\n(.*?)"
        r":::\{dropdown\} The answer, and why the others are wrong\n(.*?)\n:::",
        text,
        re.DOTALL,
    )
    assert questions
    assert len(questions) == text.count("Predict, then run\n:class:")
    for question, between, answer in questions:
        choices = re.findall(r"^- \*\*([A-D])\.\*\*", question, re.M)
        assert len(choices) in (3, 4)
        assert choices == list("ABCD")[: len(choices)]
        assert ":tags: [hide-output]" in between
        right = re.match(r"\*\*([A-D])\.\*\*", answer)
        assert right, "the answer names the right choice first"
        for wrong in set(choices) - {right[1]}:
            assert re.search(rf"^- .*\*\*{wrong}\*\*", answer, re.M), wrong


def test_it_holds_no_outputs_and_its_cells_compile(chapter):
    text = chapter.read_text()
    assert "image/png" not in text
    assert "data:image" not in text
    for cell in cells(chapter):
        assert cell.get("outputs", []) == []
        ast.parse(cell.source)
        longest = max(map(len, cell.source.splitlines()), default=0)
        shown = not tags(cell) & {"remove-cell", "remove-input", "hide-input"}
        assert longest <= (LONGEST_LINE if shown else 100), cell.source


def test_what_the_text_says_is_computed(chapter):
    """Each glued number is glued by a cell of the same chapter, and each glued cell is used."""
    text = chapter.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    used = set(re.findall(r"\{glue:text\}`(\w+)`", prose))
    code = "\n".join(cell.source for cell in cells(chapter))
    given = [re.sub(r"\{\w+\}", r"\\w+", name) for name in re.findall(r'glue\(f?"([^"]+)"', code)]
    if "glue(name," in code:  # a loop over pairs of name and value
        given += re.findall(r'\("(\w+)", ', code)
    assert [name for name in used if not any(re.fullmatch(g, name) for g in given)] == []
    assert bool(given) == bool(used)


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_with_mistakes_questions_and_a_quiz(name):
    """In that order, before the summary; the quiz has four questions or more."""
    path = ROOT / f"{name}.md"
    headings = re.findall(r"^## (.+)$", path.read_text(), re.M)
    wanted = ["Common mistakes", "Questions to think about", "In short"]
    assert [heading for heading in headings if heading in wanted] == wanted
    calls = [node for cell in cells(path) for node in ast.walk(_parsed(cell.source))
             if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Quiz"]  # fmt: skip
    assert len(calls) == 1
    quiz, questions = map(ast.literal_eval, calls[0].args)
    assert quiz == Path(name).name
    assert len(questions) >= 4


def _parsed(code: str) -> ast.AST:
    """A cell's code; magics aside."""
    return ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.M))
