"""What the tests of grading share."""

import asyncio

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Where a test before had a browser, Playwright's event loop counts as running ever after.

    Then asyncio.run refuses to start another, which a kernel's test needs.
    """
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return (yield)
    finally:
        asyncio._set_running_loop(running)
