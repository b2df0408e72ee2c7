"""The beat that sends the periodic task, as real processes."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from aio_pika.abc import AbstractChannel

from bus.rabbitmq import topology
from tests.faults import eventually
from tests.fixtures.worker import BEAT, OFTEN, StartWorker


async def test_of_two_beats_one_sends_and_the_other_takes_over_when_it_stops(
    channel: AbstractChannel, start_worker: StartWorker, worker_log: Path
) -> None:
    await (await channel.get_queue(topology.PERIODIC.name)).purge()

    def logged(event: str, times: int) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return worker_log.read_text().count(event) == times  # noqa: ASYNC240 -- small and local

        return holds

    async def sent() -> bool:
        queue = await channel.declare_queue(topology.PERIODIC.name, passive=True)
        return (queue.declaration_result.message_count or 0) > 0

    leader = start_worker(OFTEN, command=BEAT)
    await eventually(logged("beat_leads", 1), within=60)
    await eventually(sent)
    start_worker(OFTEN, command=BEAT)
    await eventually(logged("beat_stands_by", 1), within=60)
    assert await logged("beat_leads", 1)()
    leader.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(leader.wait, 30) == 0
    await eventually(logged("beat_leads", 2), within=60)
