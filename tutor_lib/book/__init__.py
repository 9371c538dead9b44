"""The book as a Sphinx extension: light pages, formulas without scripts, one set of colours.

`_config.yml` loads it. Each module adds one thing to the build; they are listed in the order in
which they must act when the pages are written.
"""

from typing import Any

from sphinx.application import Sphinx

from tutor_lib.book import (
    api,
    font,
    fresh,
    icons,
    inline_svg,
    labs,
    math_nodes,
    pages,
    purge,
    shared_kit,
    spelling,
    storyteller,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add all parts to a Sphinx build."""
    for part in (
        fresh,
        api,
        spelling,
        math_nodes,
        inline_svg,
        labs,
        pages,
        icons,
        shared_kit,
        storyteller,
        font,
        purge,
    ):
        part.setup(app)
    # One Node process answers one formula after the other.
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": False}
