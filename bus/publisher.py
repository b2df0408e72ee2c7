"""How work reaches the workers: one coroutine per message, published with confirms on the caller's own event loop."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import aio_pika
import orjson
import structlog
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from pamqp.common import FieldValue
from pydantic import TypeAdapter
from yarl import URL

from bus import topology
from core import telemetry
from core.contract import Event
from core.errors import StoreUnavailable

log = structlog.get_logger()

HEARTBEAT: Final = 10  # seconds
REST: Final = 0.5  # seconds between attempts to connect: meanwhile callers hear at once that the broker is away
_LOST: Final = (*CONNECTION_EXCEPTIONS, StoreUnavailable, TimeoutError)
_NOTHING_EMBEDDED: Final = b',{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
_BATCH: Final = TypeAdapter(list[Event])


class QueueState(NamedTuple):
    """How many messages wait in a queue, and how many consumers it has."""

    name: str
    messages: int
    consumers: int


class Broker:
    """One connection with one confirming channel: opened when needed, and again after a loss."""

    def __init__(self, url: str, confirm_timeout: float) -> None:
        self._url = url
        self._timeout = confirm_timeout
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._opening = asyncio.Lock()
        self._away, self._rest_until = False, 0.0
        self._farewell: asyncio.Task[None] | None = None

    async def publish(self, task: str, task_id: UUID, body: bytes, routing_key: str, attempts: int = 0) -> None:
        """Return when the broker has the message on its disk.

        A lost connection is opened again once. Raises StoreUnavailable when the message was not confirmed in time;
        the broker may have it all the same, so whoever tries again does so with the same `task_id` and body.
        """
        message = _message(task, str(task_id), body, attempts)
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    await self._confirmed(message, routing_key)
                except CONNECTION_EXCEPTIONS:
                    await self._confirmed(message, routing_key)
        except _LOST as error:
            raise StoreUnavailable("broker", f"The broker did not confirm: {type(error).__name__} {error}") from error

    async def queues(self) -> list[QueueState]:
        """How full each of our queues is. Raises StoreUnavailable when the broker does not say so in time."""
        try:
            async with asyncio.timeout(self._timeout):
                exchange = self._exchange or await self._open()
                try:
                    return await self._look(exchange)
                except BaseException:
                    self._drop(exchange)
                    raise
        except _LOST as error:
            raise StoreUnavailable("broker", f"The broker did not answer: {type(error).__name__} {error}") from error

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection = self._forget(self._exchange)
        if connection is not None:
            await _close(connection)

    async def _look(self, exchange: AbstractExchange) -> list[QueueState]:
        """On a channel of its own: a queue that is not there closes the channel that asked."""
        assert self._connection is not None
        found = []
        async with self._connection.channel(publisher_confirms=False) as channel:
            for queue in topology.QUEUES:
                declared = (await channel.declare_queue(queue.name, passive=True)).declaration_result
                found.append(QueueState(queue.name, declared.message_count or 0, declared.consumer_count or 0))
        return found

    async def _confirmed(self, message: aio_pika.Message, routing_key: str) -> None:
        exchange = self._exchange or await self._open()
        try:
            await exchange.publish(message, routing_key, mandatory=True)
        except BaseException:
            self._drop(exchange)
            raise

    async def _open(self) -> AbstractExchange:
        now = asyncio.get_running_loop().time()
        if self._away and now < self._rest_until:
            raise StoreUnavailable("broker", "The broker was away a moment ago.")
        self._rest_until = now + self._timeout + REST  # while one tries again, the others need not wait for it
        async with self._opening:
            if self._exchange is None:
                try:
                    self._exchange = await self._connect()
                finally:
                    self._away = self._exchange is None
                    self._rest_until = asyncio.get_running_loop().time() + REST
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
            self._farewell = asyncio.create_task(_close(connection))

    def _forget(self, exchange: AbstractExchange | None) -> AbstractConnection | None:
        """Forget this connection, unless another publisher has opened a new one already."""
        if exchange is not self._exchange:
            return None
        connection, self._connection, self._exchange = self._connection, None, None
        return connection


async def _close(connection: AbstractConnection) -> None:
    with suppress(*_LOST):
        async with asyncio.timeout(1):
            await connection.close()


def events_text(events: Sequence[Event]) -> bytes:
    """These events as the JSON array a message carries."""
    return _BATCH.dump_json(list(events), by_alias=True, exclude_none=True)


def events_body(events: Sequence[Event]) -> bytes:
    """The message body that stores these events."""
    return body_of([events_text(events)])


def body_of(texts: Sequence[bytes]) -> bytes:
    """The message body that stores the events of these arrays.

    The batch is one JSON text inside the JSON arguments: Celery's own reader would take `{"__type__": ..}` in
    somebody's properties for an instruction, and drop a message whose instruction it does not know.
    """
    text = b"[" + b",".join(text[1:-1] for text in texts) + b"]"
    return b"[[" + orjson.dumps(text.decode()) + b"]" + _NOTHING_EMBEDDED


async def publish_events(broker: Broker, task_id: UUID, body: bytes, attempts: int = 0) -> None:
    """Have a worker store the batch that `events_body` wrote. Raises StoreUnavailable when it was not confirmed.

    `attempts` says how often these events ended a worker's process already.
    """
    await broker.publish(topology.STORE_EVENTS, task_id, body, topology.EVENTS.routing_key, attempts)


async def publish_again(broker: Broker, task_id: UUID, task: str, body: bytes, *, is_event: bool) -> None:
    """Send what died once more: a message as it came, or one event, as the JSON it came as, in a message of its own.

    Raises StoreUnavailable when it was not confirmed.
    """
    if is_event:
        body = b"[[" + orjson.dumps(f"[{body.decode()}]") + b"]" + _NOTHING_EMBEDDED
    await broker.publish(task, task_id, body, topology.EVENTS.routing_key)


async def request_training(broker: Broker, kind: str) -> None:
    """Tell the trainers that a training of this kind waits. Raises StoreUnavailable when it was not confirmed.

    Nothing is lost then: who waits too long is told of again.
    """
    body = b"[" + orjson.dumps([kind]) + _NOTHING_EMBEDDED
    await broker.publish(topology.TRAIN, uuid4(), body, topology.TRAINING.routing_key)


def _message(task: str, task_id: str, body: bytes, attempts: int) -> aio_pika.Message:
    """A message of Celery's protocol, version 2."""
    headers: dict[str, FieldValue] = {
        "lang": "py", "task": task, "id": task_id, "root_id": task_id, "parent_id": None, "group": None,
        "retries": 0, "eta": None, "expires": None, "timelimit": [None, None], "ignore_result": True,
        "argsrepr": "(..)", "kwargsrepr": "{}", "origin": "gateway",
    }  # fmt: skip
    if place := telemetry.traceparent():
        headers["traceparent"] = place
    if attempts:
        headers[topology.ATTEMPTS] = attempts
    return aio_pika.Message(
        body,
        headers=headers,
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=task_id,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
