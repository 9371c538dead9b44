"""Kernels forked from a process that has imported torch, so that a notebook starts at once.

The kernelspec's command is this file as a client: it sends its arguments to the template and
lives as long as the kernel does. A kernel whose client is gone ends too.
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path


def install(folder: Path, address: str) -> None:
    """Make `python3` mean a forked kernel, for whoever has `folder` on JUPYTER_PATH."""
    spec = folder / "kernels" / "python3"
    spec.mkdir(parents=True)
    command = [sys.executable, "-I", "-S", __file__, address, "-f", "{connection_file}"]
    about = {"argv": command, "display_name": "Python 3, warm", "language": "python"}
    (spec / "kernel.json").write_text(json.dumps(about))


def serve(address: str) -> None:
    """Be the template: import what takes time, then fork a kernel for each client."""
    import importlib
    import signal

    import torch

    for module in sys.argv[3:]:
        importlib.import_module(module)
    torch.set_num_threads(1)  # a fork after threads have started can hang
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _be_kernel(client)
            client.close()


def _be_kernel(client: socket.socket) -> None:
    from ipykernel.kernelapp import IPKernelApp

    with client.makefile() as lines:
        wanted = json.loads(lines.readline())
    os.setsid()
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    for stream in range(3):  # ipykernel prints to the real stdout
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    threading.Thread(target=_end_with, args=(client,), daemon=True).start()
    IPKernelApp.launch_instance(argv=wanted["arguments"])
    os._exit(0)


def _end_with(client: socket.socket) -> None:
    client.recv(1)
    os._exit(1)


def ask(address: str, arguments: list[str]) -> None:
    """Be a client: have a kernel forked, and wait for its end."""
    wanted = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as template:
        template.connect(address)
        template.sendall(json.dumps(wanted).encode() + b"\n")
        template.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        ask(sys.argv[1], sys.argv[2:])
