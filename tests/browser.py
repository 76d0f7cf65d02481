"""A Chromium to look at pages with: the system's, or the one that playwright brings.

python -m tests.browser    looks for one, and fetches one where there is none: playwright's own, else Debian's as root
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "there is no Chromium: `python -m playwright install chromium-headless-shell` or `apt-get install chromium` "
    "brings one; XRAY_BROWSER names one elsewhere"
)
FETCH = (
    [sys.executable, "-m", "playwright", "install", "chromium-headless-shell"],
    ["sh", "-c", "apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium"],
)
"""Ways to get one, the first without being root."""
_SECONDS = 600


def find() -> str | None:
    """The program of a browser; None where there is none."""
    named = [os.environ.get("XRAY_BROWSER"), *map(shutil.which, NAMES)]
    with sync_playwright() as playwright:
        named.append(playwright.chromium.executable_path)
    folder = Path(named[-1] or "").parent.parent.parent
    # A browser without a window lies beside the one that playwright names.
    named += map(str, folder.glob("chromium_headless_shell-*/*/*headless*shell"))
    return next((name for name in named if name and Path(name).is_file()), None)


def main() -> int:
    """Finds or fetches a browser; 1 where there is none, and then the tests that need one are skipped."""
    for command in FETCH:
        if find() is not None:
            break
        try:
            subprocess.run(command, check=False, timeout=_SECONDS, stdin=subprocess.DEVNULL)
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"{command[0]}: {error}", file=sys.stderr)
    found = find()
    print(f"browser for tests: {found or MISSING}", file=sys.stderr)
    return int(found is None)


if __name__ == "__main__":
    sys.exit(main())
