"""From a process that has imported everything to a judge: what runs a lab's test cells.

Beside a student's kernel it has little to be watched for: its code is the lab's, and what it
hears from the student is data. So it goes without a supervisor and a process namespace, which
take time to start; the limits of one process hold, and its owner can end it. It has its own
files, and a user namespace of its own, so that no other judge can look into it.
"""

import contextlib
import json
import os
import signal
import socket
import traceback
from typing import NoReturn

from tutor_lib.grading.sandbox import room
from tutor_lib.grading.sandbox.guest import Request
from tutor_lib.grading.sandbox.kernel import prepare


def be_judge(channel: int, link: int, *, warm: bool = True) -> NoReturn:
    """Become the judge that a Request on `channel` asks for, and judge over `link`.

    The owner hears whether it could start, and gets a descriptor that stands for this process.
    """
    owner = socket.socket(fileno=channel)
    try:
        asked, answers = owner.makefile("rb"), owner.makefile("wb")
        request = Request.read(asked)
        if warm:
            room.keep_apart(request.limits.disk_bytes)
        prepare(request, link, {channel, link})
        from tutor_lib.grading.protocol.judge import serve

        signal.signal(signal.SIGINT, lambda *_: None)  # until there is a cell to stop
        socket.send_fds(owner, [b'{"started": true}\n'], [os.pidfd_open(os.getpid())])
        serve(asked, answers, request.limits.output_bytes)
    except BaseException:
        told = json.dumps({"failed": traceback.format_exc()}).encode() + b"\n"
        with contextlib.suppress(OSError):  # the owner may have gone
            owner.sendall(told)
        os._exit(1)
    os._exit(0)
