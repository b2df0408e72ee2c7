"""Celery messages on the wire, byte for byte: gateways and workers of the release before run beside ours."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from bus.envelope import DamagedEnvelope, Envelope, Kind
from bus.messages import as_received, events_json, export_events, store_arrays, store_events, train
from bus.rabbitmq.celery_message import attempts_of, body_of, kind_of, text_in
from bus.rabbitmq.publisher import message_of
from core.contract import Event, read_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = UUID("6f1c2a34-9d0e-4c55-8a7b-0123456789ab")
TAIL = b'{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'


def make_event(**fields: Any) -> Event:
    raw = {"type": "VIEW", "userId": "u1", "itemId": "i1", "id": "e1", "occurredAt": NOW, **fields}
    return read_event(raw, source="shop", received_at=NOW)


def test_a_batch_is_one_text_in_the_arguments() -> None:
    assert body_of(Envelope(kind=Kind.STORE_EVENTS, body=b'[{"a":"\xc3\xa9\\""}]')) == (
        b'[["[{\\"a\\":\\"\xc3\xa9\\\\\\"\\"}]"],' + TAIL
    )


@pytest.mark.parametrize(
    ("envelope", "arguments"),
    [
        (train("affinity"), b'["affinity"]'),
        (export_events("2026-03-01"), b'["2026-03-01"]'),
        (Envelope(kind=Kind.PERIODIC), b"[]"),
        (Envelope(kind=Kind.MOVE_DEAD_LETTERS), b"[]"),
    ],
)
def test_a_kind_other_than_events_has_its_body_as_the_argument_or_no_argument(
    envelope: Envelope, arguments: bytes
) -> None:
    assert body_of(envelope) == b"[" + arguments + b"," + TAIL


def test_arrays_of_several_calls_are_one_batch() -> None:
    first, second, third = (make_event(id=f"e{n}") for n in range(3))
    together = store_arrays([events_json([first, second]), events_json([third])])
    assert together.body == events_json([first, second, third])


def test_the_headers_are_those_of_the_release_before() -> None:
    envelope = Envelope(kind=Kind.STORE_EVENTS, id=ID, headers={"traceparent": "00-a-b-01", "attempts": 2}, body=b"[]")
    message = message_of(envelope)
    assert message.headers == {
        "lang": "py", "task": "penchant.store_events", "id": str(ID), "root_id": str(ID), "parent_id": None,
        "group": None, "retries": 0, "eta": None, "expires": None, "timelimit": [None, None], "ignore_result": True,
        "argsrepr": "(..)", "kwargsrepr": "{}", "origin": "gateway", "traceparent": "00-a-b-01", "penchant-attempts": 2,
    }  # fmt: skip
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert (message.correlation_id, message.delivery_mode) == (str(ID), 2)
    assert not {"traceparent", "penchant-attempts"} & set(message_of(store_events([])).headers)


def test_a_message_we_could_not_read_is_sent_on_unchanged() -> None:
    message = message_of(as_received("penchant.of_next_release", b"\xff[[1],{},{}]", ID))
    assert (message.body, message.headers["task"]) == (b"\xff[[1],{},{}]", "penchant.of_next_release")


def test_the_batch_is_read_from_the_message_as_it_was_written() -> None:
    envelope = store_events([make_event(properties={"text": '"\\🛒'})])
    assert text_in(body_of(envelope)) == envelope.body


@pytest.mark.parametrize(
    "body",
    [b"", b"5", b"\xff", b"[[1],{},{}]", b'[["a","b"],{},{}]', b'[["a"],{}]', b'[["\\ud800"],{},{}]', b"[" * 9999],
)
def test_a_body_without_one_text_is_refused(body: bytes) -> None:
    with pytest.raises(DamagedEnvelope):
        text_in(body)


def test_attempts_count_other_messages_and_deliveries_of_this_one() -> None:
    assert attempts_of({}) == 1
    assert attempts_of({"penchant-attempts": 2, "x-delivery-count": 1}) == 4
    assert attempts_of({"penchant-attempts": "2", "x-delivery-count": -1}) == 1


def test_only_our_own_tasks_have_a_kind() -> None:
    assert kind_of("penchant.train") is Kind.TRAIN
    assert [kind_of(task) for task in (None, ["x"], "penchant.no_such_task", Kind.AS_RECEIVED)] == [None] * 4
