"""`penchant gateway --processes`: one port, equal answers, shared memory, and restarts of processes that end."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from cli.services.forked_processes import ForkedProcesses, Ready
from core.settings import Stores
from db.postgres import Pool
from tests.commands import PROGRAM
from tests.running import DEADLINE, Running, environment, register_client, reserved_port, running_gateway, until

ITEMS = 68_509  # as many as the demo's shop has
GROWTH = 120.0  # megabytes of its own that a process may use
QUERY = """query($id: ID!) { user(id: $id) { known recommendations(first: 20) {
    modelVersion degraded edges { rank score reason { code } node { id title categories } } } } }"""

MANY_ITEMS = """
INSERT INTO items (id, title, categories, brand, attributes, offers, updated_at)
SELECT n::text, 'Item number ' || n || ' of a shop', ARRAY['Department ' || n % 20, 'Category ' || n % 300],
       'Brand ' || n % 900, jsonb_build_object('size', (n % 50) || ' oz', 'maker', n % 6000),
       '[{"market": null, "price": "2.49", "listPrice": null, "currency": "USD", "available": true}]', now()
FROM generate_series(1, $1::int) AS n
"""


@pytest.fixture
async def shop(pool: Pool) -> None:
    """A catalogue of the demo's size, and a client that may ask about it."""
    await pool.execute(MANY_ITEMS, ITEMS, timeout=60)
    await register_client(pool)


def children(running: Running) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()]


def logged(running: Running, event: str) -> list[dict[str, Any]]:
    lines = [line for line in running.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line["event"] == event]


def megabytes(pid: int, *kinds: str) -> float:
    sizes = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
    return sum(int(size[1]) for size in sizes if size[0].rstrip(":") in kinds) / 1024


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """The process is paused: another one that listens on its port answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def lists(running: Running, token: str, people: list[str]) -> list[Any]:
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=running.url, headers=headers, timeout=30) as client:
        answers = [client.post("/graphql", json={"query": QUERY, "variables": {"id": id}}).json() for id in people]
    assert not any("errors" in answer for answer in answers), answers[0]
    return answers


def test_processes_share_port_and_memory_and_give_equal_answers(shop: None, stores: Stores, tmp_path: Path) -> None:
    with running_gateway(stores, tmp_path / "gateway.log", "--processes", "3") as gateway:
        until(lambda: len(logged(gateway, "gateway_ready")) == 3, "all three are ready")
        token, people = gateway.token(), [f"stranger{number}" for number in range(5)]
        pids = children(gateway)
        assert len(pids) == 3
        answers = []
        for pid in pids:
            others = [other for other in pids if other != pid]
            with paused(others[0]), paused(others[1]):
                answers.append(lists(gateway, token, people))
        assert answers[0] == answers[1] == answers[2]
        assert len(answers[0][0]["data"]["user"]["recommendations"]["edges"]) == 20
        grown = [megabytes(pid, "Private_Clean", "Private_Dirty") for pid in pids]
        assert max(grown) < GROWTH
        assert gateway.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_killed_process_is_replaced_while_the_others_answer(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    with running_gateway(stores, tmp_path / "gateway.log", "--processes", "2") as gateway:
        until(lambda: len(logged(gateway, "gateway_ready")) == 2, "both are ready")
        killed, kept = children(gateway)
        os.kill(killed, signal.SIGKILL)
        for _ in range(20):
            assert httpx.get(f"{gateway.url}/healthz").status_code == 200
        until(lambda: len(logged(gateway, "gateway_ready")) == 3, "another process has replaced it")
        assert kept in children(gateway)
        assert killed not in children(gateway)
        (line,) = logged(gateway, "process_ended")
        assert (line["ended_pid"], line["exit_code"], line["level"]) == (killed, -signal.SIGKILL, "error")
        with paused(kept):
            assert httpx.get(f"{gateway.url}/healthz").status_code == 200


def test_when_the_supervisor_is_killed_every_process_ends(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    with running_gateway(stores, tmp_path / "gateway.log", "--processes", "2") as gateway:
        pids = children(gateway)
        gateway.process.kill()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the processes have ended")


def test_when_no_process_can_start_the_gateway_ends_with_the_reason(stores: Stores, tmp_path: Path) -> None:
    away = {"PENCHANT_POSTGRES_URL": "postgresql://penchant@127.0.0.1:1/penchant"}
    with reserved_port() as port:
        ended = run_gateway({**environment(stores), **away}, "--port", str(port), "--processes", "2")
    assert ended.returncode == 3
    assert b"Postgres did not answer" in ended.stderr


def test_a_port_that_is_taken_is_named(stores: Stores, pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_gateway(environment(stores), "--port", port, "--processes", "2")
    assert ended.returncode == 3
    assert f"127.0.0.1:{port}".encode() in ended.stderr


def run_gateway(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, "gateway", *arguments], env=settings, capture_output=True, timeout=DEADLINE, check=False
    )


def end_at_once(*, ready: Ready) -> None:
    ready()


def test_a_process_that_keeps_ending_is_restarted_later_each_time() -> None:
    processes = ForkedProcesses(1, end_at_once, before_end=lambda: None)
    with capture_logs() as logs:

        def waits() -> list[float]:
            return [line["again_in"] for line in logs if line["event"] == "process_ended"]

        def stop() -> None:
            try:
                until(lambda: len(waits()) >= 4, "the process ended four times")
            finally:
                os.kill(os.getpid(), signal.SIGTERM)

        stopper = threading.Thread(target=stop)
        stopper.start()
        assert processes.run() == 0
        stopper.join()
    assert len(waits()) >= 4
    assert waits() == [0.2 * 2**number for number in range(len(waits()))]
