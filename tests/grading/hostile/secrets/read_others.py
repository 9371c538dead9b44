"""Reads what other students handed in, and what they got."""

FIRST = """
import glob, os

for base in (COURSE, "/proc/1/root" + COURSE, "..", "../.."):
    for step in ("submitted", "autograded", "feedback", "downloaded", "build/graded"):
        for path in glob.glob(f"{base}/{step}/**", recursive=True):
            if os.path.exists(path):
                print("found", path)
                print(open(path, "rb").read(5000))
"""
UNSAID = ("found",)
