"""The envelope: read as it was written, or refused."""

import json
from typing import Any
from uuid import UUID

import pytest

from bus.envelope import ATTEMPTS, TRACEPARENT, DamagedEnvelope, Envelope, Kind, UnknownVersion

ID = UUID("6f1c2a34-9d0e-4c55-8a7b-0123456789ab")
WHOLE = Envelope(kind=Kind.STORE_EVENTS, id=ID, headers={TRACEPARENT: "00-a-b-01", ATTEMPTS: 2}, body=b'[{"id":"\n"}]')


def with_head(**changes: Any) -> bytes:
    """An encoded envelope whose first line has other values; None takes a field away."""
    line, _, body = WHOLE.encode().partition(b"\n")
    head = {name: value for name, value in {**json.loads(line), **changes}.items() if value is not None}
    return json.dumps(head).encode() + b"\n" + body


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("body", [b"", b"[]", b"\n\n", b"\xff\x00 no text", "🛒".encode()])
def test_an_envelope_is_read_as_it_was_written(kind: Kind, body: bytes) -> None:
    envelope = Envelope(kind=kind, id=ID, headers={"task": "x", "n": 1}, body=body)
    assert Envelope.decode(envelope.encode()) == envelope


def test_the_encoded_form_of_version_1_does_not_change() -> None:
    """Rows of the outbox have it."""
    assert WHOLE.encode() == (
        b'{"version":1,"kind":"penchant.store_events","id":"6f1c2a34-9d0e-4c55-8a7b-0123456789ab",'
        b'"headers":{"traceparent":"00-a-b-01","attempts":2},"size":12}\n[{"id":"\n"}]'
    )


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"[[]]",
        b"no JSON\n[]",
        b'{"version":true}\n',
        WHOLE.encode()[:-1],
        WHOLE.encode() + b" ",
        WHOLE.encode().replace(b"\n", b"", 1),
        with_head(kind="penchant.of_next_release"),
        with_head(kind=7),
        with_head(id="x"),
        with_head(id=7),
        with_head(headers=[]),
        with_head(headers={"attempts": 1.5}),
        with_head(headers={"attempts": True}),
        with_head(headers=None),
        with_head(version=None),
        with_head(version="1"),
        with_head(more=1),
    ],
)
def test_a_damaged_envelope_is_refused(damaged: bytes) -> None:
    with pytest.raises(DamagedEnvelope):
        Envelope.decode(damaged)


def test_an_envelope_of_a_newer_version_is_refused_as_such_whatever_its_fields() -> None:
    with pytest.raises(UnknownVersion, match="version 2"):
        Envelope.decode(with_head(version=2, kind=None, more=1))
