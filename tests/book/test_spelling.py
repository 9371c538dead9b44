"""Terms in another spelling than the glossary's, and headings that skip a level, are told."""

import pytest

from tutor_lib.book.spelling import bare, misspelled

TERMS = {bare(term): term for term in (
    "KV cache", "softmax", "dot product", "scaled dot-product attention", "bias", "RoPE", "top-k",
    "residual stream",
)}  # fmt: skip
PAGE = """# A page

:::{glossary}
KV cache
  What is kept.
:::

The KV-cache grows. The KV cache and the `KV-cache` do not.

## Further

The $KV-cache$ is a formula. {term}`KV cache`.
"""


@pytest.mark.parametrize("text", [
    "The KV cache, two KV caches.", "Softmax of a softmax.", "A bias and a KV\ncache.",
    "Scaled dot-product attention takes dot products.", "rope_angles turn", "soft, max",
    "Residual streams", "Dot product", "",
])  # fmt: skip
def test_right_ones_are_left_alone(text):
    assert list(misspelled(text, TERMS)) == []


@pytest.mark.parametrize(("text", "phrase", "term"), [
    ("a KV-cache.", "KV-cache", "KV cache"), ("kv caches", "kv caches", "KV cache"),
    ("the soft max of", "soft max", "softmax"), ("SoftMax", "SoftMax", "softmax"),
    ("Dot-product", "Dot-product", "dot product"), ("rope", "rope", "RoPE"),
    ("top k", "top k", "top-k"), ("a residual-stream vector", "residual-stream", "residual stream"),
    ("scaled dot product attention", "scaled dot product attention",
     "scaled dot-product attention"),
])  # fmt: skip
def test_other_ones_are_told(text, phrase, term):
    assert list(misspelled(text, TERMS)) == [(phrase, term)]


def test_the_build_warns(build):
    told = [line for line in build(PAGE).warnings.splitlines() if "glossary" in line]
    assert len(told) == 1
    assert "index.md:8" in told[0]
    assert "'KV-cache' is spelled 'KV cache'" in told[0]


def test_the_build_warns_of_a_heading_that_skips_a_level(build):
    assert "header level" in build("# One\n\n### Three\n\nText.\n").warnings
