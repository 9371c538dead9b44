"""`make bench`: every row of every `rows_*.py` beside this file, as a table and as JSON.

    python -m tests.bench [--only WORD] [--json FILE]

A row passes if the peer's time over ours is at least its line. Exits with 1 if one does not.
"""

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from tests.bench.harness import Comparison, Result, compare
from tutor_lib.experiments.record import machine

FOLDER = Path(__file__).parent


def rows() -> list[Comparison]:
    modules = sorted(path.stem for path in FOLDER.glob("rows_*.py"))
    return [row for m in modules for row in importlib.import_module(f"tests.bench.{m}").rows()]


def line(r: Result) -> str:
    verdict = "ok" if r.passed else "TOO SLOW"
    spread = f"{r.low:.2f}–{r.high:.2f}"
    return (f"{r.work:48} {r.peer:24} {r.ours_s * 1e3:10.2f} {r.theirs_s * 1e3:10.2f} "
            f"{r.ratio:7.2f} {spread:>13} {r.at_least:7.3g}  {verdict}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose work contains this word")
    parser.add_argument(
        "--json", type=Path, default=Path("build/bench.json"), help="where to write"
    )
    options = parser.parse_args()
    chosen = [row for row in rows() if options.only in row.work]
    if not chosen:
        parser.error(f"no row contains {options.only!r}")
    results = [compare(row) for row in tqdm(chosen, unit="row", leave=False)]
    print(", ".join(f"{name} {value}" for name, value in machine().items() if value))
    print(f"{'work':48} {'peer':24} {'ours, ms':>10} {'peer, ms':>10} {'ratio':>7} "
          f"{'quartiles':>13} {'line':>7}")  # fmt: skip
    print("\n".join(map(line, results)))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine(), "results": [asdict(r) | {"passed": r.passed} for r in results]}
    options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(r.passed for r in results) else 1


if __name__ == "__main__":
    sys.exit(main())
