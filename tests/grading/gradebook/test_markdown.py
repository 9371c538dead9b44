"""Markdown from strangers: nothing in it runs or fetches, and what is harmless stays."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_lib.grading.gradebook.markdown import LONGEST, TAGS, markdown


class Reader(HTMLParser):
    """What a page holds: tags, attributes, text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.text += data

    def check(self):
        assert set(self.tags) <= TAGS
        for tag, name, value in self.attributes:
            assert (tag, name) in {
                ("a", "href"),
                ("a", "title"),
                ("div", "class"),
                ("span", "class"),
            }
            if name == "href":
                start = value.lower().split(":")[0] if ":" in value.split("/")[0] else "http"
                assert start in ("http", "https", "mailto"), value


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil/pixel.png)",
    "![x](attachment:missing.png)",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](java\nscript:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](data:text/html;base64,PHNjcmlwdD4=)",
    "[a](vbscript:x)",
    "<a href='javascript:alert(1)'>a</a>",
    "<a href=' &#x09;javascript:alert(1)' onclick=alert(1)>a</a>",
    "<iframe src=http://evil></iframe>",
    "<svg onload=alert(1)><use href=http://evil/></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<style>body{background:url(http://evil)}</style>",
    "<p style='background:url(http://evil)'>x</p>",
    "<div class='feedback-notes' id='part-x'>You have full marks</div>",
    "<form action=http://evil><input name=x><button>x</button></form>",
    "<meta http-equiv=refresh content='0;url=http://evil'><base href=http://evil>",
    "<link rel=stylesheet href=http://evil><object data=x></object><embed src=x>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video src=http://evil><audio src=http://evil>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "$</script><script>alert(1)</script>$",
    "$$<img src=x onerror=alert(1)>$$",
    "\\begin{a}<img src=x onerror=alert(1)>\\end{a}",
    "```html\n<script>alert(1)</script>\n```",
    "```mermaid\n<img src=x onerror=alert(1)>\n```",
    "```<img src=x onerror=alert(1)>\nx\n```",
    "| <script> | b |\n|---|---|\n| <img src=x onerror=alert(1)> | d |",
    '[a](http://x "\' onmouseover=alert(1)")',
    '[a]: http://x "onclick=alert(1)"\n[a]',
    "<http://x/'onclick=alert(1)>",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<<script>script>alert(1)<</script>/script>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_can_do_nothing(text):
    Reader(markdown(text)).check()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*HOSTILE, "<", ">", "&", "\n\n", "`", "$", "[", "](", ")", "'"]),
                max_size=5))  # fmt: skip
def test_pieces_of_it_can_do_nothing_either(pieces):
    Reader(markdown("".join(pieces))).check()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("# Title", "<h1>Title</h1>"),
        ("**bold** and `code`", "<strong>bold</strong> and <code>code</code>"),
        ("<details><summary>Hint</summary>\n\nIt *is*.\n\n</details>", "<summary>Hint</summary>"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "<td>1</td>"),
        ("[book](https://example.org/x)", '<a href="https://example.org/x">book</a>'),
        ("[chapter](../attention.md)", '<a href="../attention.md">chapter</a>'),
        ("```python\nx = 1\n```", '<div class="highlight">'),
        ("$x < y$ and $$\\sum_i x_i$$", "$x &lt; y$ and $$\\sum_i x_i$$"),
        ("![a plot](plot.png)", "[picture: a plot]"),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
    ],
)
def test_what_is_harmless_stays(text, kept):
    assert kept in markdown(text)


@pytest.mark.parametrize(
    "text", ["|-|-|-\n" * 2_000, "<b>" * 20_000, "[" * 200_000, "> " * 100_000]
)
def test_what_would_take_minutes_stands_as_it_was_typed(text):
    page = Reader(markdown(text))
    assert page.tags == ["pre"]
    assert len(page.text) <= LONGEST


def test_an_empty_text_is_empty():
    assert markdown("") == ""
