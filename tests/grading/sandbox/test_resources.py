"""Takes too much, or ends itself: only its own kernel ends, and the reason is told."""

import time

import pytest

from tutor_lib.grading.limits import MIB, Limits
from tutor_lib.grading.sandbox.guest import Guest

ENDINGS = {
    "memory: one process": ("memory", "x = bytearray(400 << 20)\nwhile True: pass"),
    "memory: by children": (
        "memory",
        "import os, time\n"
        "for _ in range(8):\n"
        "    if os.fork() == 0: x = bytearray(60 << 20); time.sleep(60)\n"
        "time.sleep(60)",
    ),
    "memory: copies of what was the template's": (
        "memory",
        "import os, time, ctypes\n"
        "x = bytearray(100 << 20)\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        for i in range(0, len(x), 4096): x[i] = 1\n"
        "        time.sleep(60)\n"
        "time.sleep(60)",
    ),
    "memory: shared": (
        "memory",
        "import mmap, time\n"
        "m = mmap.mmap(-1, 400 << 20)\n"
        "for i in range(0, len(m), 4096): m[i] = 1\n"
        "time.sleep(60)",
    ),
    "memory: files without a name": (
        "memory",
        "import os, time\n"
        "for i in range(60):\n"
        "    os.write(os.memfd_create(str(i)), bytes(7 << 20))\n"
        "time.sleep(60)",
    ),
    "memory: hides": ("memory", "import ctypes\nctypes.CDLL(None).prctl(4, 0)\nwhile True: pass"),
    "processes: fork bomb": (
        "processes",
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    ),
    "cpu: in one process": ("cpu", "while True: pass"),
    "cpu: swallows the interrupt": (
        "cpu",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    ),
    "cpu: in children": (
        "cpu",
        "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        while True: pass\nos.wait()",
    ),
    "disk: many files": (
        "disk",
        "import time\n"
        "for i in range(40):\n"
        "    try: open(f'/tmp/{i}', 'wb').write(bytes(1 << 20))\n"
        "    except OSError: pass\n"
        "time.sleep(60)",
    ),
    "disk: empty files": (
        "disk",
        "import time\nfor i in range(40_000): open(f'/tmp/{i}', 'w').close()\ntime.sleep(60)",
    ),
    "disk: shared memory": (
        "disk",
        "import time\n"
        "for i in range(40):\n"
        "    try: open(f'/dev/shm/{i}', 'wb').write(bytes(1 << 20))\n"
        "    except OSError: pass\n"
        "time.sleep(60)",
    ),
    "died: leaves": ("died", "import os; os._exit(0)"),
    "died: crashes": ("died", "import ctypes; ctypes.string_at(0)"),
    "died: kills all": ("died", "import os; os.system('kill -9 -1')"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_kernel_ends_and_says_why(kernel, name):
    code, attempt = ENDINGS[name]
    kernel.send(attempt)
    assert kernel.ending() == code
