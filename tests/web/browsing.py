"""A real browser for the tests of the page, and the processes that it looks at."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.web.vendored import AXE

BOUND = 60.0
"""Seconds after which a wait counts as a hang."""
REQUIRED = "EVENT_COLLECTOR_BROWSER"
"""The environment variable with which a missing browser is a failure."""

T = TypeVar("T")


def missing() -> str | None:
    """Return what a test in a browser lacks here."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        return "needs chromium and chromedriver: apt-get install chromium chromium-driver"
    if not AXE.exists():
        return "needs axe-core: python -m tests.web.vendored --axe"
    return None


def require() -> None:
    """Skip a test if there is no browser; fail instead where one is required."""
    reason = missing()
    if reason is not None and os.environ.get(REQUIRED):
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


def until(look: Callable[[], T], what: str) -> T:
    """Return what `look` returns as soon as that is true."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {BOUND:g} s")


class Browser:
    """Chromium without a window."""

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                         "--disable-background-networking", "--hide-scrollbars",
                         f"--user-data-dir={profile}"):  # fmt: skip
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self._driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))

    def close(self) -> None:
        """End the browser."""
        self._driver.quit()

    def look_like(self, width: int, theme: str, height: int = 900) -> None:
        """Be a screen of this width, of a visitor who likes it light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, url: str) -> None:
        """Load a page."""
        self._driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self._driver.execute_script(script, *arguments)

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """Be a browser in which pages run no scripts."""
        self._driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            yield
        finally:
            self._driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    def text(self, selector: str) -> str:
        """Return the text of the first element; empty without one."""
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def click(self, selector: str, text: str = "") -> bool:
        """Click the first element with this text, as soon as there is one."""
        script = """const found = [...document.querySelectorAll(arguments[0])].find(
            (one) => document.documentElement.dataset.ready &&
            one.innerText.startsWith(arguments[1]) && one.checkVisibility() && !one.disabled);
            found?.click(); return Boolean(found)"""
        return until(lambda: self.run(script, selector, text), f"{selector} {text!r} to click")

    def blank_canvases(self) -> list[str]:
        """Return the canvases on which there are fewer than three colours."""
        return self.run("""return [...document.querySelectorAll("canvas")].filter((one) => one.checkVisibility()).filter((one) => {
            if (!one.width || !one.height) return true;
            const copy = Object.assign(document.createElement("canvas"), { width: one.width, height: one.height });
            const pen = copy.getContext("2d", { willReadFrequently: true }); // or the console gets a warning
            pen.drawImage(one, 0, 0);
            const { data } = pen.getImageData(0, 0, one.width, one.height), seen = new Set();
            for (let at = 0; at < data.length && seen.size < 3; at += 4) seen.add(data.slice(at, at + 4).join());
            return seen.size < 3;
        }).map((one) => one.id || one.closest("[data-plot]")?.dataset.plot)""")  # noqa: E501

    def is_too_wide(self) -> bool:
        """Return whether the page scrolls sideways."""
        return self.run("return document.documentElement.scrollWidth > document.documentElement.clientWidth")

    def violations(self) -> list[str]:
        """Return what axe finds, from serious on."""
        self._driver.execute_script(AXE.read_text())
        found = self._driver.execute_async_script("""const done = arguments[arguments.length - 1];
            axe.run(document, {resultTypes: ["violations"]}).then((found) => done(found.violations
            .filter((one) => ["serious", "critical"].includes(one.impact))
            .map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`)))""")
        return list(found)

    def errors(self) -> list[str]:
        """Return what the console has got since the last call."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses that were asked since the last call."""
        messages = (json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance"))
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def picture(self, path: Path) -> None:
        """Write what is seen as a PNG."""
        self._driver.save_screenshot(str(path))


class Program:
    """A watched program, which takes commands."""

    def __init__(self, socket: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.web.watched_program", str(socket)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True,
        )  # fmt: skip
        assert self._read() == "ready"

    def tell(self, command: str) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def accounting(self) -> dict[str, int]:
        """Return where the events are."""
        self.tell("accounting")
        return json.loads(self._read())

    def kill(self) -> None:
        """Kill it, and its workers with it."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """Serve the page with a command of its own; yield its address."""
    command = [sys.executable, "-m", "event_collector", "web", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[2].rstrip("/")
        finally:
            process.terminate()
            process.wait(BOUND)
