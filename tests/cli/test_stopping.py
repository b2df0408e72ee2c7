"""Gateway and worker that are stopped under load finish what has begun: no request is cut off, no event is lost."""

import asyncio
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus.messages import store_events
from bus.rabbitmq import topology
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.contract import read_event
from core.settings import Stores
from db.postgres import Pool
from tests.faults import Relay, eventually
from tests.running import DEADLINE, Running, register_client, running_gateway, running_worker, until

CLIENTS = 8
GRACE = 30.0  # seconds


@dataclass
class Sender:
    """Sends events as fast as it can over a kept connection, until the port is closed."""

    url: str
    token: str
    name: str
    acknowledged: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    requests: int = 0

    def run(self) -> None:
        """Send until the connection is refused."""
        headers = {"authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=GRACE) as client:
            while True:
                try:
                    self.send(client)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    return

    def send(self, client: httpx.Client) -> None:
        event = {"type": "VIEW", "userId": self.name, "itemId": "i1"}
        answer = client.post("/events", json=[event] * 3)
        self.requests += 1
        if answer.status_code != 200:
            self.failures.append(answer.text)
            return
        self.acknowledged |= {result["id"] for result in answer.json()["results"] if result["outcome"] == "ACCEPTED"}


def sent_until_stopped(gateway: Running) -> list[Sender]:
    """The senders, after the gateway was stopped while they sent."""
    token = gateway.token()
    senders = [Sender(gateway.url, token, f"u{number}") for number in range(CLIENTS)]
    threads = [threading.Thread(target=sender.run) for sender in senders]
    for thread in threads:
        thread.start()
    until(lambda: all(sender.requests >= 5 for sender in senders), "every sender sends")
    began = time.monotonic()
    assert gateway.stop() in (0, -signal.SIGTERM)
    assert time.monotonic() - began < GRACE
    for thread in threads:
        thread.join(DEADLINE)
    return senders


@pytest.mark.parametrize("processes", ["1", "2"])
async def test_a_gateway_that_is_stopped_under_load_answers_every_request_and_loses_no_event(
    stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel, tmp_path: Path, processes: str
) -> None:
    await register_client(pool)
    with running_gateway(stores, tmp_path / "gateway.log", "--processes", processes) as gateway:
        senders = sent_until_stopped(gateway)
    assert [failure for sender in senders for failure in sender.failures] == []
    acknowledged = set().union(*(sender.acknowledged for sender in senders))
    assert len(acknowledged) == 3 * sum(sender.requests for sender in senders)

    async def all_stored() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM events") == len(acknowledged))

    with running_worker(stores, tmp_path / "worker.log"):
        await eventually(all_stored, DEADLINE)
    stored = [row["id"] for row in await pool.fetch("SELECT id FROM events")]
    assert set(stored) == acknowledged


def test_a_request_that_arrives_on_a_kept_connection_during_the_stop_is_answered_as_the_last_one(
    stores: Stores, pool: Pool, tmp_path: Path
) -> None:
    with running_gateway(stores, tmp_path / "gateway.log") as gateway:
        address = ("127.0.0.1", int(gateway.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=GRACE) as kept:
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n")
            first = kept.recv(4096)
            while not first.endswith(b"}"):
                first += kept.recv(4096)
            assert first.startswith(b"HTTP/1.1 200")
            gateway.process.send_signal(signal.SIGTERM)
            until(lambda: refused(address), "new connections are refused")
            kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n")
            last = b"".join(iter(partial(kept.recv, 4096), b"")).lower()  # until the gateway closes
            assert last.startswith(b"http/1.1 200")
            assert b"connection: close" in last


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=GRACE).close()
    except ConnectionRefusedError:
        return True
    return False


async def test_a_request_that_waits_for_the_broker_is_answered_while_the_gateway_stops(
    stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel, tmp_path: Path
) -> None:
    await register_client(pool)
    relay = Relay(stores.broker_url.get_secret_value())
    silent = await relay.open(mute=True)
    with running_gateway(stores, tmp_path / "gateway.log", PENCHANT_BROKER_URL=silent) as gateway:
        token = gateway.token()
        async with httpx.AsyncClient(base_url=gateway.url, timeout=GRACE) as client:
            event = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
            sending = client.post("/events", json=[event], headers={"authorization": f"Bearer {token}"})
            answered = asyncio.create_task(sending)
            done, _ = await asyncio.wait({answered}, timeout=0.5)
            assert not done, "the broker has two seconds to answer"
            gateway.process.send_signal(signal.SIGTERM)
            answer = await answered
        assert answer.json()["accepted"] == 1
        assert await asyncio.to_thread(gateway.process.wait, GRACE) in (0, -signal.SIGTERM)
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 1
    await relay.close()


async def test_a_worker_that_is_stopped_under_load_finishes_its_batches_and_the_next_worker_stores_the_rest(
    stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel, tmp_path: Path
) -> None:
    acknowledged = await published(stores, batches=400)

    async def stored() -> int:
        return int(await pool.fetchval("SELECT count(*) FROM events"))

    async def some_stored() -> bool:
        return await stored() > 0

    async def all_stored() -> bool:
        return await stored() == acknowledged

    with running_worker(stores, tmp_path / "worker.log") as worker:
        await eventually(some_stored, DEADLINE)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, GRACE) == 0
    assert await stored() < acknowledged, "it was stopped before everything was stored"
    with running_worker(stores, tmp_path / "worker.log"):
        await eventually(all_stored, DEADLINE)
    dead_letters = await channel.declare_queue(topology.DEAD_LETTERS.name, passive=True)
    assert dead_letters.declaration_result.message_count == 0
    assert await pool.fetchval("SELECT count(*) FROM dead_events") == 0


async def test_a_worker_whose_postgres_hangs_stops_in_time_and_its_batch_stays_in_the_queue(
    stores: Stores, pool: Pool, redis: Redis, channel: AbstractChannel, tmp_path: Path
) -> None:
    relay = Relay(stores.postgres_url.get_secret_value())
    silent, log = await relay.open(mute=True), tmp_path / "worker.log"
    acknowledged = await published(stores, batches=3)
    with running_worker(stores, log, PENCHANT_POSTGRES_URL=silent) as worker:
        await asyncio.to_thread(until, lambda: "store a batch" in log.read_text(), "a task waits for Postgres")
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, GRACE) == 0
    await relay.close()

    async def all_stored() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM events") == acknowledged)

    with running_worker(stores, log):
        await eventually(all_stored, DEADLINE)


async def published(stores: Stores, batches: int) -> int:
    """Publish batches of twenty events; how many events they hold."""
    broker = RabbitPublisher(stores.broker_url.get_secret_value(), 5)
    raw: dict[str, Any] = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
    for _ in range(batches):
        events = [read_event(raw, source="shop", received_at=clock.now()) for _ in range(20)]
        await broker.publish(store_events(events))
    await broker.close()
    return batches * 20
