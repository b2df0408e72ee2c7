"""What becomes of each event of a call, as far as the gateway alone can tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core import clock
from core.contract import PAID, Event, Person, read_event
from core.errors import InvalidInput
from engine.outcomes import Outcome, Result, echo
from engine.viewer import Viewer


@dataclass(slots=True)
class Call:
    """What is known of a call's elements while it is judged, by their index."""

    results: dict[int, Result] = field(default_factory=dict)
    events: dict[int, Event] = field(default_factory=dict)  # those to send
    named: dict[int, Event] = field(default_factory=dict)  # those whose id the sender gave
    repeats: dict[int, int] = field(default_factory=dict)  # index -> the earlier index with the same identity


class _Refused(InvalidInput):
    """An event that is well formed and yet not taken from this sender."""

    def __init__(self, code: str, message: str, field: str) -> None:
        super().__init__(message, field)
        self.code = code


def judge(viewer: Viewer, raws: Sequence[Mapping[str, Any]]) -> Call:
    """Read a call's events as this viewer may send them: what is wrong has its result, the rest is to be sent."""
    call, now = Call(), clock.now()
    first: dict[int, int] = {}
    for index, raw in enumerate(raws):
        try:
            event = _read(viewer, raw, now)
        except InvalidInput as error:
            call.results[index] = _rejected(index, raw, error)
            continue
        if raw.get("id") is not None:
            call.named[index] = event
            if (earlier := first.setdefault(event.identity, index)) != index:
                call.repeats[index] = earlier
                continue
        call.events[index] = event
    return call


def _read(viewer: Viewer, raw: Mapping[str, Any], now: datetime) -> Event:
    if viewer.person is not None and raw.get("source") not in (None, viewer.client_id):
        raise _Refused("NOT_YOURS", "A person's token sends in the name of its own client only.", "source")
    event = read_event(_spoken_for(viewer.person, raw), source=viewer.client_id, received_at=now)
    if event.type in PAID and "orders:write" not in viewer.scopes:
        raise _Refused("FORBIDDEN", f"{event.type} needs the scope orders:write.", "type")
    return event


def _spoken_for(person: Person | None, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event with its person: whoever's own token it is speaks for nobody else."""
    if person is None:
        return raw
    name = "userId" if person.kind == "user" else "anonymousId"
    if raw.get(name) not in (None, person.id):
        raise _Refused("NOT_YOURS", "This token speaks for another person.", name)
    if person.kind == "guest" and raw.get("userId") is not None:
        raise _Refused("NOT_YOURS", "This token speaks for a guest.", "userId")
    return {**raw, name: person.id}


def repeat_of(call: Call, index: int, earlier: int) -> Result:
    """The outcome of an element that names the same event as an earlier element of its call."""
    event, first = call.named[index], call.results[earlier]
    if first.outcome in (Outcome.RETRY, Outcome.REJECTED, Outcome.CONFLICT):  # nobody holds it
        return replace(first, index=index)
    return repeated(index, event, same=call.named[earlier].digest == event.digest)


def repeated(index: int, event: Event, *, same: bool) -> Result:
    """The outcome of an event that was acknowledged before, with the same body or another."""
    if same:
        return Result(index, Outcome.DUPLICATE, event.id)
    message = "Another event has this source, id and occurredAt."
    return Result(index, Outcome.CONFLICT, event.id, "CONFLICT", ["id"], message)


def not_kept(index: int, event: Event) -> Result:
    """The outcome of an event from before its person was erased; it does not say so."""
    message = "Events of this person from that time are not kept."
    return Result(index, Outcome.REJECTED, event.id, "NOT_KEPT", ["occurredAt"], message)


def _rejected(index: int, raw: Mapping[str, Any], error: InvalidInput) -> Result:
    code = error.code if isinstance(error, _Refused) else "BAD_USER_INPUT"
    return Result(
        index, Outcome.REJECTED, echo(raw.get("id")), code, [error.field] if error.field else None, str(error)
    )
