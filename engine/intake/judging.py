"""The outcome of each event of a call, as far as it follows from the event, the token and the rest of the call."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from core import clock
from core.contract import PAID, Event, Person, read_event
from core.errors import InvalidInput
from core.sources import namespace_of
from engine.impressions import UnknownImpression, check_impression
from engine.outcomes import Outcome, Result, valid_id
from engine.signing import Signer
from engine.viewer import Viewer

SLICE: Final = 100  # events that are computed before the event loop goes on with others


@dataclass(slots=True)
class Call:
    """The elements of a call while they are judged, by index."""

    results: dict[int, Result] = field(default_factory=dict)
    events: dict[int, Event] = field(default_factory=dict)  # those still to be sent
    with_sender_id: dict[int, Event] = field(default_factory=dict)  # those whose id comes from the sender
    repeats: dict[int, int] = field(default_factory=dict)  # index -> the earlier index with the same identity


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back events may have occurred: those sent with a person's token, and those with a client's own."""

    persons: timedelta
    clients: timedelta

    def of(self, viewer: Viewer) -> timedelta:
        """The reach of this viewer."""
        return self.clients if viewer.person is None else self.persons


class _NotAllowed(InvalidInput):
    """The event is valid, but this token may not send it."""

    def __init__(self, code: str, message: str, field: str) -> None:
        super().__init__(message, field)
        self.code = code


async def judge(viewer: Viewer, raws: Sequence[Mapping[str, Any]], reach: Reach, signer: Signer | None = None) -> Call:
    """Check each event of a call from this viewer. One that is wrong gets its result; the others are to be sent.

    An `impressionId` must be one that `signer` signed; None: any.
    """
    call, now = Call(), clock.now()
    namespace, back = namespace_of(viewer.client_id, viewer.person), reach.of(viewer)
    first: dict[int, int] = {}
    for index, raw in enumerate(raws):
        if index and index % SLICE == 0:
            await asyncio.sleep(0)
        try:
            event = _read(viewer, raw, namespace, now)
            _check_age(event, now, back)
            if signer is not None and event.impression_id is not None:
                check_impression(signer, event.impression_id)
        except InvalidInput as error:
            call.results[index] = _rejected(index, raw, error)
            continue
        if raw.get("id") is not None:
            call.with_sender_id[index] = event
            if (earlier := first.setdefault(event.identity, index)) != index:
                call.repeats[index] = earlier
                continue
        call.events[index] = event
    return call


def _read(viewer: Viewer, raw: Mapping[str, Any], namespace: str, now: datetime) -> Event:
    if viewer.person is not None and raw.get("source") not in (None, viewer.client_id):
        raise _NotAllowed("NOT_YOURS", "A person's token may name no other source than its own client.", "source")
    own = _with_own_person(viewer.person, raw)
    event = read_event(own, source=viewer.client_id, received_at=now, namespace=namespace)
    if event.type in PAID and "orders:write" not in viewer.scopes:
        raise _NotAllowed("FORBIDDEN", f"{event.type} needs the scope orders:write.", "type")
    return event


def _check_age(event: Event, now: datetime, back: timedelta) -> None:
    """Every month with an event has a table of its own: a caller must not be able to make hundreds of them."""
    if event.occurred_at < now - back:
        raise _NotAllowed("TOO_OLD", f"occurredAt lies more than {back.days} days back.", "occurredAt")


def _with_own_person(person: Person | None, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event with the person of the token filled in. A person's token may name no other person."""
    if person is None:
        return raw
    own_field = "userId" if person.kind == "user" else "anonymousId"
    if raw.get(own_field) not in (None, person.id):
        raise _NotAllowed("NOT_YOURS", "This token is for another person.", own_field)
    if person.kind == "guest" and raw.get("userId") is not None:
        raise _NotAllowed("NOT_YOURS", "This token is for a guest.", "userId")
    return {**raw, own_field: person.id}


def repeat_result(call: Call, index: int, earlier: int) -> Result:
    """The result of an element that repeats an earlier one, which must have its result already."""
    event, first = call.with_sender_id[index], call.results[earlier]
    if first.outcome in (Outcome.RETRY, Outcome.REJECTED, Outcome.CONFLICT):  # no store has it
        return replace(first, index=index)
    return known_result(index, event, same=call.with_sender_id[earlier].digest == event.digest)


def known_result(index: int, event: Event, *, same: bool) -> Result:
    """The result of an event whose identity was accepted before, with the `same` body or another one."""
    if same:
        return Result(index, Outcome.DUPLICATE, event.id)
    message = "Another event has this source, id and occurredAt."
    return Result(index, Outcome.CONFLICT, event.id, "CONFLICT", ["id"], message)


def erased_result(index: int, event: Event) -> Result:
    """The result of an event from before its person was erased. It does not say that there was an erasure."""
    message = "Events of this person from that time are not kept."
    return Result(index, Outcome.REJECTED, event.id, "NOT_KEPT", ["occurredAt"], message)


def _rejected(index: int, raw: Mapping[str, Any], error: InvalidInput) -> Result:
    field = [error.field] if error.field else None
    return Result(index, Outcome.REJECTED, valid_id(raw.get("id")), _code(error), field, str(error))


def _code(error: InvalidInput) -> str:
    if isinstance(error, UnknownImpression):
        return "UNKNOWN_IMPRESSION"
    return error.code if isinstance(error, _NotAllowed) else "BAD_USER_INPUT"
