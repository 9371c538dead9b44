"""What the tests of grading share."""

import asyncio
import functools

import pytest


@pytest.fixture(scope="session", autouse=True)
def _beside_a_browser():
    """Where a test before had a browser, Playwright's event loop counts as running ever after.

    Then asyncio refuses to start another, which a kernel's test needs. So it is out of sight while
    one of theirs runs, and only then: the browser needs it to be closed at the end.
    """
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (asyncio, "run"), (asyncio.Runner, "run"), (asyncio.Runner, "close"):
            patch.setattr(owner, name, _alone(getattr(owner, name)))
        yield


def _alone(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            return function(*args, **kwargs)
        finally:
            asyncio._set_running_loop(running)

    return call
