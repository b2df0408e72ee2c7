"""Moves dead letters from the broker to the dead events in Postgres: one row for each event."""

from collections.abc import AsyncIterator
from typing import Final

import asyncpg
from pydantic import ValidationError

from bus.dead_letters import Cause, DeadLetter
from bus.envelope import DamagedEnvelope, Kind
from db.dead_events import DeadReason, NewDeadEvent
from engine.dead_events import records
from engine.dead_events.storing import record_dead_events
from engine.intake.reading import UNSTORABLE, Batch, read_batch

_EVENT_REASONS: Final = {
    Cause.CRASHED: (DeadReason.CRASHED, "Its message ended the worker's process each time it was delivered."),
    Cause.NOT_JSON: (DeadReason.FAILED, "Its message was not said to be application/json."),
    Cause.TIMED: (DeadReason.FAILED, "Its message was to wait or to expire: events do neither."),
    Cause.FAILED: (DeadReason.FAILED, "Its task failed: the worker's log has the error."),
}


async def move_dead_letters(pool: asyncpg.Pool, letters: AsyncIterator[DeadLetter]) -> int:
    """Keep these; each leaves the broker when its rows are committed. Returns how many.

    Raises StoreUnavailable when the broker does not answer in time.
    """
    moved = 0
    async for letter in letters:
        await _record(pool, letter)
        await letter.ack()
        moved += 1
    return moved


async def _record(pool: asyncpg.Pool, letter: DeadLetter) -> None:
    """One row for each event; one for the whole message where an event cannot be stored: so no letter blocks others."""
    try:
        await record_dead_events(pool, dead_events_of(letter))
    except (*UNSTORABLE, ArithmeticError, TypeError, ValueError):
        detail = "An event in it cannot be stored as a dead event of its own."
        await record_dead_events(pool, [records.of_message(letter.body, None, DeadReason.UNREADABLE, detail)])


def dead_events_of(letter: DeadLetter) -> list[NewDeadEvent]:
    """The rows of a dead letter: one for each event in it, or one for the message when no event can be read."""
    batch = _batch(letter) if letter.kind is Kind.STORE_EVENTS and not letter.may_crash else None
    if batch is None or not (batch.events or batch.dead):
        task = records.valid_id(letter.task)
        return [records.of_message(letter.body, task, *_message_reason(letter, task), letter.attempts)]
    reason, detail = _EVENT_REASONS[letter.cause]
    return [*(records.of_event(event, reason, detail, letter.attempts) for event in batch.events), *batch.dead]


def _batch(letter: DeadLetter) -> Batch | None:
    try:
        return read_batch(letter.decode())
    except (DamagedEnvelope, ValidationError, ValueError, TypeError, RecursionError):
        return None


def _message_reason(letter: DeadLetter, task: str | None) -> tuple[DeadReason, str]:
    if letter.cause is Cause.CRASHED:
        return DeadReason.CRASHED, "It ended the worker's process each time it was delivered."
    if task is None:
        return DeadReason.UNREADABLE, "It does not say which task it is for."
    if letter.kind is None:
        return DeadReason.UNKNOWN_TASK, "No worker of this version knows its task."
    return DeadReason.UNREADABLE, "Its body is not what its task reads."
