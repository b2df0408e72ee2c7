"""A shop of its own: `penchant up` in an empty folder, used through the commands and HTTP only."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.stack.folder import free_ports, remove

PENCHANT = Path(sys.executable).with_name("penchant")
PATIENCE = 90.0  # seconds until something that must happen has happened


def eventually(happened: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true thing `happened` returns before the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := happened()):
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not true: {what}"
        pause.wait(0.05)
    return found


@dataclass
class Shop:
    """One folder with a whole Penchant in it."""

    folder: Path
    port: int
    up: subprocess.Popen[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start everything and wait until the gateway answers."""
        with (self.folder / "up.log").open("a") as log:
            self.up = subprocess.Popen(
                [PENCHANT, "up", "--port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
            )
        eventually(self._answers, "the gateway answers")

    def stop(self) -> int:
        """Stop everything; the exit code."""
        assert self.up is not None
        self.up.send_signal(signal.SIGTERM)
        return self.up.wait(60)

    def penchant(self, *words: str | Path, stdin: str = "", succeeds: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            [PENCHANT, *words],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode == 0) is succeeds, done.stdout + done.stderr
        return done.stdout

    def ask(self, token: str, query: str, **variables: Any) -> dict[str, Any]:
        """The data of a query that must not fail."""
        answer = httpx.post(
            f"{self.url}/graphql",
            json={"query": query, "variables": variables},
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        body = answer.json()
        assert answer.status_code == 200, body
        assert "errors" not in body, json.dumps(body, indent=1)
        data: dict[str, Any] = body["data"]
        return data

    def _answers(self) -> bool:
        assert self.up is not None
        assert self.up.poll() is None, (self.folder / "up.log").read_text()
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Any]:
    """Waits for a condition with a deadline."""
    return eventually


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop that nobody has started yet; whatever runs in it afterwards is stopped and removed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PENCHANT_")}
    opened = Shop(tmp_path, free_ports(1)[0], environment=environment)
    try:
        yield opened
    finally:
        if opened.up is not None and opened.up.poll() is None:
            opened.stop()
        remove(tmp_path / ".penchant")
