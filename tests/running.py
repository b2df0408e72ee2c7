"""Gateways and workers as real processes on the tests' stores, and a client that may ask them."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from engine.scopes import SCOPES
from tests.commands import PROGRAM, ROOT

DEADLINE = 90.0  # seconds
CLIENT, SECRET = "shop", "a-secret-of-the-client"


@dataclass(frozen=True)
class Running:
    """A gateway that answers at `url` and writes its log, as JSON lines, to `log`."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def pid(self) -> int:
        """The id of the process that was started: the supervisor, where there are several."""
        return self.process.pid

    def stop(self) -> int:
        """Send SIGTERM and wait; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def token(self, scopes: tuple[str, ...] = tuple(SCOPES)) -> str:
        """A fresh access token of the test's client, which `register_client` made."""
        form = {"grant_type": CLIENT_CREDENTIALS, "scope": " ".join(scopes)}
        answer = httpx.post(f"{self.url}/oauth/token", data=form, auth=(CLIENT, SECRET), timeout=30)
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token


async def register_client(pool: Pool) -> None:
    """Register the test's client, with every scope."""
    await create_client(pool, register(CLIENT, SECRET, grants=[CLIENT_CREDENTIALS], scope=" ".join(SCOPES)))


@contextmanager
def running_gateway(stores: Stores, log: Path, *arguments: str, **settings: str) -> Iterator[Running]:
    """`penchant gateway` with these arguments and settings, ready; killed with all its children after the block."""
    with (
        reserved_port() as port,
        running(stores, log, "gateway", "--port", str(port), *arguments, **settings) as process,
    ):
        started = Running(process, f"http://127.0.0.1:{port}", log)
        until(lambda: _ready(started), "the gateway answers")
        yield started


@contextmanager
def running_issuer(stores: Stores, log: Path, **settings: str) -> Iterator[Running]:
    """A gateway as `running_gateway` gives it, whose tokens name its own address as their issuer."""
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        settings = {"PENCHANT_PUBLIC_URL": url} | settings
        with running(stores, log, "gateway", "--port", str(port), **settings) as process:
            started = Running(process, url, log)
            until(lambda: _ready(started), "the gateway answers")
            yield started


@contextmanager
def running_worker(stores: Stores, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`penchant worker` with one process; killed after the block."""
    with running(stores, log, "worker", "--processes", "1", **settings) as process:
        yield process


@contextmanager
def running(stores: Stores, log: Path, *words: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of `penchant` on these stores, with its output in `log`; killed with its children after the block."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*PROGRAM, *words],
            cwd=log.parent,
            env={**environment(stores), **settings},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE)


def environment(stores: Stores) -> dict[str, str]:
    """The settings of a process on these stores."""
    return without_settings() | {
        "PENCHANT_POSTGRES_URL": stores.postgres_url.get_secret_value(),
        "PENCHANT_REDIS_URL": stores.redis_url.get_secret_value(),
        "PENCHANT_BROKER_URL": stores.broker_url.get_secret_value(),
        "PENCHANT_BUNDLES": str(stores.bundles),
        "PENCHANT_SECRET": "s" * 32,
        "PENCHANT_LOG_JSON": "true",
        "PYTHONPATH": str(ROOT),
    }


def without_settings() -> dict[str, str]:
    """This process's environment without any setting of Penchant."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PENCHANT_")}


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that the kernel gives to no other process meanwhile; a server that allows reuse may listen on it."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield int(reserved.getsockname()[1])


def until(holds: Callable[[], Any], what: str, seconds: float = DEADLINE) -> Any:
    """The first true value that `holds` returns before the deadline."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"after {seconds:g} s still not true: {what}"
        time.sleep(0.02)
    return found


def _ready(started: Running) -> bool:
    assert started.process.poll() is None, started.log.read_text()
    with suppress(httpx.TransportError):
        return httpx.get(f"{started.url}/readyz", timeout=5).status_code == 200
    return False
