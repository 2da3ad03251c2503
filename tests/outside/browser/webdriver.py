"""A real Chromium, driven by chromedriver's plain HTTP: W3C WebDriver, and its DevTools door."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Callable

from tests.e2e.harness import wait_for
from tests.run import processes_of

ANSWER_S = 60.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which the protocol names an element (W3C WebDriver, section 12)."""
STARTED = re.compile(rb"started successfully on port (\d+)")
GONE = ("no such element", "stale element", "not interactable")
"""Of what a page has put away between two looks."""
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": " ", "Shift": "\ue008"}
SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # root has no other way
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
    "--password-store=basic",
    "--hide-scrollbars",
    "--lang=en-GB",
)


class DriverError(AssertionError):
    """What chromedriver answered instead of a value."""


class Chromedriver:
    """The driver's process; everything it starts lives in a directory of its own."""

    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="browser-")
        home = os.path.join(self.directory, "home")
        os.mkdir(home)
        self._log = os.path.join(self.directory, "chromedriver.log")
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                ["chromedriver", "--port=0"],
                env={**os.environ, "TMPDIR": self.directory, "HOME": home},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.port = int(wait_for(self._started, "chromedriver's port").group(1))

    def _started(self) -> re.Match[bytes] | None:
        return STARTED.search(Path(self._log).read_bytes())

    def stop(self) -> None:
        """End it, and whatever it has started."""
        self._process.terminate()
        self._process.wait()
        for _ in range(100):
            left = processes_of(Path(self.directory))
            if not left:
                break
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


class Browser:
    """One session: one window with nothing remembered."""

    def __init__(self, driver: Chromedriver, width: int = 1000, height: int = 900) -> None:
        self._port = driver.port
        self._session = ""
        self._asked: list[str] = []
        profile = tempfile.mkdtemp(prefix="profile-", dir=driver.directory)
        options = {
            "args": [*SWITCHES, f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        }
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = self._send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = "/session/" + made["sessionId"]

    def quit(self) -> None:
        """Close the window; the browser ends with it."""
        self._send("DELETE", self._session)

    # --- the protocol ---------------------------------------------------------------------------

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            payload = json.dumps(body) if body is not None else None
            connection.request(method, path, payload, {"content-type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        if answer.status != 200:
            raise DriverError(f"{method} {path}: {value['error']}: {value['message'][:500]}")
        return value

    def _post(self, path: str, **body: Any) -> Any:
        return self._send("POST", self._session + path, body)

    def cdp(self, command: str, **parameters: Any) -> Any:
        """One command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", cmd=command, params=parameters)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last look: `browser` (the console) or `performance`."""
        return list(self._post("/se/log", type=kind))

    def requests(self) -> list[str]:
        """The URL of everything that was asked for in this session, but for the browser's own
        page of a new tab."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        self._asked += [
            str(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            and not message["params"]["documentURL"].startswith("chrome:")
        ]
        return self._asked

    # --- going and looking ----------------------------------------------------------------------

    def open(self, url: str) -> None:
        self._post("/url", url=url)

    def reload(self) -> None:
        self._post("/refresh")

    @property
    def url(self) -> str:
        return str(self._send("GET", self._session + "/url"))

    @property
    def title(self) -> str:
        return str(self._send("GET", self._session + "/title"))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function of this body returns, in the page."""
        return self._post("/execute/sync", script=script, args=list(arguments))

    def evaluate(self, expression: str) -> Any:
        """An expression's value, awaited; not subject to the page's own policy."""
        done = self.cdp(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in done:
            raise DriverError(str(done["exceptionDetails"])[:2000])
        return done["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """The text one sees there, on one line; "" for nothing that is shown."""
        script = (
            "const one = document.querySelector(arguments[0]);"
            "return one && one.checkVisibility() ? one.innerText : ''"
        )
        return " ".join(str(self.run(script, selector)).split())

    def sees(self, words: str, selector: str = "body") -> None:
        """Wait until these words can be seen there."""
        self.until(lambda: words in self.text(selector), f"{words!r} in {selector}")

    def until(self, what: Callable[[], Any], why: str) -> Any:
        """Wait for a true value; a failure shows what is on the page."""
        try:
            return wait_for(what, why)
        except AssertionError as error:
            raise AssertionError(f"{error}; the page: {self.text()!r}") from None

    # --- hands ----------------------------------------------------------------------------------

    def click(self, selector: str) -> None:
        """Click in the middle of it, as soon as it can be clicked."""
        path = f"/element/{self._find('css selector', selector)}/click"
        self._post(path)

    def button(self, name: str) -> None:
        """Click the enabled button of that name, waited for."""
        xpath = f"//button[normalize-space()='{name}' and not(@disabled)]"
        self.until(lambda: self._clicked(xpath), f"the button {name!r}")

    def _clicked(self, xpath: str) -> bool:
        """Whether it is there, and was; what has just gone again may come back."""
        if not self._displayed(xpath):
            return False
        try:
            self._post(f"/element/{self._find('xpath', xpath)}/click")
        except DriverError as error:
            if not any(words in str(error) for words in GONE):
                raise
            return False
        return True

    def _displayed(self, xpath: str) -> bool:
        found = self._post("/elements", using="xpath", value=xpath)
        path = f"{self._session}/element/"
        return any(self._send("GET", f"{path}{one[ELEMENT]}/displayed") for one in found)

    def _find(self, using: str, value: str) -> str:
        return str(self._post("/element", using=using, value=value)[ELEMENT])

    def type(self, selector: str, text: str) -> None:
        self._post(f"/element/{self._find('css selector', selector)}/value", text=text)

    def press(self, *names: str) -> None:
        """Press keys one after the other: `Tab`, `Enter`, `Space`, or letters to type."""
        actions = []
        for name in names:
            for key in [KEYS[name]] if name in KEYS else name:
                actions += [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._post("/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def focused(self) -> str:
        """The id of what has the focus, or else its text."""
        return str(
            self.run("const e = document.activeElement; return e.id || e.innerText || e.tagName")
        )

    # --- what the window is like ----------------------------------------------------------------

    def media(self, **features: str) -> None:
        """Emulate media features, such as prefers_color_scheme="dark"."""
        pairs = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.cdp("Emulation.setEmulatedMedia", features=pairs)

    def screen(self, width: int, height: int, scale: float = 1, mobile: bool = False) -> None:
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=mobile,
        )  # fmt: skip

    def screenshot(self, path: str, whole: bool = True) -> None:
        """A PNG of the page: the whole of it, or what the window shows."""
        taken = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(base64.b64decode(taken["data"]))
