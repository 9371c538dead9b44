"""Has modules beside its notebook that would stand in for torch, the judge and Python's own."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
NAMES = ("torch", "numpy", "sitecustomize", "usercustomize", "json", "random", "tutor_lib",
         "ipykernel_launcher", "nbgrader_config", "conftest")  # fmt: skip
FIRST = """
import json, random, subprocess, sys
print(subprocess.run([sys.executable, "-c", "import random"], capture_output=True, text=True))
"""
UNSAID = ("stood in",)


def hand_in(folder):
    for name in NAMES:
        (folder / f"{name}.py").write_text("print('stood in')\nraise SystemExit('stood in')\n")
    (folder / "evil.pth").write_text("import os; print('stood in')\n")
    (folder / "tutor_lib.pth").write_text("/\n")
