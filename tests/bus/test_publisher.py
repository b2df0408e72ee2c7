"""Publishing to RabbitMQ: a message is confirmed, or StoreUnavailable is raised in time."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel

from bus.envelope import Kind
from bus.messages import store_events
from bus.rabbitmq import topology
from bus.rabbitmq.publisher import RabbitPublisher
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
    broker, events = RabbitPublisher(broker_url, 5), [make_event(), make_event(query="🛒")]
    envelope = store_events(events)
    await broker.publish(envelope)
    await broker.close()
    message = await next_message(channel)
    arguments, keywords, _ = json.loads(message.body)
    assert message.headers["task"] == Kind.STORE_EVENTS and message.headers["id"] == str(envelope.id)
    assert message.correlation_id == str(envelope.id) and message.delivery_mode == 2 and keywords == {}
    assert [Event.model_validate(event) for event in json.loads(arguments[0])] == events


async def test_the_first_publisher_declares_the_queues_and_declaring_again_changes_nothing(
    broker_url: str, channel: AbstractChannel
) -> None:
    await (await channel.get_queue(topology.EVENTS.name)).delete(if_unused=False, if_empty=False)
    broker = RabbitPublisher(broker_url, 5)
    await broker.publish(store_events([make_event()]))
    await broker.close()
    topology.declare(broker_url)
    assert await next_message(channel) is not None


async def test_while_the_broker_is_away_publishing_fails_at_once() -> None:
    broker = RabbitPublisher("amqp://guest:guest@127.0.0.1:1/none", 5)
    begun = asyncio.get_running_loop().time()
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await broker.publish(store_events([]))
    assert asyncio.get_running_loop().time() - begun < 5, "no call waited for its timeout"


async def test_publishing_fails_after_the_timeout_when_the_broker_does_not_answer(broker_url: str) -> None:
    relay = Relay(broker_url)
    broker = RabbitPublisher(await relay.open(mute=True), 0.3)
    with pytest.raises(StoreUnavailable):
        await broker.publish(store_events([]))
    await broker.close()
    await relay.close()


async def test_the_next_message_opens_a_lost_connection_again(broker_url: str, channel: AbstractChannel) -> None:
    relay = Relay(broker_url)
    broker = RabbitPublisher(await relay.open(), 5)
    await broker.publish(store_events([make_event()]))
    await relay.close()
    await relay.open()
    await asyncio.gather(*(broker.publish(store_events([make_event()])) for _ in range(8)))
    await broker.close()
    await relay.close()
    for _ in range(9):
        assert await next_message(channel) is not None


def test_neither_gateway_nor_ingest_worker_loads_what_training_needs() -> None:
    program = (
        "import sys, bus.rabbitmq.publisher\n"
        "assert 'celery' not in sys.modules\n"
        "import cli.commands.worker, workers.app, workers.consumer\n"
        "loaded = {'tensorflow', 'keras', 'numpy', 'strawberry'} & set(sys.modules)\n"
        "sys.exit(f'{loaded} loaded' if loaded else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
