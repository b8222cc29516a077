"""A headless Chromium to click in: the DevTools protocol over pipes, without another program or port.

https://chromedevtools.github.io/devtools-protocol, ``--remote-debugging-pipe``: JSON messages, each with a zero byte.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = 120
# the protocol is spoken over the descriptors 3 and 4; the pipes may have these numbers the wrong way round
_LAUNCH = """import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])"""
KEYS = {"Backspace": 8, "p": 80, **{str(digit): 48 + digit for digit in range(10)}}


class Tab:
    """One page in a browser of its own, whose profile stays in a folder; made by :func:`open_tab`."""

    def __init__(self, process: subprocess.Popen, to_browser: int, from_browser: int):
        self._process, self._to, self._from = process, to_browser, from_browser
        self._number, self._rest, self._session = 0, b"", ""
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def attach(self, page: Path, downloads: Path) -> None:
        """Open the page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=page.as_uri())
        self.wait("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + SECONDS
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < end, (expression, self.value("document.body.innerText"), self.complaints)
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        return self.value(f"document.querySelector({json.dumps(selector)}).innerText")

    def click(self, selector: str) -> None:
        """Click in the middle of an element with the mouse; it must be there and not covered."""
        query = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"{query} && {query}.offsetParent && !{query}.disabled")
        self.value(f"{query}.scrollIntoView({{block: 'nearest'}})")
        x, y = self.value(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({query}.getBoundingClientRect())")
        assert self.value(f"{query}.contains(document.elementFromPoint({x}, {y}))"), f"{selector} is covered"
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def scroll(self, selector: str, by: int) -> None:
        """Turn the wheel over an element."""
        query = f"document.querySelector({json.dumps(selector)})"
        x, y = self.value(f"(b => [b.x + b.width / 4, b.y + b.height / 4])({query}.getBoundingClientRect())")
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=by)

    def drag(self, selector: str, by: tuple[int, int]) -> None:
        """Drag with the right mouse button over an element."""
        query = f"document.querySelector({json.dumps(selector)})"
        x, y = self.value(f"(b => [b.x + b.width / 4, b.y + b.height / 4])({query}.getBoundingClientRect())")
        at = {"button": "right", "buttons": 2}
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, clickCount=1, **at)
        for step in range(1, 6):
            place = {"x": x + by[0] * step / 5, "y": y + by[1] * step / 5}
            self.call("Input.dispatchMouseEvent", type="mouseMoved", **place, **at)
        self.call("Input.dispatchMouseEvent", type="mouseReleased", **place, button="right", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        for kind, extra in (("keyDown", text), ("keyUp", {})):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=KEYS[key], **extra)

    def choose_files(self, selector: str, files: list[Path]) -> None:
        """Choose files in a file input, or a folder in one for folders."""
        node = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        names = [str(file) for file in files]
        self.call("DOM.setFileInputFiles", files=names, objectId=node["result"]["objectId"])

    def picture(self, target: Path) -> None:
        """Write what is shown as PNG."""
        import base64

        target.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def kill(self) -> None:
        """End the browser as a power cut would."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._to, self._from):
            os.close(pipe)

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._from, 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"])[:500])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"]["text"])


def open_tab(program: str, page: Path, profile: Path, downloads: Path, size: tuple[int, int] = (1200, 800)) -> Tab:
    """Start a browser and open a page in it. WebGL is drawn by the processor; no network is reached."""
    child_reads, to_browser = os.pipe()
    from_browser, child_writes = os.pipe()
    options = ("--headless", "--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader", "--no-first-run")
    offline = ("--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking")
    own = (f"--window-size={size[0]},{size[1]}", f"--user-data-dir={profile}", "--remote-debugging-pipe")
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, str(child_reads), str(child_writes), program, *options, *offline, *own],
        pass_fds=(child_reads, child_writes),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(child_reads)
    os.close(child_writes)
    tab = Tab(process, to_browser, from_browser)
    try:
        tab.attach(page, downloads)
    except BaseException:
        tab.kill()
        raise
    return tab
