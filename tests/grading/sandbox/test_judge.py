"""A judge in the sandbox: it runs what it is told, apart from the others, and ends."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

import pytest

from tutor_lib.grading.limits import MIB, Limits
from tutor_lib.grading.sandbox.guest import Guest
from tutor_lib.grading.sandbox.sandbox import Sandbox

LIMITS = Limits(disk_bytes=24 * MIB, output_bytes=20_000)


class Judge:
    """A judge, driven from ordinary code; its student is the test."""

    def __init__(self, sandbox: Sandbox, **environment: str) -> None:
        self.student, link = socket.socketpair()
        with link:
            guest = Guest(LIMITS, environment, link=link.fileno())
            self.channel, self.process = asyncio.run(sandbox.start_judge(guest))
        self.channel.settimeout(30)
        self.answers = self.channel.makefile("rb")

    def ask(self, source: str) -> None:
        asked = {"source": source, "names": None, "last": True}
        self.channel.sendall(json.dumps(asked).encode() + b"\n")

    def run(self, source: str) -> dict:
        self.ask(source)
        return json.loads(self.answers.readline())

    def text(self, source: str) -> str:
        return "".join(o.get("text", o.get("evalue", "")) for o in self.run(source)["outputs"])

    def signal(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self.process, number)

    def ends(self, seconds: float = 15) -> bool:
        return bool(select.select([self.process], [], [], seconds)[0])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        for one in (self.answers, self.channel, self.student):
            one.close()
        os.close(self.process)


@pytest.fixture
def judges(either):
    """Start judges that end with the test."""
    started = []

    def start(**environment: str) -> Judge:
        started.append(Judge(either, **environment))
        return started[-1]

    yield start
    for judge in started:
        judge.close()


def test_it_runs_what_it_is_told_and_says_how_it_went(judges):
    judge = judges(TUTOR_SEED="ada")
    assert judge.run("x = 6")["passed"]
    told = judge.run("import os; print(os.environ['TUTOR_SEED'])\nx * 7")
    assert (told["passed"], told["full"]) == (True, False)
    assert told["outputs"][0] == {"output_type": "stream", "name": "stdout", "text": "ada\n"}
    assert told["outputs"][1]["data"] == {"text/plain": "42"}
    assert not judge.run("assert x == 7")["passed"]


def test_it_has_files_of_its_own(judges):
    one, other = judges(), judges()
    write = "for place in ('.', '/dev/shm'): open(f'{place}/a', 'w').write('one')"
    assert one.run(write)["passed"]
    seen = other.text("import os; print(os.listdir('.'), os.listdir('/dev/shm'))")
    assert seen == "[] []\n"
    assert "Read-only" in other.text("import tutor_lib; open(tutor_lib.__file__ + 'x', 'w')")


def test_its_files_have_a_limit(warm):
    judge = Judge(warm)
    said = judge.text("for n in range(3): open(f'/tmp/{n}', 'wb').write(bytes(10 << 20))")
    assert "No space left" in said
    judge.close()


def test_nothing_of_the_outside_is_there(judges, tmp_path):
    (tmp_path / "gradebook.db").write_text("x")
    seen = f"import os; print(os.path.exists({str(tmp_path)!r}), os.listdir('/run/kernels'))"
    judge = judges()
    assert judge.text(seen) in ("False []\n", "[Errno 2] No such file or directory: '/run/kernels'")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not judge.run(f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)")[
            "passed"
        ]


LOOK = """
import os
for name in filter(str.isdigit, os.listdir("/proc")):
    for what in ("mem", "environ", "root"):
        try:
            os.listdir(f"/proc/{name}/root") if what == "root" else open(f"/proc/{name}/{what}")
            if int(name) != os.getpid():
                print(name, what, open(f"/proc/{name}/comm").read())
        except OSError:
            pass
"""


def test_it_sees_no_other_judge(warm):
    one, other = Judge(warm), Judge(warm)
    try:
        assert one.text("secret = 'tulip'") == ""
        assert other.text(LOOK) == ""
    finally:
        one.close()
        other.close()


def test_it_has_no_rights_and_gains_none(judges):
    told = judges().text(
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print([l.split()[1] for l in lines if l.startswith(('CapEff', 'NoNewPrivs', 'Seccomp:'))])"
    )
    assert told == "['0000000000000000', '1', '2']\n"


def test_an_interrupt_stops_the_cell_alone(judges):
    judge = judges()
    judge.signal(signal.SIGINT)  # there is nothing to stop
    judge.ask("while True: pass")
    time.sleep(0.5)
    judge.signal(signal.SIGINT)
    told = json.loads(judge.answers.readline())
    assert [o["ename"] for o in told["outputs"]] == ["KeyboardInterrupt"]
    assert judge.text("print('next')") == "next\n"


def test_it_ends_when_its_owner_hangs_up(judges):
    idle, busy = judges(), judges()
    for judge in (idle, busy):
        assert judge.run("1")["passed"]
    idle.answers.close()
    idle.channel.close()
    assert idle.ends()
    busy.ask("while True: pass")
    busy.signal(signal.SIGKILL)
    assert busy.ends()
    assert busy.student.recv(1) == b""  # and the student's side sees it


OWNER = """
import asyncio, json, os, socket, sys
from tutor_lib.grading.sandbox.guest import Guest
from tutor_lib.grading.sandbox.sandbox import Sandbox

sandbox = Sandbox((), warm=sys.argv[1] == "True")
student, link = socket.socketpair()
channel, process = asyncio.run(sandbox.start_judge(Guest(link=link.fileno())))
asked = {"source": "import os, sys; print('up'); sys.stdout.flush()", "names": None, "last": True}
channel.sendall(json.dumps(asked).encode() + b"\\n")
channel.makefile("rb").readline()
asked["source"] = "while True: pass"
channel.sendall(json.dumps(asked).encode() + b"\\n")
print(open(f"/proc/self/fdinfo/{process}").read().split("Pid:")[1].split()[0], flush=True)
import time; time.sleep(600)
"""


def test_a_killed_owner_leaves_no_busy_judge(either):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(either.warm)], stdout=subprocess.PIPE, text=True
    )
    judge = int(owner.stdout.readline())
    process = os.pidfd_open(judge)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert select.select([process], [], [], 15)[0]
    os.close(process)


def test_what_is_shown_has_an_end(judges):
    told = judges().run("print('x' * 10_000)\nprint('y' * 20_000)\nprint('z')")
    assert (told["passed"], told["full"]) == (True, True)
    assert told["outputs"][0]["text"] == "x" * 10_000 + "\n"
