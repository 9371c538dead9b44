"""The labs that there are, and what their tests need of each."""

import importlib
import re
import types
from collections.abc import Iterable
from pathlib import Path

from tests.cells import cell
from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.lab import Lab

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(p.stem for p in (ROOT / "solutions").glob("*/*.md") if p.stem == p.parent.name)


# What a source cell holds that students must not see.
REGION = re.compile(r"### BEGIN (SOLUTION|HIDDEN TESTS)\n(.*?)### END \1", re.DOTALL)


def lines_of(texts: Iterable[str]) -> set[str]:
    """The lines of some texts that say something, without white space around them."""
    return {line.strip() for text in texts for line in text.splitlines() if line.strip()}


def lab_of(name: str) -> Lab:
    """The lab's checks."""
    return importlib.import_module(f"tutor_lib.checks.{name}").LAB


def right_answers(name: str) -> dict[str, list]:
    """Right answers to each exercise, of different make-up."""
    return importlib.import_module(f"tests.checks.answers.{name}").RIGHT


def typed(exercise: Exercise, thing: object) -> object:
    """What `thing` is when a student has typed it into a notebook under the exercise's name.

    The other exercises are stubs there, as in the untouched lab.
    """
    notebook = types.ModuleType("notebook")
    exec("import math\nimport numpy as np\nimport torch\nfrom torch import nn\n", vars(notebook))
    for other in exercise.uses:
        exec(f"def {other.name}(*_):\n    raise NotImplementedError", vars(notebook))
    exec(cell(thing, exercise.name, exercise.lent), vars(notebook))
    return getattr(notebook, exercise.name)
