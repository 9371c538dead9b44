"""A running JupyterLab for the tests, and the few things that they do in it."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


class Lab:
    """A JupyterLab server on the loopback interface, and how to open a notebook in it."""

    def __init__(self, folder: Path, address: str, token: str) -> None:
        self.folder, self.address, self.token = folder, address, token

    def open(self, page, notebook: str) -> None:
        """Open a notebook of the folder and wait until its kernel has started."""
        page.goto(f"{self.address}/lab/tree/{notebook}?token={self.token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        self.wait_idle(page)

    def formgrader(self, page) -> None:
        """Open nbgrader's formgrader for the course in `folder`, and wait for its first table."""
        page.goto(f"{self.address}/formgrader?token={self.token}")
        page.wait_for_selector("#main-table .name a", timeout=60_000)

    @staticmethod
    def wait_idle(page, timeout: float = 60_000) -> None:
        """Wait until the kernel has nothing to do."""
        page.wait_for_selector(
            ".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status='idle']",
            timeout=timeout,
            state="attached",
        )

    @staticmethod
    def write(page, cell: int, source: str) -> None:
        """Put `source` into a code cell, as a student would: click, select all, type."""
        editor = page.locator(".jp-Cell").nth(cell).locator(".cm-content")
        editor.scroll_into_view_if_needed()
        editor.click()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.insert_text(source)

    def run(self, page, cell: int, timeout: float = 60) -> str:
        """Run a cell with Control+Enter and return the text that it shows.

        Raises RuntimeError if it has not run after `timeout` seconds.
        """
        where = page.locator(".jp-Cell").nth(cell)
        prompt = where.locator(".jp-InputArea-prompt")
        before = prompt.inner_text()  # "[ ]:" or the number of the last run
        deadline, pressed = time.monotonic() + timeout, 0.0
        while (now := prompt.inner_text()) == before or "*" in now:
            if time.monotonic() > deadline:
                raise RuntimeError(f"cell {cell} did not run in {timeout} s; its prompt is {now}")
            # A key pressed before the page listens is lost: press again.
            if now == before and time.monotonic() > pressed + 1:
                where.locator(".jp-InputArea-editor").click()
                page.keyboard.press("Control+Enter")
                pressed = time.monotonic()
            page.wait_for_timeout(50)
        self.wait_idle(page)
        return where.locator(".jp-OutputArea").inner_text()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _wait(address: str, server: subprocess.Popen, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/api", timeout=2).read()
            return
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


def _environment(private: Path) -> dict[str, str]:
    """Nobody's settings but the test's, one thread, and this environment's programs first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "IPYTHONDIR": str(private / "ipython"),
        "MPLCONFIGDIR": str(private / "matplotlib"),
    }


def _no_news(private: Path) -> None:
    """Answer beforehand what JupyterLab asks on its first start: no news from the network."""
    settings = private / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    content = '{"fetchNews": "false", "checkForUpdates": false}'
    (settings / "notification.jupyterlab-settings").write_text(content)


@contextlib.contextmanager
def running(folder: Path, private: Path):
    """Start JupyterLab on `folder` and yield a `Lab`; stop the server and its kernels after.

    `private` is an empty folder for logs and settings.
    """
    _no_news(private)
    token, port = secrets.token_hex(16), _free_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1",
               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
               "--ServerApp.terminals_enabled=False"]  # fmt: skip
    log = private / "jupyterlab.log"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                                  env=_environment(private), start_new_session=True)  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, server, log, 60)
        yield Lab(folder, address, token)
    finally:
        _stop(server)


def _stop(server: subprocess.Popen) -> None:
    """Ask the server to end, with its kernels; insist after ten seconds."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(10)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)  # kernels that outlived the server
