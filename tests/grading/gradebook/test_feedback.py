"""The page that students get back, made by nbgrader's own command."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from html.parser import HTMLParser

import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.server_extensions.formgrader import handlers
from nbgrader.server_extensions.formgrader.formgrader import FormgradeExtension

from tests.grading.gradebook.classroom import LAB, ended_with, printed, raised
from tests.grading.gradebook.test_outputs import png
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.record import record
from tutor_lib.grading.notes import Note

CONFIG = """
c.GenerateFeedback.exporter_class = "tutor_lib.grading.gradebook.feedback.FeedbackExporter"
c.GenerateFeedback.preprocessors = []
c.HTMLExporter.filters = {"markdown2html": "tutor_lib.grading.gradebook.markdown.markdown"}
"""
HTML = "<script>alert('x')</script><img src=http://evil/p.png onerror=alert(1)>"
ANSWERS = {"double": f"def double(x):\n    return x + x  # {HTML}", "why": f"Because $a<b$. {HTML}"}
NAME = "o'Neil & <b>Bob<b>"


class Page(HTMLParser):
    """A page's tags and text."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.text, self.inside = html, [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self.inside:
            self.text += data

    @property
    def line(self):
        return " ".join(self.text.split())


def configured(room):
    with (room.folder / "nbgrader_config.py").open("a") as config:
        config.write(CONFIG)
    room.course = Course.open(room.folder)
    return room


def fill(room):
    """One awkward submission, graded and commented on."""
    frame = "Cell In[4], line 3\n      1 check\n----> 3 assert double(21) == 42"
    wrong = {"output_type": "error", "ename": "AssertionError", "evalue": "expected 42",
             "traceback": ["AssertionError", frame, "AssertionError: expected 42"]}  # fmt: skip
    live = {"output_type": "display_data", "metadata": {},
            "data": {"text/html": HTML, "text/plain": HTML, "image/png": png()}}  # fmt: skip
    outputs = {
        "double": [printed(f"\x1b[31m{HTML}\x1b[0m"), live],
        "double_check": [printed("✓"), wrong],
        "partial_check": [ended_with("2.5")],
    }
    notes = [
        Note("renamed", f"The notebook was named {HTML}."),
        Note("cell-time", "Too slow.", "double"),
    ]
    record(room.course, LAB, [room.graded(NAME, ANSWERS, outputs=outputs, notes=notes,
                                          timestamp=datetime(2026, 3, 1))])  # fmt: skip
    with Gradebook(room.course.db_url, "tiny") as book:
        book.find_grade("why", LAB, LAB, NAME).manual_score = 1.5
        book.find_comment("why", LAB, LAB, NAME).manual_comment = f"*Nearly.* {HTML}"
        book.db.commit()


@pytest.fixture
def page(classroom):
    """The page, on either database."""
    fill(configured(classroom))
    done = NbGraderAPI(
        classroom.course.directory, config=classroom.course.config
    ).generate_feedback(LAB)
    assert done["success"], done
    path = classroom.folder / "feedback" / NAME / LAB / f"{LAB}.html"
    return Page(path.read_text())


def test_the_page(page):
    """One fixture, many questions: making the page takes a while."""
    # Nothing runs and nothing is fetched.
    allowed = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "section",
               "ul", "li", "code", "table", "thead", "tbody", "tr", "th", "td", "a", "span", "div",
               "pre", "img", "strong", "em"}  # fmt: skip
    assert {tag for tag, _ in page.tags} <= allowed
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert not re.match(r"\s*\w+:", attributes.get("href", ""))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [picture["src"] for picture in pictures] == [f"data:image/png;base64,{png()}"]
    assert all(picture["alt"] for picture in pictures)
    policy = next(
        a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert re.findall(r"https?://[^\s\"'<]+", page.html.replace("http://evil", "")) == []
    # Nothing hidden is told.
    for secret in ("double(21)", "expected 42", "HIDDEN"):
        assert secret not in page.html
    assert "A hidden test did not pass." in page.text
    assert 'check("double", double)' in page.text
    # Names, points, notes, comments, what the student wrote.
    assert "tiny (Score: 4.0 / 14.0)" in page.line
    assert f"For {NAME}." in page.line
    assert "What befell your notebook" in page.line
    assert f"The notebook was named {HTML}." in page.line
    assert "double: Too slow." in page.line
    assert "Nearly." in page.line
    assert "Because $a<b$." in page.line
    assert "Test: double_check 0.0 / 3.0" in page.line
    assert "return x + x" in page.line


def nbgrader(room, *arguments):
    return subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=room.folder,
                          env=os.environ | {"JUPYTER_NO_CONFIG": "1"}, capture_output=True,
                          text=True, timeout=120)  # fmt: skip


def test_the_command_writes_the_pages_that_it_can(on_sqlite):
    """A submission that was never graded does not keep the others from theirs."""
    fill(configured(on_sqlite))
    record(on_sqlite.course, LAB, [on_sqlite.graded("zoe", outputs={"double_check": [raised()]})])
    stranger = on_sqlite.course.autograded("mallory", LAB)
    stranger.mkdir(parents=True)
    (stranger / f"{LAB}.ipynb").write_bytes(
        (on_sqlite.course.autograded("zoe", LAB) / f"{LAB}.ipynb").read_bytes()
    )
    done = nbgrader(on_sqlite, "generate_feedback", LAB)
    assert done.returncode == 1
    assert "the gradebook has no tiny of 'mallory'; grade it first" in done.stderr
    folder = on_sqlite.folder / "feedback"
    pages = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert pages == [f"{NAME}/tiny/timestamp.txt", f"{NAME}/tiny/tiny.html", "zoe/tiny/tiny.html"]
    assert "No response." in Page((folder / "zoe/tiny/tiny.html").read_text()).text


def test_formgrader_shows_nothing_that_runs(on_sqlite):
    """Its own page of a submission, made as its server makes it."""
    fill(configured(on_sqlite))
    app = FormgradeExtension()
    app.load_cwd_config = False
    app.initialize([], root=str(on_sqlite.folder))
    assert app.config.HTMLExporter.extra_template_basedirs == [handlers.template_path]
    about = {"base_url": "", "submission_id": "1", "notebook_id": LAB, "index": 0, "total": 1,
             "assignment_id": LAB, "student": "bob", "last_name": None, "first_name": None,
             "notebook_path": ""}  # fmt: skip
    path = on_sqlite.course.autograded(NAME, LAB) / f"{LAB}.ipynb"
    html, _ = HTMLExporter(config=app.config).from_filename(str(path), resources=about)
    page = Page(html)
    assert "Because $a<b$." in page.line
    for _, attributes in page.tags:
        assert "evil" not in attributes.get("src", "")
        assert not [name for name in attributes if name == "onerror"]
    assert "<script>alert" not in html


def test_a_notebook_that_stock_nbgrader_graded_is_safe_too(on_sqlite):
    """Its outputs are reduced when the page is made."""
    fill(configured(on_sqlite))
    path = on_sqlite.course.autograded(NAME, LAB) / f"{LAB}.ipynb"
    notebook = json.loads(path.read_bytes())
    notebook["metadata"]["tutor"] = {"notes": [{"code": "odd"}, 3]}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            data = {"text/html": [HTML], "text/plain": ["fi", "ne"]}
            cell["outputs"] = [{"output_type": "display_data", "metadata": {}, "data": data}]
    path.chmod(0o644)
    path.write_text(json.dumps(notebook))
    api = NbGraderAPI(on_sqlite.course.directory, config=on_sqlite.course.config)
    assert api.generate_feedback(LAB)["success"]
    page = Page((on_sqlite.folder / "feedback" / NAME / LAB / f"{LAB}.html").read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert "fine" in page.text
