"""Reads the gradebook, by every path that it can think of."""

FIRST = """
import glob, os

for place in (COURSE, "/proc/1/root" + COURSE, "/proc/self/root" + COURSE, ".", "..", "../..",
              "../../.."):
    for path in glob.glob(f"{place}/*.db") + [f"{place}/gradebook.db"]:
        try:
            print(path, open(path, "rb").read(2000))
        except OSError as error:
            print(error)
"""
