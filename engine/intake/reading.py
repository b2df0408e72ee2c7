"""A batch with poison in it: the good events are stored, only the bad ones die."""

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
from engine.dead_events import records as burials

_FIRST_DAY: Final = EARLIEST.date()


def _keepable(event: Event, info: ValidationInfo) -> Event:
    """Refuses what the type allows and would only show later, at the cost of the neighbours.

    Days are compared as they were told: what is exact has to look at offsets, and costs a multiple of it.
    """
    latest: Any = info.context
    if not _FIRST_DAY <= event.occurred_at.date() <= latest:
        raise PydanticCustomError("time", "occurredAt lies before 1990 or too far ahead")
    if event.received_at is not None and not _FIRST_DAY <= event.received_at.date() <= latest:
        raise PydanticCustomError("time", "receivedAt lies before 1990 or too far ahead")
    try:
        event.digest  # noqa: B018 -- kept for whoever asks next
    except TypeError:
        raise PydanticCustomError("number", "properties hold what cannot be hashed, as a number over 64 bits") from None
    return event


_HIDDEN: Final = ConfigDict(hide_input_in_errors=True)  # nobody's data in the log
_Keepable = Annotated[Event, AfterValidator(_keepable)]
_BATCH: Final = TypeAdapter(list[_Keepable], config=_HIDDEN)
_ONE: Final[TypeAdapter[Event]] = TypeAdapter(_Keepable)

UNSTORABLE: Final = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)  # what Postgres says of a row, not of itself


class Read(NamedTuple):
    """What a batch holds: events, and what is none."""

    events: list[Event]
    dead: list[NewDeadEvent]


class Stored(NamedTuple):
    """What became of events: how many were new, all that are stored now, and what cannot be."""

    new: int
    events: Sequence[Event]
    dead: list[NewDeadEvent]


def read_batch(text: str, attempts: int = 1) -> Read:
    """The events of a message's JSON text, one by one when they are not all good.

    Raises ValidationError, which shows nothing of them, when it is no list.
    """
    latest = (clock.now() + MONTHS_AHEAD).date()
    try:
        return Read(_BATCH.validate_json(text, context=latest), [])
    except ValidationError:
        elements = _elements(text)
        if elements is None:
            raise
    read = Read([], [])
    for element in elements:
        body = burials.dumped(element)
        try:
            read.events.append(_ONE.validate_json(body, context=latest))
        except ValidationError as error:
            read.dead.append(burials.of_element(element, body, error, attempts))
    return read


async def insert_good(connection: Connection, events: Sequence[Event]) -> Stored:
    """Store what can be stored; for a batch that is all new and good, in one statement."""
    became = await _insert(connection, events)
    known = [event for event, what in zip(events, became, strict=True) if what is False]
    conflicts = {id(event) for event in await find_conflicts(connection, known)}
    dead = [what for what in became if isinstance(what, NewDeadEvent)]
    dead += [
        burials.of_event(event, DeadReason.CONFLICT, burials.CONFLICT) for event in known if id(event) in conflicts
    ]
    good = [
        event
        for event, what in zip(events, became, strict=True)
        if not isinstance(what, NewDeadEvent) and id(event) not in conflicts
    ]
    return Stored(became.count(True), good, dead)


async def _insert(connection: Connection, events: Sequence[Event]) -> list[bool | NewDeadEvent]:
    """Which were new, which were there, and what Postgres refuses: found by halves."""
    try:
        return [*await insert_events(connection, events)]
    except UNSTORABLE as error:
        if len(events) == 1:
            return [burials.refused(events[0], error)]
    middle = len(events) // 2
    return [*await _insert(connection, events[:middle]), *await _insert(connection, events[middle:])]


def _elements(text: str) -> list[Any] | None:
    """The batch as the most patient reader reads it."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
