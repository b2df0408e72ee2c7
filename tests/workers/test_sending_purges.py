"""Purges are sent by real processes, through failures of the receiver and the end of a worker; the log is clean."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aio_pika.abc import AbstractChannel
from standardwebhooks import Webhook as Verifier

from core import clock
from db.items import upsert_items
from db.postgres import Pool
from tests.faults import eventually
from tests.fixtures.worker import BEAT, StartWorker
from tests.webhook_receiver import HANG, KEY, OTHER_KEY, Receiver, receiving

QUICK = (
    "import bus.webhook, db.purges; from datetime import timedelta; bus.webhook.TOTAL_TIMEOUT = 0.5;"
    " db.purges.LEASE = timedelta(seconds=1)"
)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as opened:
        yield opened


async def test_a_purge_outlives_failures_and_the_end_of_its_worker(
    pool: Pool,
    channel: AbstractChannel,
    receiver: Receiver,
    start_worker: StartWorker,
    worker_log: Path,
) -> None:
    settings = {
        "PENCHANT_PURGE_URL": f"{receiver.url}/unspoken-path",
        "PENCHANT_PURGE_SECRET": OTHER_KEY,
        "PENCHANT_PURGE_SECRET_PREVIOUS": KEY,
        "PENCHANT_PURGE_DELAY": "0",
    }

    async def purges_begin() -> bool:
        return bool(await pool.fetchval("SELECT count(*) FROM purge_progress"))

    async def nothing_waits() -> bool:
        return not await pool.fetchval("SELECT count(*) FROM purges")

    def received(count: int) -> bool:
        return len(receiver.received) >= count

    start_worker(command=BEAT, **settings)
    worker = start_worker(QUICK, **settings)
    await eventually(purges_begin, within=150)
    receiver.will_answer(500, HANG)
    await upsert_items(pool, [{"id": "milk", "updated_at": clock.now()}])
    await eventually(lambda: received(3), within=150)
    await eventually(nothing_waits, within=150)
    assert len({(got.id, got.body) for got in receiver.received}) == 1
    assert set(receiver.received[0].keys) == {"many-items", "trending", "items", "item:milk"}
    for secret in (KEY, OTHER_KEY):
        Verifier(secret).verify(receiver.received[-1].body, receiver.received[-1].headers)

    before = len(receiver.received)
    receiver.will_answer(HANG)
    await upsert_items(pool, [{"id": "soap", "updated_at": clock.now()}])
    await eventually(lambda: received(before + 1), within=150)
    os.killpg(worker.pid, signal.SIGKILL)
    start_worker(QUICK, **settings)
    await eventually(lambda: received(before + 2), within=150)
    await eventually(nothing_waits, within=150)
    assert {got.id for got in receiver.received[before:]} == {receiver.received[before].id}
    log = worker_log.read_text()  # noqa: ASYNC240 -- small and local
    assert "purge_failed" in log
    assert not any(text in log for text in ("unspoken", "/purge", KEY, OTHER_KEY))
