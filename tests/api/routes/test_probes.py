"""A probe reads a store on demand, for all callers at once, and remembers the answer for a while."""

import asyncio

import pytest

from api.routes import probes
from api.routes.probes import Probe
from core.errors import StoreUnavailable


async def test_concurrent_callers_share_one_read() -> None:
    reads = 0

    async def read() -> int:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return reads

    probe = Probe("redis", read)
    assert await asyncio.gather(*(probe.value() for _ in range(5))) == [1] * 5
    assert await probe.value() == 1


async def test_an_old_answer_is_read_again() -> None:
    answers = iter([1, 2])

    async def read() -> int:
        return next(answers)

    probe = Probe("redis", read, max_age=0.0)
    assert [await probe.value(), await probe.value()] == [1, 2]


@pytest.mark.parametrize("error", [StoreUnavailable("redis"), ValueError("a bug")])
async def test_after_any_error_there_is_no_value(error: Exception) -> None:
    async def read() -> int:
        raise error

    assert await Probe("redis", read).value() is None


async def test_a_caller_does_not_wait_long_and_a_later_one_gets_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PROBE_TIMEOUT", 0.01)
    release = asyncio.Event()

    async def read() -> int:
        await release.wait()
        return 7

    probe = Probe("redis", read)
    assert await probe.value() is None
    release.set()
    monkeypatch.setattr(probes, "PROBE_TIMEOUT", 10.0)
    assert await probe.value() == 7


async def test_a_closed_probe_cancels_its_read() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    probe = Probe("redis", read)
    waiting = asyncio.create_task(probe.value())
    await started.wait()
    probe.close()
    async with asyncio.timeout(10):
        await cancelled.wait()
    await asyncio.wait({waiting})
