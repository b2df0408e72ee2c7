"""Publishing: confirmed or said not to be, under the same id, on the caller's own loop."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aio_pika.abc import AbstractChannel

from bus import topology
from bus.publisher import Broker, events_body, publish_events
from core.contract import Event, read_event
from core.errors import StoreUnavailable
from tests.faults import Relay

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", **fields}
    return read_event(raw, source="shop", received_at=NOW)


async def next_message(channel: AbstractChannel) -> Any:
    return await (await channel.get_queue(topology.EVENTS.name)).get(no_ack=True, fail=False)


async def test_a_message_is_what_celery_expects(broker_url: str, channel: AbstractChannel) -> None:
    broker, task_id, events = Broker(broker_url, 5), uuid4(), [make_event(), make_event(query="🛒")]
    await publish_events(broker, task_id, events_body(events))
    await broker.close()
    message = await next_message(channel)
    arguments, keywords, _ = json.loads(message.body)
    assert message.headers["task"] == topology.STORE_EVENTS and message.headers["id"] == str(task_id)
    assert message.correlation_id == str(task_id) and message.delivery_mode == 2 and keywords == {}
    assert [Event.model_validate(event) for event in json.loads(arguments[0])] == events


async def test_queues_are_declared_by_whoever_comes_first_and_again_without_harm(
    broker_url: str, channel: AbstractChannel
) -> None:
    await (await channel.get_queue(topology.EVENTS.name)).delete(if_unused=False, if_empty=False)
    broker = Broker(broker_url, 5)
    await publish_events(broker, uuid4(), events_body([make_event()]))
    await broker.close()
    topology.declare(broker_url)
    assert await next_message(channel) is not None


async def test_a_broker_that_is_away_is_said_to_be_at_once() -> None:
    broker = Broker("amqp://guest:guest@127.0.0.1:1/none", 5)
    begun = asyncio.get_running_loop().time()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await publish_events(broker, uuid4(), b"[]")
    assert asyncio.get_running_loop().time() - begun < 1


async def test_a_broker_that_does_not_answer_is_given_up_in_time(broker_url: str) -> None:
    relay = Relay(broker_url)
    broker = Broker(await relay.open(mute=True), 0.3)
    with pytest.raises(StoreUnavailable):
        await publish_events(broker, uuid4(), b"[]")
    await broker.close()
    await relay.close()


async def test_a_lost_connection_is_opened_again_by_the_next_message(broker_url: str, channel: AbstractChannel) -> None:
    relay = Relay(broker_url)
    broker = Broker(await relay.open(), 5)
    await publish_events(broker, uuid4(), events_body([make_event()]))
    await relay.close()
    await relay.open()
    await asyncio.gather(*(publish_events(broker, uuid4(), events_body([make_event()])) for _ in range(8)))
    await broker.close()
    await relay.close()
    for _ in range(9):
        assert await next_message(channel) is not None


def test_neither_gateway_nor_ingest_worker_loads_what_training_needs() -> None:
    program = (
        "import sys, bus.publisher\n"
        "assert 'celery' not in sys.modules\n"
        "import cli.commands.worker, workers.app, workers.consumer\n"
        "loaded = {'tensorflow', 'keras', 'numpy', 'strawberry'} & set(sys.modules)\n"
        "sys.exit(f'{loaded} loaded' if loaded else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
