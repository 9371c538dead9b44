"""Terms and sources: what a chapter uses is explained, and what is explained is used."""

import re
from pathlib import Path

import pytest

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"
GLOSSARY = (CHAPTERS / "glossary.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^(\S[^\n]*)\n((?:  .*\n)+)", GLOSSARY.split("```{glossary}")[1], re.M))
TEXTS = {
    path: path.read_text(encoding="utf-8")
    for path in [CHAPTERS / "intro.md", *sorted((CHAPTERS / "pipeline").glob("*.md"))]
}
CITED = re.compile(r"\{cite:\w+\}`([^`]+)`")


def terms(text: str) -> set[str]:
    """The terms that a text links, by the names of their entries."""
    linked = re.findall(r"\{term\}`([^`]+)`", text)
    return {re.sub(r".*<(.*)>", r"\1", " ".join(term.split())) for term in linked}


def test_there_is_a_glossary():
    assert len(ENTRIES) > 60
    assert list(ENTRIES) == sorted(ENTRIES, key=str.lower)


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_leads_to_a_chapter_that_leads_back(entry):
    pages = re.findall(r"\]\(([\w/]+\.md)\)", ENTRIES[entry])
    assert pages
    assert all((CHAPTERS / page).is_file() for page in pages)
    assert any(entry in terms(TEXTS[CHAPTERS / page]) for page in pages)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_a_chapter_links_terms_that_there_are(path):
    assert terms(TEXTS[path]) <= ENTRIES.keys()


def test_every_source_is_cited_and_every_citation_has_a_source():
    entries = re.findall(
        r"^@\w+\{(\w+),$", (CHAPTERS / "references.bib").read_text(encoding="utf-8"), re.M
    )
    assert len(entries) == len({*entries})
    cited = {key.strip() for text in TEXTS.values() for keys in CITED.findall(text)
             for key in keys.split(",")}  # fmt: skip
    assert cited == {*entries}
