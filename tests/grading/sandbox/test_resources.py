"""Takes too much, or ends itself: only its own kernel ends, and the reason is told."""

import pytest

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
        "import os\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        while True: pass\n"
        "os.wait()",
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


def test_a_fork_bomb_leaves_its_neighbour_alone(either, start):
    bomb, neighbour = start(either), start(either)
    bomb.send("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")
    for number in range(5):
        assert neighbour.run(f"import os; os.fork() or os._exit(0); print({number})").text
    assert bomb.ending() == "processes"
    assert neighbour.run("print('still here')").text == "still here\n"


def test_the_template_outlives_what_it_forked(either, start):
    for attempt in ("import os; os._exit(1)", "import ctypes; ctypes.string_at(0)"):
        kernel = start(either)
        kernel.send(attempt)
        assert kernel.ending() == "died"
    assert start(either).run("print(1)").text == "1\n"


def test_a_large_file_is_refused(kernel):
    """file_bytes is an error in the cell, and not the end: 8 MiB of the disk's 24."""
    said = kernel.run("open('/tmp/large', 'wb').write(bytes(9 << 20))")
    assert said.error.startswith("OSError: [Errno 27] File too large")
    assert kernel.run("print(1)").text == "1\n"


def test_many_threads_are_refused(kernel):
    code = (
        "import threading, time\n"
        "for _ in range(500): threading.Thread(target=time.sleep, args=(5,), daemon=True).start()"
    )
    assert "can't start new thread" in kernel.run(code).error


def test_what_is_read_from_the_template_costs_nothing(warm, start):
    """Twenty processes that share what torch takes: far below the limit together."""
    kernel = start(warm)
    code = (
        "import os, time\n"
        "for _ in range(20):\n"
        "    if os.fork() == 0: time.sleep(2); os._exit(0)\n"
        "for _ in range(20): os.wait()\n"
        "print('done')"
    )
    assert kernel.run(code).text == "done\n"
