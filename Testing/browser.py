"""A real browser without a window, for the tests of HTML pages: its console, what it shows and prints."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
SECONDS = 120
_PROBE = """<script>addEventListener("load", () => {
  const width = picture => picture.naturalWidth ?? picture.getBoundingClientRect().width;
  const images = [...document.querySelectorAll("img, figure svg")].map(width);
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.documentElement.setAttribute("data-probe", JSON.stringify({images, wide}));
});</script></body>"""


@dataclass(frozen=True)
class Shown:
    """What a browser made of a page.

    Attributes:
        complaints: lines on the console: errors of scripts, what could not be loaded.
        image_widths: natural width of each image and width of each drawing, 0 where it was not shown.
        too_wide: pixels by which the page is wider than the window.
    """

    complaints: list[str]
    image_widths: list[int]
    too_wide: int


class Browser:
    """Chromium, headless; every call is a process of its own with a profile of its own."""

    def __init__(self, program: str, folder: Path):
        self._program = program
        self._folder = folder

    def open(self, page: Path, width: int = 1200) -> Shown:
        """Open a copy of the page that reports its pictures and its width when it has loaded."""
        probed = self._folder / "probed.html"
        probed.write_text(page.read_text(encoding="utf-8").replace("</body>", _PROBE), encoding="utf-8")
        run = self._run(probed, f"--window-size={width},900", "--dump-dom", "--enable-logging=stderr")
        probe = re.search(r'data-probe="([^"]*)"', run.stdout)
        assert probe, f"the browser did not come to the end of the page: {run.stderr[-500:]}"
        found = json.loads(probe.group(1).replace("&quot;", '"'))
        complaints = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
        return Shown(complaints, found["images"], found["wide"])

    def print(self, page: Path) -> int:
        """Return how many sheets the page prints to."""
        target = self._folder / "printed.pdf"
        self._run(page, "--no-pdf-header-footer", f"--print-to-pdf={target}")
        return len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))

    def picture(self, page: Path, target: Path, size: tuple[int, int] = (1200, 3000)) -> None:
        """Write what a window of that size shows, as PNG, for people to look at."""
        self._run(page, "--hide-scrollbars", f"--window-size={size[0]},{size[1]}", f"--screenshot={target}")

    def _run(self, page: Path, *options: str) -> subprocess.CompletedProcess:
        profile = f"--user-data-dir={self._folder / 'profile'}"
        # a container has no sandbox for it; it opens nothing but the test's own page
        command = [self._program, "--headless", "--no-sandbox", "--disable-gpu", profile, *options, page.as_uri()]
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS, check=True)


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Browser:
    """The browser of this machine; without one the test is skipped."""
    program = next(filter(None, map(shutil.which, (os.environ.get("CSRD_TEST_BROWSER", NAMES[0]), *NAMES))), None)
    if program is None:
        pytest.skip(f"no browser is installed here (looked for {', '.join(NAMES)})")
    return Browser(program, tmp_path_factory.mktemp("browser"))
