"""Sends envelopes to RabbitMQ with publisher confirms, on the caller's own event loop."""

import asyncio
from contextlib import suppress
from typing import Final

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from yarl import URL

from bus.envelope import Envelope, Kind
from bus.publisher import QueueState
from bus.rabbitmq import topology
from bus.rabbitmq.celery_message import JSON, body_of, headers_of
from bus.rabbitmq.errors import CONNECTION_ERRORS, unavailable

log = structlog.get_logger()

HEARTBEAT: Final = 10  # seconds
RECONNECT_PAUSE: Final = 0.5  # seconds between attempts to connect; meanwhile `publish` raises at once
CLOSE_TIMEOUT: Final = 1.0  # seconds
ROUTING_KEYS: Final = {
    Kind.STORE_EVENTS: topology.EVENTS.routing_key,
    Kind.TRAIN: topology.TRAINING.routing_key,
    Kind.EXPORT_EVENTS: topology.LAKE.routing_key,
    Kind.PERIODIC: topology.PERIODIC.routing_key,
    Kind.MOVE_DEAD_LETTERS: topology.PERIODIC.routing_key,
    Kind.SEND_PURGES: topology.PURGES.routing_key,
    Kind.AS_RECEIVED: topology.EVENTS.routing_key,
}


class RabbitPublisher:
    """One connection with one confirming channel: opened when it is needed, and again after it was lost."""

    def __init__(self, url: str, confirm_timeout: float) -> None:
        self._url = url
        self._timeout = confirm_timeout
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._opening = asyncio.Lock()
        self._is_away, self._pause_ends = False, 0.0
        self._closing: asyncio.Task[None] | None = None

    async def publish(self, envelope: Envelope) -> None:
        """Return when the broker has the message on its disk. A lost connection is opened again once.

        Raises StoreUnavailable when the message was not confirmed in time. The broker may have it all the same, so
        the same envelope is sent again.
        """
        message, routing_key = message_of(envelope), ROUTING_KEYS[envelope.kind]
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    await self._publish(message, routing_key)
                except CONNECTION_EXCEPTIONS:
                    await self._publish(message, routing_key)
        except CONNECTION_ERRORS as error:
            raise unavailable("The broker did not confirm", error) from error

    def body_of(self, envelope: Envelope) -> bytes:
        """The body of the Celery message of an envelope."""
        return body_of(envelope)

    async def queues(self) -> list[QueueState]:
        """The state of each of our queues. Raises StoreUnavailable when the broker does not answer in time."""
        try:
            async with asyncio.timeout(self._timeout):
                exchange = self._exchange or await self._open()
                try:
                    return await self._queue_states()
                except BaseException:
                    self._drop(exchange)
                    raise
        except CONNECTION_ERRORS as error:
            raise unavailable("The broker did not answer", error) from error

    async def close(self) -> None:
        """Close the connection, if one is open."""
        connection = self._forget(self._exchange)
        if connection is not None:
            await _close(connection)

    async def _queue_states(self) -> list[QueueState]:
        """On a channel of its own: a queue that does not exist closes the channel that asked."""
        assert self._connection is not None
        found = []
        async with self._connection.channel(publisher_confirms=False) as channel:
            for queue in topology.QUEUES:
                declared = (await channel.declare_queue(queue.name, passive=True)).declaration_result
                found.append(QueueState(queue.name, declared.message_count or 0, declared.consumer_count or 0))
        return found

    async def _publish(self, message: aio_pika.Message, routing_key: str) -> None:
        exchange = self._exchange or await self._open()
        try:
            await exchange.publish(message, routing_key, mandatory=True)
        except BaseException:
            self._drop(exchange)
            raise

    async def _open(self) -> AbstractExchange:
        now = asyncio.get_running_loop().time()
        if self._is_away and now < self._pause_ends:
            raise unavailable("The broker did not answer a moment ago.")
        self._pause_ends = now + self._timeout + RECONNECT_PAUSE  # while one caller connects, the others do not wait
        async with self._opening:
            if self._exchange is None:
                try:
                    self._exchange = await self._connect()
                finally:
                    self._is_away = self._exchange is None
                    self._pause_ends = asyncio.get_running_loop().time() + RECONNECT_PAUSE
            return self._exchange

    async def _connect(self) -> AbstractExchange:
        self._connection = await aio_pika.connect(URL(self._url).update_query(heartbeat=HEARTBEAT))
        try:
            await asyncio.to_thread(topology.declare, self._url, self._timeout)
            channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        except BaseException:
            self._drop(None)
            raise
        log.info("broker_connected")
        return await channel.get_exchange(topology.EXCHANGE.name, ensure=False)

    def _drop(self, exchange: AbstractExchange | None) -> None:
        connection = self._forget(exchange)
        if connection is not None:
            self._closing = asyncio.create_task(_close(connection))

    def _forget(self, exchange: AbstractExchange | None) -> AbstractConnection | None:
        """Forget the connection, unless another caller has opened a new one in the meantime."""
        if exchange is not self._exchange:
            return None
        connection, self._connection, self._exchange = self._connection, None, None
        return connection


def message_of(envelope: Envelope) -> aio_pika.Message:
    """The Celery message of an envelope."""
    return aio_pika.Message(
        body_of(envelope),
        headers=headers_of(envelope),
        content_type=JSON,
        content_encoding="utf-8",
        correlation_id=str(envelope.id),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def _close(connection: AbstractConnection) -> None:
    with suppress(*CONNECTION_ERRORS):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await connection.close()
