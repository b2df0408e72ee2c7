"""Dead letters: what RabbitMQ set aside is laid out event by event among the dead events, in Postgres."""

import json
from collections.abc import Mapping
from typing import Any, Final

import aio_pika
import asyncpg
import structlog
from aio_pika.abc import AbstractIncomingMessage
from pydantic import ValidationError

from bus.topology import DEAD_LETTERS, DELIVERIES, DELIVERY_LIMIT, STORE_EVENTS, TASKS, TIMES
from db.dead_events import DeadReason, NewDeadEvent
from engine.dead_events import records as burials
from engine.intake.reading import UNSTORABLE, Read, read_batch
from engine.intake.storing import lay_to_rest

log = structlog.get_logger()

MOST: Final = 500  # letters of a task
CONNECT: Final = 5.0  # seconds
# After so many deliveries a letter is not read: to read it may be what ends the process. RabbitMQ 4 goes on counting
# where the queue it died in stopped.
WARY: Final = DELIVERY_LIMIT + 4
JSON: Final = "application/json"


async def move_letters(pool: asyncpg.Pool, broker_url: str) -> int:
    """Bury the letters that wait now; each leaves the broker when its rows are committed. Returns how many."""
    moved = 0
    async with await aio_pika.connect(broker_url, timeout=CONNECT) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(DEAD_LETTERS.name, ensure=False)
        while moved < MOST and (letter := await queue.get(fail=False, timeout=CONNECT)) is not None:
            await _bury(pool, letter)
            await letter.ack()
            moved += 1
    return moved


async def _bury(pool: asyncpg.Pool, letter: AbstractIncomingMessage) -> None:
    """Event by event, or as it came where one of the parts cannot be kept: no letter may block the others."""
    try:
        await lay_to_rest(pool, autopsy(letter))
    except (*UNSTORABLE, ArithmeticError, TypeError, ValueError):
        why = DeadReason.UNREADABLE, "Its parts are nothing that can be kept by themselves."
        await lay_to_rest(pool, [burials.of_message(letter.body, None, *why)])


def autopsy(letter: AbstractIncomingMessage) -> list[NewDeadEvent]:
    """What is to be kept of a letter: every event of it, where they can be told apart, else the message as it is."""
    task = burials.name_of(letter.headers.get("task"))
    read = _read(letter) if task == STORE_EVENTS and _deliveries(letter.headers) < WARY else None
    if read is None or not (read.events or read.dead):
        return [burials.of_message(letter.body, task, *_of_message(letter, task))]
    return [*(burials.of_event(event, *_of_event(letter)) for event in read.events), *read.dead]


def _read(letter: AbstractIncomingMessage) -> Read | None:
    try:
        (text,), _, _ = json.loads(letter.body)
        return read_batch(text)
    except (ValidationError, ValueError, TypeError, RecursionError):
        return None


def _of_event(letter: AbstractIncomingMessage) -> tuple[DeadReason, str, int]:
    """Why an event died that is good in itself."""
    if _is_crash(letter):
        return (
            DeadReason.CRASHED,
            "Its message ended the worker's process each time it was delivered.",
            DELIVERY_LIMIT + 1,
        )
    if letter.content_type != JSON:
        return DeadReason.FAILED, f"Its message was not said to be {JSON}.", 1
    if any(letter.headers.get(name) is not None for name in TIMES):
        return DeadReason.FAILED, "Its message was to wait or to expire: events do neither.", 1
    return DeadReason.FAILED, "Its task failed: the worker's log has the error.", 1


def _of_message(letter: AbstractIncomingMessage, task: str | None) -> tuple[DeadReason, str, int]:
    """Why a message died in which no events can be read."""
    if _is_crash(letter):
        return DeadReason.CRASHED, "It ended the worker's process each time it was delivered.", DELIVERY_LIMIT + 1
    if task is None:
        return DeadReason.UNREADABLE, "It does not say which task it is for.", 1
    if task not in TASKS:
        return DeadReason.UNKNOWN_TASK, "No worker of this version knows its task.", 1
    return DeadReason.UNREADABLE, "Its body is not what its task reads.", 1


def _is_crash(letter: AbstractIncomingMessage) -> bool:
    return letter.headers.get("x-first-death-reason") == "delivery_limit"


def _deliveries(headers: Mapping[str, Any]) -> int:
    count = headers.get(DELIVERIES)
    return count if isinstance(count, int) else 0
