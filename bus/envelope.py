"""The envelope: our own form of a message, for the outbox, for dead events and for any broker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID, uuid4

import orjson

from core.errors import PenchantError

VERSION: Final = 1

TRACEPARENT: Final = "traceparent"  # header: the W3C trace context of the sender
ATTEMPTS: Final = "attempts"  # header: how often the events in the body already ended a worker's process
TASK: Final = "task"  # header of AS_RECEIVED: the task that the message named

_FIELDS: Final = frozenset({"version", "kind", "id", "headers", "size"})


class Kind(StrEnum):
    """The request that a message makes; it decides the content of the body."""

    STORE_EVENTS = "penchant.store_events"  # body: a JSON array of events
    TRAIN = "penchant.train"  # body: the kind of training
    EXPORT_EVENTS = "penchant.export_events"  # body: the day, as 2026-03-01
    PERIODIC = "penchant.periodic"  # no body
    MOVE_DEAD_LETTERS = "penchant.move_dead_letters"  # no body
    SEND_PURGES = "penchant.send_purges"  # no body
    AS_RECEIVED = "penchant.as_received"  # body: the bytes of a message we could not read; they are sent on unchanged


class DamagedEnvelope(PenchantError):
    """This is not an encoded envelope, or it is incomplete."""


class UnknownVersion(DamagedEnvelope):
    """This envelope has a version that this release does not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One message. Sent twice under the same `id`, it must have the same body."""

    version: int = VERSION
    kind: Kind
    id: UUID = field(default_factory=uuid4)
    headers: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes = b""

    def encode(self) -> bytes:
        """One line of JSON with everything but the body, then the body unchanged."""
        head = {
            "version": self.version,
            "kind": self.kind,
            "id": self.id,
            "headers": dict(self.headers),
            "size": len(self.body),
        }
        return orjson.dumps(head) + b"\n" + self.body

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote. Raises DamagedEnvelope for anything else, UnknownVersion for a newer envelope."""
        line, _, body = data.partition(b"\n")
        head = _head(line)
        if head["version"] != VERSION:
            raise UnknownVersion(f"This envelope has version {head['version']}; this release reads {VERSION}.")
        if head["size"] != len(body):
            raise DamagedEnvelope(f"The body of this envelope has {len(body)} bytes, not {head['size']}.")
        try:
            kind, id = Kind(head["kind"]), UUID(head["id"])
        except (ValueError, AttributeError) as error:
            raise DamagedEnvelope(f"This envelope has no known kind or no valid id: {error}") from error
        return cls(kind=kind, id=id, headers=_headers(head["headers"]), body=body)


def _head(line: bytes) -> dict[str, Any]:
    try:
        head = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DamagedEnvelope("The first line of this envelope is not JSON.") from error
    if not isinstance(head, dict) or type(head.get("version")) is not int:
        raise DamagedEnvelope("The first line of this envelope has no version.")
    if head["version"] == VERSION and head.keys() != _FIELDS:
        raise DamagedEnvelope(f"The first line of this envelope has the fields {sorted(head)}, not {sorted(_FIELDS)}.")
    return head


def _headers(found: object) -> dict[str, str | int]:
    if not isinstance(found, dict) or not all(type(value) in (str, int) for value in found.values()):
        raise DamagedEnvelope("The headers of this envelope are not texts and whole numbers by name.")
    return found
