"""Leaves a daemon behind that wants to outlive the grading; its answers are right."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
import os, subprocess
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 4096)
        os.execvp("sleep", ["sleep", "86397"])
    os._exit(0)
os.wait()
subprocess.Popen(["nohup", "sleep", "86397"], start_new_session=True)
"""
ANSWERS, SCORES = RIGHT, POINTS
