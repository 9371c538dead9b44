"""What every test shares: checked shapes, the built book, and a real browser."""

import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]

# Every call with tensors is checked against its annotated shapes, where beartype is.
SHAPED = ["embed", "attention", "ffn", "predict", "model", "train", "adapt", "inside", "rivals",
          "checks"]  # fmt: skip
if importlib.util.find_spec("beartype"):
    from jaxtyping import install_import_hook

    install_import_hook([f"tutor_lib.{package}" for package in SHAPED], "beartype.beartype")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items) -> None:
    """In parallel, one process has the built book and JupyterLab, one the demos' browser; other
    files stay whole.

    A long file may name groups of its own.
    """
    for item in items:
        if item.get_closest_marker("xdist_group"):
            continue
        needs = {*getattr(item, "fixturenames", ())}
        group = "pages" if {"book", "jupyterlab"} & needs else "demos" if "browser" in needs else ""
        item.add_marker(pytest.mark.xdist_group(group or str(item.path)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(autouse=True)
def _seed():
    """Each test draws the same numbers, alone or after others."""
    torch.manual_seed(0)


class Place(NamedTuple):
    """Where a test computes, in what, and how far from its oracle it may then be."""

    device: str
    dtype: torch.dtype
    tolerance: float


@pytest.fixture(
    params=[
        pytest.param(Place("cpu", torch.float64, 1e-10), id="cpu-float64"),
        pytest.param(Place("cpu", torch.float32, 1e-5), id="cpu-float32"),
        pytest.param(Place("cuda", torch.float32, 1e-4), id="cuda-float32", marks=pytest.mark.gpu),
        pytest.param(Place("cuda", torch.bfloat16, 5e-2), id="cuda-bf16", marks=pytest.mark.gpu),
    ]
)
def place(request) -> Place:
    """Each device and dtype that a mechanism must work in; the GPU's run under `-m gpu`."""
    if request.param.device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return request.param


@pytest.fixture
def unchecked_shapes():
    """Let wrong shapes through to the library's own checks, as outside the tests."""
    from jaxtyping import config

    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def book() -> Path:
    """The built book's folder of HTML pages, built as `make book` builds it."""
    program = shutil.which("jupyter-book", path=str(Path(sys.executable).parent))
    command = [program, "build", ".", "-W", "-n", "--keep-going"]
    # The notebooks that it runs find this environment's programs first.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium: the system's if there is one, else Playwright's."""
    from playwright.sync_api import sync_playwright

    system = runpy.run_path(str(ROOT / "tests" / "system.py"))["system_browser"]()
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--no-first-run", "--disable-quic"]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        quiet.append("--no-sandbox")  # Chromium refuses to start its own sandbox as root.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=system, args=quiet)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def jupyterlab(tmp_path_factory):
    """A running JupyterLab: put notebooks into its `folder`, then `open` them."""
    running = runpy.run_path(str(ROOT / "tests" / "jupyterlab.py"))["running"]
    with running(tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")) as lab:
        yield lab
