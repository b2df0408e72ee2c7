"""Reads a batch: when not all of its events are valid, one by one, so that a bad one does not stop the others."""

import json
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import PydanticCustomError

from core import clock
from core.contract import EARLIEST, Event
from db.dead_events import NewDeadEvent
from db.events import MONTHS_AHEAD
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


class Batch(NamedTuple):
    """The events of a message, and the rows of those elements that are not valid events."""

    events: list[Event]
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


def _elements(text: str | bytes) -> list[Any] | None:
    """The elements of the array, read by the most lenient JSON reader; None when it is not an array."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None
