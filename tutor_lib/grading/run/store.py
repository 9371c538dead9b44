"""Results under the digest of what they came from: what was run once need not run again."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tutor_lib.grading.notes import Note
from tutor_lib.grading.submission import Result


def to_json(result: Result) -> str:
    """A result as one line of text."""
    return json.dumps(
        {
            "outputs": result.outputs,
            "finished": sorted(result.finished),
            "notes": [asdict(note) for note in result.notes],
            "seconds": dict(result.seconds),
        }
    )


def from_json(text: str) -> Result:
    """The result that `to_json` wrote. Raises ValueError for any other text."""
    try:
        return _result(json.loads(text))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no result: {error}") from error


def _result(about: Mapping[str, Any]) -> Result:
    return Result(
        outputs=tuple(tuple(outputs) for outputs in about["outputs"]),
        finished=frozenset(about["finished"]),
        notes=tuple(Note(**note) for note in about["notes"]),
        seconds=about["seconds"],
    )


class Store:
    """A folder of results. Many processes may read and write it at once.

    A file is written beside its place and moved there whole, so a killed writer leaves no half
    of one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the result under this key is, or would be."""
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> Result | None:
        """The result under this key, or None if there is none, or none that can be read."""
        try:
            return from_json(self.path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def put(self, key: str, result: Result) -> None:
        """Keep a result under this key."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".", delete=False, encoding="utf-8"
        ) as file:
            file.write(to_json(result))
        os.replace(file.name, path)
