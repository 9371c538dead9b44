"""A real sandbox to run small bundles in."""

import asyncio

import pytest

from tests.grading.run.small import bundle_of
from tutor_lib.grading.run.executor import execute
from tutor_lib.grading.sandbox.guest import SandboxError
from tutor_lib.grading.sandbox.sandbox import Sandbox


@pytest.fixture(scope="session")
def run():
    """Run a bundle of these cells in the sandbox."""
    with asyncio.Runner() as runner:
        sandbox = Sandbox(imports=())

        def run(*cells, **about):
            try:
                return runner.run(execute(bundle_of(*cells, **about), sandbox))
            except SandboxError as error:
                pytest.skip(f"no sandbox on this machine: {error}")

        yield run
        runner.run(sandbox.close())
