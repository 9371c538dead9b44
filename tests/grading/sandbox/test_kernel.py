"""A kernel in the sandbox is a kernel like any other."""

import asyncio
import json
import os
import socket

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tutor_lib.grading.limits import MIB, Limits
from tutor_lib.grading.sandbox.guest import Guest, SandboxError
from tutor_lib.grading.sandbox.manager import MESSAGE_BYTES
from tutor_lib.grading.sandbox.sandbox import KERNELS, NAME, Sandbox, shared


def test_warm_computes(warm, start):
    kernel = start(warm)
    assert kernel.run("import torch; print(torch.ones(3).sum())").text == "tensor(3.)\n"
    assert kernel.run("print(torch.get_num_threads())").text == "1\n"


def test_cold_computes(start):
    sandbox = Sandbox(("torch",), warm=False)
    try:
        kernel = start(sandbox, Guest())
    except SandboxError as error:
        pytest.skip(f"no cold sandbox on this machine: {error}")
    assert kernel.run("import torch; print(torch.ones(3).sum())").text == "tensor(3.)\n"
    kernel.manager.provisioner._running.stop()
    kernel.ending()
    sandbox.end()


def test_what_no_lab_needs_is_not_imported(warm, start):
    """Tensors of many machines and a debugger: each fork would have to copy their pages."""
    kernel = start(warm)
    code = "import sys, torch; torch.testing.assert_close(torch.ones(2), torch.ones(2))\n"
    kernel.run(code)
    found = kernel.run("print({'torch.distributed.tensor', 'pydevd'} & {*sys.modules})")
    assert found.text == "set()\n"
    wrong = kernel.run("torch.testing.assert_close(torch.ones(2), torch.zeros(2))")
    assert "Mismatched elements: 2 / 2" in str(wrong)


def test_what_a_sandbox_is_told_later_is_imported_too(either, start):
    asyncio.run(either.prepare(["wave", "there.is.no.such.module"]))
    asyncio.run(either.prepare(["wave"]))
    assert start(either).run("import sys; print('wave' in sys.modules)").text == "True\n"


def test_every_kernel_draws_the_same_numbers(warm, start):
    code = (
        "import random, numpy, torch\n"
        "print(random.random(), numpy.random.rand(), torch.rand(1), hash('a'))"
    )
    said = {start(warm).run(code).text for _ in range(2)}
    assert len(said) == 1


def test_files_and_folder(either, start):
    files = {"data.csv": b"1,2", "deep/er/x.bin": bytes(range(256)) * 5000}
    kernel = start(either, Guest(files=files))
    assert kernel.run("print(open('data.csv').read())").text == "1,2\n"
    assert kernel.run("print(len(open('deep/er/x.bin', 'rb').read()))").text == "1280000\n"
    kernel.run("open('mine', 'w').write('x')")
    assert kernel.run("import os; print(os.path.exists('mine'))").text == "True\n"


def test_shell_and_children_work(kernel):
    """`!command`, subprocesses, threads and multiprocessing are part of a notebook's world."""
    assert kernel.run("!echo hello").text.strip() == "hello"
    code = (
        "import multiprocessing, queue, threading\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "q = multiprocessing.get_context('fork').Queue()\n"
        "p = multiprocessing.get_context('fork').Process(target=q.put, args=(7,)); p.start()\n"
        "print(q.get(timeout=10)); p.join()"
    )
    assert kernel.run(code).text == "thread\n7\n"


def test_interrupt_reaches_the_kernel(kernel):
    code = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('stopped')"
    assert kernel.run_interrupted(code).text == "stopped\n"


def test_two_kernels_talk_over_a_link(either, start):
    one, other = socket.socketpair()
    with one, other:
        judge = start(either, Guest(link=one.fileno()))
        student = start(either, Guest(link=other.fileno()))
    link = "import os, socket; link = socket.socket(fileno=int(os.environ['TUTOR_LINK']))"
    for kernel in (judge, student):
        assert kernel.run(link).error == ""
    judge.run("link.sendall(b'how much?')")
    assert student.run("print(link.recv(99)); link.sendall(b'7')").text == "b'how much?'\n"
    assert judge.run("print(link.recv(99))").text == "b'7'\n"


def test_usage_is_told(kernel):
    kernel.run("x = bytearray(100 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1")
    kernel.run("import time; t = time.process_time()\nwhile time.process_time() < t + 0.5: pass")
    kernel.run("time.sleep(1.5)")
    seconds, memory = kernel.manager.provisioner.usage()
    assert 0.4 < seconds < 10
    assert 100 * MIB < memory < 150 * MIB, "the template's pages are not the student's"


def test_an_end_that_was_asked_for_is_no_accident(kernel):
    kernel._do(kernel.manager.shutdown_kernel())
    assert kernel.manager.provisioner.ending is None


def test_a_restarted_kernel_has_forgotten(kernel):
    kernel.run("x = 1; open('/tmp/x', 'w').close()")
    kernel._do(kernel.manager.restart_kernel(now=True))
    kernel._do(kernel._client.wait_for_ready(timeout=30))
    said = kernel.run("import os; print('x' in globals(), os.path.exists('/tmp/x'))")
    assert said.text == "False False\n"


def test_a_message_that_is_too_large_is_not_taken(warm, start):
    """One line of output that fills the grader's memory: the connection is dropped instead."""
    kernel = start(warm, Guest(limits=Limits(memory_bytes=1024 * MIB)))
    code = f"import sys; sys.stdout.write('x' * {MESSAGE_BYTES + MIB}); sys.stdout.flush()"
    with pytest.raises(TimeoutError):
        kernel.run(code, seconds=3)


def test_nbclient_runs_a_notebook(warm):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(6 * 7)")])

    async def run():
        manager = await warm.start_kernel()
        await NotebookClient(notebook, km=manager).async_execute()
        await manager.shutdown_kernel(now=True)

    asyncio.run(run())
    assert notebook.cells[0].outputs[0].text == "42\n"


def test_by_name(warm):
    """As other programs start it: through the kernelspec and the entry point."""

    async def run():
        manager = AsyncKernelManager(
            kernel_name=NAME, kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(KERNELS)])
        )
        await manager.start_kernel(sandbox=warm)
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=30)
        client.stop_channels()
        await manager.shutdown_kernel(now=True)

    asyncio.run(run())
    assert shared() is shared()


def test_without_the_provisioner_nothing_runs():
    """Whoever ignores the kernelspec's provisioner finds no program to run."""
    spec = json.loads((KERNELS / NAME / "kernel.json").read_text())
    assert not os.path.exists(spec["argv"][0])
    assert "python" not in spec["argv"][0]
