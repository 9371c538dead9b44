"""Find or install what the tests need beyond Python: a browser and, on Linux, bubblewrap.

A PostgreSQL server is installed too where that can be done; elsewhere its tests are skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    if not system_browser() and not _playwright_has_one():
        _playwright_installs_one() or _system_installs("chromium") or _give_up(
            "a browser: install Chromium and put `chromium` on the PATH"
        )
    if sys.platform == "linux" and not shutil.which("bwrap"):
        _system_installs("bubblewrap") or _give_up("bubblewrap: install the package `bubblewrap`")
    if sys.platform == "linux" and not _has_postgresql():
        _system_installs("postgresql") or print("There is none: its tests are skipped", flush=True)


def system_browser() -> str | None:
    """The first browser on the PATH that the tests can drive."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _has_postgresql() -> bool:
    """A server's programs are on the PATH, or where Debian has them."""
    return bool(shutil.which("initdb") or [*Path("/usr/lib/postgresql").glob("*/bin/initdb")])


def _playwright_has_one() -> bool:
    with sync_playwright() as playwright:
        return os.path.exists(playwright.chromium.executable_path)


def _playwright_installs_one() -> bool:
    print("No browser found: asking Playwright for one", flush=True)
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    return _runs(command, seconds=300) and _playwright_has_one()


def _system_installs(package: str) -> bool:
    print(f"Installing the system's package {package}", flush=True)
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    # With what the package recommends: a browser without fonts measures no text.
    return _runs([*sudo, "apt-get", "update", "-q"]) and _runs(
        [*sudo, "apt-get", "install", "-y", "-q", package]
    )


def _runs(command: list[str], seconds: int = 900) -> bool:
    try:
        return subprocess.run(command, timeout=seconds, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _give_up(what: str) -> None:
    sys.exit(f"The tests need {what}.")


if __name__ == "__main__":
    main()
