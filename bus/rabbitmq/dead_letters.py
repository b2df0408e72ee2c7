"""Reads dead letters: the messages that RabbitMQ set aside."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from bus.dead_letters import Cause, DeadLetter
from bus.rabbitmq import celery_message
from bus.rabbitmq.errors import CONNECTION_ERRORS, unavailable
from bus.rabbitmq.topology import DEAD_LETTERS, DELIVERY_LIMIT

TIMEOUT: Final = 5.0  # seconds to connect, and for each answer
# A dead letter that was delivered more often may crash its reader. RabbitMQ 4 goes on counting where the first queue
# stopped.
MAX_DELIVERIES: Final = DELIVERY_LIMIT + 4


async def read_dead_letters(url: str, limit: int) -> AsyncGenerator[DeadLetter, None]:
    """The oldest dead letters, at most `limit`. One that is not acknowledged stays in the broker.

    Raises StoreUnavailable when the broker does not answer in time. Close the iterator when you leave it early.
    """
    try:
        async with await aio_pika.connect(url, timeout=TIMEOUT) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(DEAD_LETTERS.name, ensure=False)
            for _ in range(limit):
                message = await queue.get(fail=False, timeout=TIMEOUT)
                if message is None:
                    return
                yield dead_letter(message)
    except CONNECTION_ERRORS as error:
        raise unavailable("The broker did not deliver the dead letters", error) from error


def dead_letter(message: AbstractIncomingMessage) -> DeadLetter:
    """A message of the queue of dead letters, as far as its headers say what it is."""
    task = message.headers.get("task")
    cause = _cause(message)

    async def ack() -> None:
        try:
            await message.ack()
        except CONNECTION_ERRORS as error:
            raise unavailable("The broker did not take the acknowledgement", error) from error

    return DeadLetter(
        task=task,
        kind=celery_message.kind_of(task),
        body=message.body,
        cause=cause,
        attempts=DELIVERY_LIMIT + 1 if cause is Cause.CRASHED else 1,
        may_crash=celery_message.deliveries_of(message.headers) >= MAX_DELIVERIES,
        decode=partial(celery_message.text_in, message.body),
        ack=ack,
    )


def _cause(message: AbstractIncomingMessage) -> Cause:
    if message.headers.get("x-first-death-reason") == "delivery_limit":
        return Cause.CRASHED
    if message.content_type != celery_message.JSON:
        return Cause.NOT_JSON
    if any(message.headers.get(name) is not None for name in celery_message.TIME_HEADERS):
        return Cause.HAS_ETA_OR_EXPIRY
    return Cause.FAILED
