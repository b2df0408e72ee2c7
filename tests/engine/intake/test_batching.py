"""Batches: they are bounded, and every waiting call gets its answer, even when the process stops."""

import asyncio

import pytest
from structlog.testing import capture_logs

from core import clock
from core.contract import read_event
from core.settings import Ingest
from engine.intake import batching
from engine.intake.batching import Batcher, PendingCall


async def test_calls_that_still_wait_when_the_process_stops_must_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "CLOSE_TIMEOUT", 0.05)

    async def never(calls: list[PendingCall]) -> bool:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        return await answer

    batcher = Batcher(Ingest(linger=0, max_batch=1, max_in_flight=1), never)
    batcher.open()
    raw = {"type": "VIEW", "userId": "u", "itemId": "i"}
    event = read_event(raw, source="shop", received_at=clock.now())
    calls = [asyncio.create_task(batcher.add([event], [], b"[{}]")) for _ in range(3)]
    await asyncio.wait(calls, timeout=0.01)
    await batcher.close()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*calls) == [False, False, False]


async def test_batches_and_pending_calls_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[bytes]] = []

    async def record(calls: list[PendingCall]) -> bool:
        sent.append([call.text for call in calls])
        return True

    batcher = Batcher(Ingest(linger=0.05), record)
    batcher.open()
    large = b"x" * (batching.MAX_BATCH_BYTES // 2)
    event = read_event({"type": "VIEW", "userId": "u", "itemId": "i"}, source="shop", received_at=clock.now())
    assert await asyncio.gather(*(batcher.add([event], [], large) for _ in range(5))) == [True] * 5
    assert [len(texts) for texts in sent] == [2, 2, 1]
    monkeypatch.setattr(batching, "MAX_PENDING_BYTES", len(large))
    assert batcher.has_room(1, len(large)) and not batcher.has_room(1, len(large) + 1)
    await batcher.close()


async def test_a_batch_whose_sending_fails_unexpectedly_must_be_sent_again() -> None:
    async def fail(calls: list[PendingCall]) -> bool:
        raise RuntimeError("a bug")

    batcher = Batcher(Ingest(linger=0), fail)
    batcher.open()
    event = read_event({"type": "VIEW", "userId": "u", "itemId": "i"}, source="shop", received_at=clock.now())
    with capture_logs() as logs:
        assert not await batcher.add([event], [], b"[{}]")
    assert [line["event"] for line in logs] == ["batch_not_sent"]
    await batcher.close()
