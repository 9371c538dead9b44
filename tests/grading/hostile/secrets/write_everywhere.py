"""Writes to the gradebook, the solutions, the tests, other students' folders, the library."""

FIRST = """
import os, tutor_lib

targets = [COURSE + "/" + name for name in (
    "gradebook.db", "solutions/probe/probe.md", "build/source/probe/probe.ipynb",
    "labs/probe/probe.ipynb", "submitted/plain/probe/probe.ipynb", "nbgrader_config.py",
    "autograded/evil", "build/graded/evil", "evil",
)] + [tutor_lib.__file__, os.__file__, "/etc/evil", "/usr/evil", "/evil", "/dev/evil"]
for target in targets:
    for prefix in ("", "/proc/1/root", "/proc/self/root"):
        try:
            os.makedirs(os.path.dirname(prefix + target), exist_ok=True)
            with open(prefix + target, "ab") as file:
                file.write(b"evil")
            # /tmp is its own: what it writes there, nobody else sees.
            print("wrote" if target.startswith("/tmp/") else "found", prefix + target)
        except OSError as error:
            print(error)
"""
UNSAID = ("found",)
