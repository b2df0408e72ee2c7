"""A headless Chromium that tests drive over a pipe (Chrome DevTools Protocol), without a further package."""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE = 30.0  # seconds
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Chromium:
    """One tab. `events` are what the browser reported."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._buffer = b""
        self._calls = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        (page,) = [one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._calls:
            self.events.append(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def go(self, url: str) -> None:
        """Go to an address."""
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of a script in the page; None while there is no page to run it."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, holds: Callable[[], Any], what: str) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, f"{what}: {self.evaluate('location.href + document.body.innerText')}"
            select.select([self._reading], [], [], 0.05)

    def until_shown(self, text: str) -> None:
        """Wait until the page shows this text."""
        self.until(lambda: text in (self.evaluate("document.body && document.body.innerText") or ""), text)

    def fill_in(self, **values: str) -> None:
        """Type into the fields of these names."""
        for name, value in values.items():
            self.evaluate(f"document.getElementsByName({json.dumps(name)})[0].focus()")
            self.evaluate("document.activeElement.select()")
            self.call("Input.insertText", text=value)

    def press(self, decision: str) -> None:
        """Press the button with this value."""
        self.evaluate(f"document.querySelector('button[value={decision}]').click()")

    def asked_for(self, prefix: str) -> list[str]:
        """The addresses with this prefix to which the browser was sent."""
        self.evaluate("1")
        urls = [
            event["params"].get("redirectResponse", {}).get("headers", {}).get("location")
            or event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if url.startswith(prefix)]

    def violations(self) -> list[str]:
        """What the browser refused because of a Content-Security-Policy."""
        self.evaluate("1")
        entries = [event["params"]["entry"] for event in self.events if event.get("method") == "Log.entryAdded"]
        return [entry["text"] for entry in entries if "Content Security Policy" in entry["text"]]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._reading], [], [], DEADLINE)[0], "Chromium does not answer"
            self._buffer += os.read(self._reading, 65_536)
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def chromium(folder: Path, *options: str) -> Iterator[Chromium]:
    """A Chromium for a block, with its profile in `folder`."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert program, "These tests need Chromium."
    to_browser, writing = os.pipe()
    reading, from_browser = os.pipe()
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update"]  # only loopback
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", *quiet, *options]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", *command, f"--user-data-dir={folder}"],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Chromium(reading, writing)
    finally:
        process.kill()
        process.wait(DEADLINE)
        os.close(reading)
        os.close(writing)
