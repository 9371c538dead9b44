"""Kernels have a /tmp of their own; a library that lies in the other one is seen all the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import tutor_lib

SCRIPT = """
import asyncio
from tutor_lib.grading.run.kernel import Kernel
from tutor_lib.grading.limits import Limits
from tutor_lib.grading.sandbox.sandbox import Sandbox

CODE = '''
import os
import tutor_lib.grading.protocol.far as far
print(far.__file__, os.listdir({course!r}))
open(os.path.dirname(far.__file__) + "/new", "w")
'''

async def main():
    sandbox = Sandbox(imports=("json",))
    try:
        kernel = Kernel(await sandbox.start_kernel(), Limits())
        await kernel.open()
        ran = await kernel.run(CODE, 30)
        await kernel.close()
    finally:
        await sandbox.close()
    for output in ran.outputs:
        print(output.get("text") or output["evalue"])

asyncio.run(main())
"""


def test_a_course_below_tmp(warm, tmp_path):
    """A clone in /tmp gave everybody 0 points: the kernels' own /tmp covered the library."""
    course = tmp_path / "course"
    shutil.copytree(
        Path(tutor_lib.__file__).parent, course / "tutor_lib",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    (course / "secret.txt").write_text("tulip")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{course!r}", repr(str(course)))],
        cwd=course, env=os.environ | {"PYTHONPATH": str(course)}, capture_output=True, text=True,
    )  # fmt: skip
    far = course / "tutor_lib" / "grading" / "protocol" / "far.py"
    assert f"{far} ['tutor_lib']" in done.stdout, done.stdout + done.stderr
    assert "Read-only file system" in done.stdout
