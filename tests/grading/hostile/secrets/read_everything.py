"""Reads every file that there is, and looks for the hidden tests, names and passwords in it."""

FIRST = """
import os, sys

words = [a + b for a, b in (("mari", "gold"), ("tu", "lip"), ("cro", "cus"))]
skipped = ("/usr", "/lib", "/bin", "/sbin", "/sys", "/proc", "/dev", "/nix", sys.prefix,
           sys.base_prefix)
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if not os.path.join(folder, f).startswith(skipped)]
    for name in files:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                text = file.read(1 << 20)
        except OSError:
            continue
        for word in words:
            if word.encode() in text:
                print("found", folder, name, word)
"""
UNSAID = ("found",)
