"""A shop: `penchant up` in an empty folder, used only through the commands and HTTP."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.stack.folder import free_ports, remove
from tests.running import DEADLINE, until, without_settings

PENCHANT = Path(sys.executable).with_name("penchant")


@dataclass
class Shop:
    """One folder with a whole deployment."""

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
        until(self._answers, "the gateway answers")

    def stop(self) -> int:
        """Stop everything; the exit code."""
        assert self.up is not None
        self.up.send_signal(signal.SIGTERM)
        return self.up.wait(DEADLINE)

    def penchant(self, *words: str | Path, stdin: str = "", succeeds: bool = True) -> str:
        """Run a command to its end; what it prints."""
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
        """The `data` of a query that must succeed."""
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


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop that is not started yet; stopped and removed after the test."""
    opened = Shop(tmp_path, free_ports(1)[0], environment=without_settings())
    try:
        yield opened
    finally:
        if opened.up is not None and opened.up.poll() is None:
            opened.stop()
        remove(tmp_path / ".penchant")
