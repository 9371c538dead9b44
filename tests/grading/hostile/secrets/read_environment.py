"""Prints its environment, and that of every other process."""

FIRST = """
import glob, os

print(dict(os.environ))
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        print(path, open(path, "rb").read())
    except OSError as error:
        print(error)
"""
