"""A real Chromium, driven through chromedriver by the W3C WebDriver protocol: plain JSON over loopback HTTP."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, build_opener

import pytest

# The proxy variables of the environment are not for loopback.
OPENER = build_opener()
OPENER.handlers = [handler for handler in OPENER.handlers if type(handler).__name__ != "ProxyHandler"]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip
INSTALL = "apt-get install --no-install-recommends chromium chromium-driver"


class Browser:
    """One open page."""

    def __init__(self, session_url: str) -> None:
        self._url = session_url

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self._url}/{path}".rstrip("/"), data, {"Content-Type": "application/json"}, method=method)
        with OPENER.open(request, timeout=240) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path) -> None:
        self.call("POST", "url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """The value of a script such as `return document.title`."""
        return self.call("POST", "execute/sync", {"script": script, "args": []})

    def log(self) -> list[dict[str, Any]]:
        """What went to the console since the last call: warnings and errors of scripts, policies and requests."""
        found: list[dict[str, Any]] = self.call("POST", "se/log", {"type": "browser"})
        return found

    def requests(self) -> list[str]:
        """Addresses of every request made by the page since the last call, as the network stack saw them."""
        entries = self.call("POST", "se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
        return [message["params"]["request"]["url"] for message in sent]

    def go(self, address: str) -> None:
        """Open a page by its address."""
        self.call("POST", "url", {"url": address})

    def press(self, *keys: str) -> None:
        """Keys one after the other, as a person presses them; named keys by their WebDriver code (Enter: "\ue007")."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def drag(self, kind: str, *ways: list[tuple[float, float]]) -> None:
        """Pointers ("mouse" or "touch"), all at once: down at the first place of a way, along it, up at its end."""
        pointers = []
        for number, way in enumerate(ways):
            moves = [
                {"type": "pointerMove", "duration": 0 if k == 0 else 60, "x": round(x), "y": round(y)}
                for k, (x, y) in enumerate(way)
            ]
            steps = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
            of = {"type": "pointer", "id": f"{kind} {number}", "parameters": {"pointerType": kind}}
            pointers.append({**of, "actions": steps})
        self.call("POST", "actions", {"actions": pointers})

    def wait(self, condition: str, limit_s: float = 240.0) -> None:
        """Until an expression of the page is true."""
        end = time.monotonic() + limit_s
        while not self.run(f"return Boolean({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition}: still false after {limit_s:g} s; log: {self.log()[-3:]}")
            time.sleep(0.02)

    def resize(self, width: int, height: int) -> None:
        self.call("POST", "window/rect", {"width": width, "height": height})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "screenshot")))


def chromium_or_skip() -> tuple[str, str]:
    """Paths of browser and driver; without them the test skips, or fails under GEOCORRECT_REQUIRE_BROWSER=1."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    message = f"Chromium and chromedriver are not installed: {INSTALL}"
    if os.environ.get("GEOCORRECT_REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def open_browser(folder: Path) -> Iterator[Browser]:
    """A fresh profile in `folder`; ends with its driver."""
    binary, driver = chromium_or_skip()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield from _session(f"http://127.0.0.1:{port}", binary, folder)
    finally:
        process.terminate()
        process.wait(10)


def _session(address: str, binary: str, folder: Path) -> Iterator[Browser]:
    options = {"binary": binary, "args": [*FLAGS, f"--user-data-dir={folder / 'profile'}"]}
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
    driver = Browser(address)
    _wait_for(driver)
    session = driver.call("POST", "session", {"capabilities": {"alwaysMatch": wanted}})
    browser = Browser(f"{address}/session/{session['sessionId']}")
    try:
        yield browser
    finally:
        browser.call("DELETE", "")


def _wait_for(driver: Browser, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while True:
        try:
            if driver.call("GET", "status")["ready"]:
                return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)
