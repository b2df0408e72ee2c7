"""`penchant gateway` as a process: it serves, stops when told to, and says so when it cannot start."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import httpx

from core.settings import Stores
from tests.running import environment, reserved_port

DEADLINE = 60.0  # seconds


@contextmanager
def started(settings: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", "from cli.main import app; app()", "gateway", *arguments]
    process = subprocess.Popen(command, env=settings, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def await_answer(url: str) -> httpx.Response:
    until = time.monotonic() + DEADLINE
    while True:
        try:
            return httpx.get(url)
        except httpx.TransportError:
            assert time.monotonic() < until, "the gateway never answered"
            time.sleep(0.05)


def test_it_serves_until_it_is_told_to_stop(stores: Stores, pool: asyncpg.Pool) -> None:
    with reserved_port() as port, started(environment(stores), "--port", str(port)) as process:
        answer = await_answer(f"http://127.0.0.1:{port}/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert "server" not in answer.headers
        assert httpx.post(f"http://127.0.0.1:{port}/graphql", json={"query": "{ me { id } }"}).status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) in (0, -signal.SIGTERM)


def test_without_postgres_it_ends_and_says_why(stores: Stores) -> None:
    away = environment(stores) | {"PENCHANT_POSTGRES_URL": "postgresql://penchant@127.0.0.1:1/penchant"}
    with reserved_port() as port, started(away, "--port", str(port)) as process:
        _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3
    assert b"Postgres did not answer" in said


def test_a_secret_that_is_missing_is_named_and_never_guessed(stores: Stores) -> None:
    settings = environment(stores)
    del settings["PENCHANT_SECRET"]
    with started(settings) as process:
        _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert b"PENCHANT_SECRET" in said
