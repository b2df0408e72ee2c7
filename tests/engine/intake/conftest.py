"""An open intake on the test's own stores."""

from collections.abc import AsyncIterator

import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus.rabbitmq.publisher import RabbitPublisher
from core.settings import Ingest as IngestSettings
from db.postgres import Pool
from engine.intake.ingest import EventIntake


@pytest.fixture
async def ingest(
    broker: RabbitPublisher, pool: Pool, redis: Redis, channel: AbstractChannel
) -> AsyncIterator[EventIntake]:
    opened = EventIntake(IngestSettings(), pool, redis, broker)
    opened.open()
    yield opened
    await opened.close()
