"""Moves dead letters from the broker to the dead events in Postgres: one row for each event."""

from collections.abc import AsyncIterator
from typing import Final

from pydantic import ValidationError

from bus.dead_letters import Cause, DeadLetter
from bus.envelope import DamagedEnvelope, Kind
from db.dead_events import DeadReason, NewDeadEvent
from db.postgres import Pool
from engine.dead_events import records
from engine.dead_events.storing import record_dead_events
from engine.intake.reading import Batch, read_batch
from engine.intake.storing import UNSTORABLE
from engine.outcomes import valid_id

_EVENT_REASONS: Final = {
    Cause.CRASHED: (DeadReason.CRASHED, "Its message ended the worker's process each time it was delivered."),
    Cause.NOT_JSON: (DeadReason.FAILED, "The content type of its message is not application/json."),
    Cause.HAS_ETA_OR_EXPIRY: (DeadReason.FAILED, "Its message has an eta or an expiry, which events must not have."),
    Cause.FAILED: (DeadReason.FAILED, "Its task failed: the worker's log has the error."),
}


async def move_dead_letters(pool: Pool, dead_letters: AsyncIterator[DeadLetter]) -> int:
    """Record these as dead events; each leaves the broker when its rows are committed. Returns how many.

    Raises StoreUnavailable when the broker does not answer in time.
    """
    moved = 0
    async for dead_letter in dead_letters:
        await _record(pool, dead_letter)
        await dead_letter.ack()
        moved += 1
    return moved


async def _record(pool: Pool, dead_letter: DeadLetter) -> None:
    """Write one row for each event, or one for the message when an event cannot be stored: so none blocks others."""
    try:
        await record_dead_events(pool, dead_events_of(dead_letter))
    except (*UNSTORABLE, ArithmeticError, TypeError, ValueError):
        detail = "An event in it cannot be stored as a dead event of its own."
        await record_dead_events(pool, [records.of_message(dead_letter.body, None, DeadReason.UNREADABLE, detail)])


def dead_events_of(dead_letter: DeadLetter) -> list[NewDeadEvent]:
    """The rows of a dead letter: one for each event in it, or one for the message when no event can be read."""
    batch = _batch(dead_letter) if dead_letter.kind is Kind.STORE_EVENTS and not dead_letter.may_crash else None
    if batch is None or not (batch.events or batch.dead):
        task = valid_id(dead_letter.task)
        return [records.of_message(dead_letter.body, task, *_message_reason(dead_letter, task), dead_letter.attempts)]
    reason, detail = _EVENT_REASONS[dead_letter.cause]
    return [*(records.of_event(event, reason, detail, dead_letter.attempts) for event in batch.events), *batch.dead]


def _batch(dead_letter: DeadLetter) -> Batch | None:
    try:
        return read_batch(dead_letter.decode())
    except (DamagedEnvelope, ValidationError, ValueError, TypeError, RecursionError):
        return None


def _message_reason(dead_letter: DeadLetter, task: str | None) -> tuple[DeadReason, str]:
    if dead_letter.cause is Cause.CRASHED:
        return DeadReason.CRASHED, "It ended the worker's process each time it was delivered."
    if task is None:
        return DeadReason.UNREADABLE, "The message names no task."
    if dead_letter.kind is None:
        return DeadReason.UNKNOWN_TASK, "No worker of this version knows its task."
    return DeadReason.UNREADABLE, "Its task cannot read its body."
