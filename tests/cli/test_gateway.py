"""`penchant gateway` as a process: it serves, stops on SIGTERM, and says why when it cannot start."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from core.settings import Stores
from db.postgres import Pool
from tests.commands import PROGRAM
from tests.running import DEADLINE, environment, reserved_port, until


@contextmanager
def started(settings: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*PROGRAM, "gateway", *arguments], env=settings, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answer_of(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url)
    except httpx.TransportError:
        return None


def test_it_serves_until_sigterm(stores: Stores, pool: Pool) -> None:
    with reserved_port() as port, started(environment(stores), "--port", str(port)) as process:
        answer = until(lambda: answer_of(f"http://127.0.0.1:{port}/healthz"), "the gateway answers")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert "server" not in answer.headers
        assert httpx.post(f"http://127.0.0.1:{port}/graphql", json={"query": "{ me { id } }"}).status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) in (0, -signal.SIGTERM)


def test_without_postgres_it_ends_with_the_reason(stores: Stores) -> None:
    away = environment(stores) | {"PENCHANT_POSTGRES_URL": "postgresql://penchant@127.0.0.1:1/penchant"}
    with reserved_port() as port, started(away, "--port", str(port)) as process:
        _, output = process.communicate(timeout=DEADLINE)
    assert process.returncode == 3
    assert b"Postgres did not answer" in output


def test_a_missing_secret_is_named_and_never_invented(stores: Stores) -> None:
    settings = environment(stores)
    del settings["PENCHANT_SECRET"]
    with started(settings) as process:
        _, output = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert b"PENCHANT_SECRET" in output


def test_all_processes_answer_on_the_port_of_the_probes(stores: Stores, pool: Pool) -> None:
    with reserved_port() as port, reserved_port() as probe_port:
        settings = environment(stores) | {"PENCHANT_PROBE_PORT": str(probe_port)}
        with started(settings, "--port", str(port), "--processes", "2") as process:
            probes = f"http://127.0.0.1:{probe_port}"
            until(lambda: answer_of(f"{probes}/readyz"), "the gateway answers")
            assert [httpx.get(f"{probes}{path}").status_code for path in ("/readyz", "/metrics", "/graphql")] == [
                200,
                200,
                404,
            ]
            main = f"http://127.0.0.1:{port}"
            assert [httpx.get(f"{main}{path}").status_code for path in ("/healthz", "/readyz", "/metrics")] == [
                200,
                404,
                404,
            ]
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
