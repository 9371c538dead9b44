"""Pages of the book beside those of a stock Jupyter Book of the same text.

    python -m tests.bench.pages

Each is opened in headless Chromium from a local server, nothing else reachable. Bytes are counted
as gzip would send them. The storyteller is a file of its own, which a demo asks for when it comes
near.
"""

import gzip
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from playwright.sync_api import Browser, sync_playwright

from tests.served import served
from tutor_lib.experiments.record import machine

ROOT = Path(__file__).resolve().parents[2]
WEIGHT, WHOLE = 200_000, 1_000_000  # bytes of a page, and with the storyteller
PAINT, SHIFT = 1.5, 0.1  # seconds to the largest part, and how much may move
ROUNDS = 3
STORYTELLER = "_static/storyteller.js"
WATCH = """
globalThis.seen = { paint: 0, shift: 0 };
new PerformanceObserver((list) => { for (const e of list.getEntries()) seen.paint = e.startTime; })
  .observe({ type: "largest-contentful-paint", buffered: true });
new PerformanceObserver((list) => {
  for (const e of list.getEntries()) if (!e.hadRecentInput) seen.shift += e.value; })
  .observe({ type: "layout-shift", buffered: true });
"""
STOCK = """
title: How transformers work
only_build_toc_files: true
execute:
  execute_notebooks: cache
  cache: {cache}
  timeout: 300
parse:
  myst_enable_extensions: [amsmath, attrs_inline, colon_fence, deflist, dollarmath, substitution]
sphinx:
  config:
    bibtex_bibfiles: [chapters/references.bib]
"""


def chapters() -> list[str]:
    """The chapters' pages, labs left out."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    files = [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]
    return [f"{name}.html" for name in files if name.startswith("chapters/")]


def stock_book(folder: Path) -> Path:
    """The same chapters as Jupyter Book makes them without us; what was run is taken over."""
    shutil.copytree(ROOT / "chapters", folder / "chapters")
    (folder / "chapters" / "api.md").write_text("# The library\n")  # our directive
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    toc["parts"] = [p for p in toc["parts"] if p["caption"] != "Labs"]
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc))
    cache = ROOT / "_build" / ".jupyter_cache"
    (folder / "_config.yml").write_text(STOCK.format(cache=cache))
    (folder / "tutor_lib").symlink_to(ROOT / "tutor_lib")
    book(folder)
    return folder / "_build" / "html"


def book(folder: Path, *options: str) -> None:
    """Build the book in a folder."""
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the book does not build:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def look(browser: Browser, home: str, path: str) -> dict[str, float]:
    """Open a page as for the first time."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    answers: dict[str, int] = {}
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda r: answers.update({r.url: len(gzip.compress(r.body(), mtime=0))}))
    page.route(lambda url: not url.startswith((home, "data:", "blob:")), lambda r: r.abort())
    page.add_init_script(WATCH)
    page.goto(home + path, wait_until="load")
    page.wait_for_load_state("networkidle")
    seen = page.evaluate("seen")
    page.close()
    near = {url: size for url, size in answers.items() if url.startswith(home)}
    teller = sum(size for url, size in near.items() if url.endswith(STORYTELLER))
    outside = [url for url in asked if not url.startswith((home, "data:", "blob:"))]
    return {
        "bytes": sum(near.values()) - teller,
        "teller": teller,
        "requests": len(near),
        "outside": len(outside),
        "paint": seen["paint"] / 1000,
        "shift": seen["shift"],
    }


def typical(browser: Browser, home: str, path: str) -> dict[str, float]:
    """The median of some visits."""
    visits = [look(browser, home, path) for _ in range(ROUNDS)]
    return {name: statistics.median(visit[name] for visit in visits) for name in visits[0]}


def main() -> int:
    """Print the table; 1 if a page of ours is over a line."""
    book(ROOT, "-W", "-n", "--keep-going")
    system = runpy.run_path(str(ROOT / "tests" / "system.py"))["system_browser"]()
    print(", ".join(f"{name} {value}" for name, value in machine().items() if value))
    print(f"{'page':<36}{'':7}{'kB':>6}{'files':>6}{'outside':>8}{'paint s':>8}{'shift':>7}")
    fine = True
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        theirs = stock_book(Path(folder))
        with served(ROOT / "_build" / "html") as ours, served(theirs) as stock:
            for path in chapters():
                for whose, home in (("ours", f"{ours}/"), ("stock", f"{stock}/")):
                    seen = typical(browser, home, path)
                    print(row(path, whose, seen))
                    fine &= whose == "stock" or within(seen)
        browser.close()
    print(f"lines: {WEIGHT:,} bytes, {WHOLE:,} with the storyteller, {PAINT} s, shift {SHIFT}: "
          f"{'kept' if fine else 'MISSED'}")  # fmt: skip
    return 0 if fine else 1


def row(path: str, whose: str, seen: dict[str, float]) -> str:
    """A line of the table."""
    numbers = f"{seen['bytes'] / 1000:6.0f}{seen['requests']:6.0f}{seen['outside']:8.0f}"
    return f"{path:<36}{whose:7}{numbers}{seen['paint']:8.2f}{seen['shift']:7.3f}"


def within(seen: dict[str, float]) -> bool:
    """Whether a page keeps every line."""
    light = seen["bytes"] <= WEIGHT and seen["bytes"] + seen["teller"] <= WHOLE
    return light and not seen["outside"] and seen["paint"] < PAINT and seen["shift"] < SHIFT


if __name__ == "__main__":
    sys.exit(main())
