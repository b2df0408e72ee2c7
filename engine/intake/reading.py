"""Reads and stores a batch event by event: one that cannot be stored does not stop the others."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple

import asyncpg
from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from core import clock
from core.contract import EARLIEST, Event
from db.dead_events import DeadReason, NewDeadEvent
from db.events import MONTHS_AHEAD, find_conflicts, insert_events
from db.postgres import Connection
from engine.dead_events import records

_FIRST_DAY: Final = EARLIEST.date()


def _check_storable(event: Event, info: ValidationInfo) -> Event:
    """Refuse values that the type allows and Postgres does not: in the INSERT they would fail the whole batch.

    Days are compared in the offset they were sent with: an exact comparison costs several times as much.
    """
    latest: Any = info.context
    if not _FIRST_DAY <= event.occurred_at.date() <= latest:
        raise PydanticCustomError("time", "occurredAt lies before 1990 or too far ahead")
    if event.received_at is not None and not _FIRST_DAY <= event.received_at.date() <= latest:
        raise PydanticCustomError("time", "receivedAt lies before 1990 or too far ahead")
    try:
        event.digest  # noqa: B018 -- computed here, cached for later
    except TypeError:
        raise PydanticCustomError(
            "number", "properties contain a value that cannot be hashed, such as a number over 64 bits"
        ) from None
    return event


_HIDDEN: Final = ConfigDict(hide_input_in_errors=True)  # no personal data in the log
_Storable = Annotated[Event, AfterValidator(_check_storable)]
_BATCH: Final = TypeAdapter(list[_Storable], config=_HIDDEN)
_ONE: Final[TypeAdapter[Event]] = TypeAdapter(_Storable)

UNSTORABLE: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)  # errors about a row, not about the server


class Batch(NamedTuple):
    """The events of a message, and the rows of those elements that are not valid events."""

    events: list[Event]
    dead: list[NewDeadEvent]


class Stored(NamedTuple):
    """The outcome of a batch: how many events were new, all that are stored now, the rows of those that cannot be."""

    new: int
    events: Sequence[Event]
    dead: list[NewDeadEvent]


def read_batch(text: str | bytes, attempts: int = 1) -> Batch:
    """The events of a JSON array; read one by one when not all of them are valid.

    Raises ValidationError, which repeats nothing of the text, when it is not an array.
    """
    latest = (clock.now() + MONTHS_AHEAD).date()
    try:
        return Batch(_BATCH.validate_json(text, context=latest), [])
    except ValidationError:
        elements = _elements(text)
        if elements is None:
            raise
    batch = Batch([], [])
    for element in elements:
        body = records.element_json(element)
        try:
            batch.events.append(_ONE.validate_json(body, context=latest))
        except ValidationError as error:
            batch.dead.append(records.of_element(element, body, error, attempts))
    return batch


async def insert_good(connection: Connection, events: Sequence[Event]) -> Stored:
    """Store the events that can be stored. When all are new and valid, this is one statement."""
    outcomes = await _insert(connection, events)
    known = [event for event, outcome in zip(events, outcomes, strict=True) if outcome is False]
    conflicts = {id(event) for event in await find_conflicts(connection, known)}
    dead = [outcome for outcome in outcomes if isinstance(outcome, NewDeadEvent)]
    dead += [
        records.of_event(event, DeadReason.CONFLICT, records.CONFLICT) for event in known if id(event) in conflicts
    ]
    good = [
        event
        for event, outcome in zip(events, outcomes, strict=True)
        if not isinstance(outcome, NewDeadEvent) and id(event) not in conflicts
    ]
    return Stored(outcomes.count(True), good, dead)


async def _insert(connection: Connection, events: Sequence[Event]) -> list[bool | NewDeadEvent]:
    """For each event: True when it is new, False when it was stored before, its row when Postgres refuses it.

    Refused events are found by halving the batch.
    """
    try:
        return [*await insert_events(connection, events)]
    except UNSTORABLE as error:
        if len(events) == 1:
            return [records.of_refused_event(events[0], error)]
    middle = len(events) // 2
    return [*await _insert(connection, events[:middle]), *await _insert(connection, events[middle:])]


def _elements(text: str | bytes) -> list[Any] | None:
    """The elements of the array, read by the most lenient JSON reader; None when it is not an array."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
