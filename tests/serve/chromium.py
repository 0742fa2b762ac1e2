"""A real browser, spoken to in the DevTools protocol (https://chromedevtools.github.io/devtools-protocol)."""

import base64
import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from websockets.sync.client import connect

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PATIENCE = 60.0  # seconds
# WCAG 2.2's contrast of what `ink` gives of an element with the nearest background that can be seen.
CONTRAST = """
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const ground = at => {
    for (; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const luminance = colour => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const c = colour[i] / 255;
    return sum + weight * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ink = at => numbers(getComputedStyle(at)[at.closest("svg") ? "fill" : "color"]);
  const contrast = at => {
    const [low, high] = [luminance(ink(at)), luminance(ground(at))].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
"""
_LISTENING = re.compile(r"DevTools listening on ws://([\d.:]+)/")


class Tab:
    """One page. problems: errors of scripts, and whatever else the console has to complain of."""

    def __init__(self, socket):
        self._socket, self._asked = socket, 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters) -> dict:
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv(timeout=PATIENCE))
            if told.get("id") == self._asked:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _note(self, told: dict) -> None:
        match told:
            case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                self.problems.append(details.get("exception", details).get("description", details["text"]))
            case {"method": "Log.entryAdded", "params": {"entry": {"level": "error", "text": text}}}:
                self.problems.append(text)

    def look(self, width: int, height: int, dark: bool) -> None:
        """As a phone or a desk has it."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, script: str):
        """Of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(f"Boolean({condition})"):
            assert time.monotonic() < end, f"it has not come about: {condition}; {self.problems}"
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, modifiers: int = 0) -> None:
        """modifiers: 1 Alt, 2 Ctrl, 8 Shift."""
        of = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        of |= {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **of)
        self.call("Input.dispatchKeyEvent", type="keyUp", **of)

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def tab(program: str, folder: Path):
    """An empty page of a browser that knows nothing and has no windows."""
    options = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
    )
    command = [program, *options, "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    with TemporaryDirectory(ignore_cleanup_errors=True) as left, (folder / "told.txt").open("w+") as told:
        environment = os.environ | {"TMPDIR": left}  # where it leaves its socket; a socket's path must be short
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told, env=environment)
        try:
            place = _place(folder / "told.txt")
            [page] = [each for each in httpx.get(f"http://{place}/json/list").json() if each["type"] == "page"]
            with connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                yield Tab(socket)
        finally:
            process.terminate()
            process.wait()


def _place(told: Path) -> str:
    end = time.monotonic() + PATIENCE
    while not (found := _LISTENING.search(told.read_text())):
        assert time.monotonic() < end, told.read_text()
        time.sleep(0.05)
    return found[1]
