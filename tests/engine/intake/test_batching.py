"""Batches: whoever waits is told, even when the process stops."""

import asyncio

import pytest

from core import clock
from core.contract import read_event
from core.settings import Ingest
from engine.intake import batching
from engine.intake.batching import Batcher, Chunk


async def test_a_stop_tells_everybody_who_still_waits_to_send_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PATIENCE", 0.05)

    async def never(chunks: list[Chunk]) -> bool:
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


async def test_a_batch_is_bounded_in_bytes_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[bytes]] = []

    async def note(chunks: list[Chunk]) -> bool:
        sent.append([chunk.text for chunk in chunks])
        return True

    batcher = Batcher(Ingest(linger=0.05), note)
    batcher.open()
    heavy = b"x" * (batching.LARGEST // 2)
    event = read_event({"type": "VIEW", "userId": "u", "itemId": "i"}, source="shop", received_at=clock.now())
    assert await asyncio.gather(*(batcher.add([event], [], heavy) for _ in range(5))) == [True] * 5
    assert [len(texts) for texts in sent] == [2, 2, 1]
    monkeypatch.setattr(batching, "HEAVIEST", len(heavy))
    assert batcher.has_room(1, len(heavy)) and not batcher.has_room(1, len(heavy) + 1)
    await batcher.close()
