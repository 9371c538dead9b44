"""The book's icons: a few strokes each, drawn on 24 × 24 units, in place of an icon font.

The theme's pages name icons by class, `<i class="fa-solid fa-bars">`. Each name here becomes a
CSS variable, `--icon-bars`, and a rule for that class; `book.css` paints the element through it.
"""

from pathlib import Path
from urllib.parse import quote

from sphinx.application import Sphinx

CIRCLE = "M12 3a9 9 0 1 0 0 18a9 9 0 1 0 0-18"

ICONS = {
    "bars": "M4 6h16M4 12h16M4 18h16",
    "list": "M9 6h11M9 12h11M9 18h11M4 6h1M4 12h1M4 18h1",
    "magnifying-glass": "M10.5 4a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13M15.5 15.5L21 21",
    "sun": "M12 8a4 4 0 1 0 0 8a4 4 0 1 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4"
    "M17.6 17.6L19 19M5 19l1.4-1.4M17.6 6.4L19 5",
    "moon": "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z",
    "circle-half-stroke": f"{CIRCLE}M12 3v18M14 7h4M14 11h6.5M14 15h5.5M14 19h2",
    "angle-left": "M15 5l-7 7l7 7",
    "angle-right": "M9 5l7 7l-7 7",
    "arrow-up": "M12 20V5M6 11l6-6l6 6",
    "chevron-down": "M5 9l7 7l7-7",
    "download": "M12 3v12M7 10.5l5 5l5-5M4 20h16",
    "print": "M7 9V3h10v6M7 18H4V9h16v9h-3M7 14h10v7H7z",
    "expand": "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
    "xmark": "M6 6l12 12M18 6L6 18",
    "copy": "M9 9h11v12H9zM15 9V3H4v12h5",
    "note": f"{CIRCLE}M12 11v6M12 7.2v.3",
    "bulb": "M9 17.5h6M10 21h4M9 17.5c0-2.5-3-3.5-3-8a6 6 0 1 1 12 0c0 4.5-3 5.5-3 8",
    "warning": "M12 3.500L22 20.500H2zM12 10v5M12 17.700v.2",
    "important": f"{CIRCLE}M12 7v6M12 16.600v.3",
    "seealso": "M12 6c-2-1.5-5-2-9-2v14c4 0 7 .5 9 2c2-1.5 5-2 9-2V4c-4 0-7 .5-9 2v14",
    "question": f"{CIRCLE}M9 9.500a3 3 0 1 1 4.5 2.600c-1 .6-1.5 1.1-1.5 2.200M12 17v.3",
    "pencil": "M4 20l1-5L16 4l4 4L9 19z",
}

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke-width="2.5" '
    'stroke-linecap="round"><path stroke="#0f5c6e" d="M4 19L12 5l8 14"/>'
    '<path stroke="#b5208c" d="M4 19h16"/></svg>'
)


def picture(path: str) -> str:
    """One icon as a `url()` that CSS can use as a mask."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#000" '
        f'stroke-width="2" stroke-linecap="round" stroke-linejoin="round"><path d="{path}"/></svg>'
    )
    return f'url("data:image/svg+xml,{quote(svg, safe=" =:/")}")'.replace("%22", "'")


def stylesheet() -> str:
    """All icons as variables, and the classes that the theme knows them by."""
    variables = "\n".join(f"  --icon-{name}: {picture(path)};" for name, path in ICONS.items())
    classes = "\n".join(f".fa-{name} {{ --icon: var(--icon-{name}); }}" for name in ICONS)
    return f":root {{\n{variables}\n}}\n{classes}\n"


def write_icons(app: Sphinx, error: Exception | None) -> None:
    """Write `_static/icons.css`."""
    if not error and app.builder.format == "html":
        path = Path(app.outdir) / "_static" / "icons.css"
        path.write_text(stylesheet(), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Write the icons with the pages."""
    app.connect("build-finished", write_icons)
