"""The event contract: what it accepts, what it refuses, and the field that the error names."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.contract import AHEAD, EARLIEST, Event, EventType, Person, check_id, microseconds, read_event
from core.errors import InvalidInput
from core.uploads import read_user

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VIEW = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
NAN = float("nan")


def read(**fields: Any) -> Event:
    return read_event({**VIEW, **fields}, source="shop", received_at=NOW)


def field_at_fault(**fields: Any) -> str | None:
    with pytest.raises(InvalidInput) as refusal:
        read(**fields)
    return refusal.value.field


def test_an_event_without_id_and_time_gets_both() -> None:
    event = read()
    assert len(event.id) == 32 and event.occurred_at == event.received_at == NOW
    assert read().id != event.id and event.source == "shop"


def test_minted_ids_sort_by_time() -> None:
    later = read_event(VIEW, source="shop", received_at=NOW + timedelta(seconds=1))
    assert read().id < later.id


def test_an_event_may_have_a_time_and_no_id() -> None:
    assert read(occurredAt="2026-01-31T13:00:00+01:00").occurred_at == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_an_id_of_the_sender_needs_its_time() -> None:
    assert field_at_fault(id="e1") == "occurredAt"


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"type": "BOUGHT"}, "type"),
        ({"type": None}, "type"),
        ({"userId": None}, "userId"),
        ({"userId": ""}, "userId"),
        ({"userId": 7}, "userId"),
        ({"userId": "urn:penchant:guest:g1"}, "userId"),
        ({"itemId": "a\x00b"}, "itemId"),
        ({"itemId": "a\nb"}, "itemId"),
        ({"itemId": "a\x85"}, "itemId"),
        ({"itemId": "x" * 10_000}, "itemId"),
        ({"itemId": "x" * 129}, "itemId"),
        ({"itemId": "\ud800"}, "itemId"),
        ({"itemId": None}, "itemId"),
        ({"type": "RATING"}, "value"),
        ({"type": "SEARCH"}, "query"),
        ({"type": "IMPRESSION"}, "itemIds"),
        ({"type": "IMPRESSION", "itemIds": []}, "itemIds"),
        ({"type": "IMPRESSION", "itemIds": ["a", "\x00"]}, "itemIds"),
        ({"type": "IMPRESSION", "itemIds": ["a"] * 501}, "itemIds"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": NAN}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"quantity": 10**9}, "quantity"),
        ({"quantity": True}, "quantity"),
        ({"quantity": "1_0"}, "quantity"),
        ({"type": ["VIEW"]}, "type"),
        ({"unitPrice": NAN}, "unitPrice"),
        ({"unitPrice": "Infinity"}, "unitPrice"),
        ({"unitPrice": "-0.01"}, "unitPrice"),
        ({"unitPrice": "0.00001"}, "unitPrice"),
        ({"unitPrice": "1e20"}, "unitPrice"),
        ({"unitPrice": "1e2"}, "unitPrice"),
        ({"unitPrice": " 1"}, "unitPrice"),
        ({"value": Decimal("NaN")}, "value"),
        ({"currency": "EURO"}, "currency"),
        ({"currency": "XXX"}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"occurredAt": EARLIEST - timedelta(microseconds=1)}, "occurredAt"),
        ({"occurredAt": NOW + AHEAD + timedelta(microseconds=1)}, "occurredAt"),
        ({"occurredAt": "0001-01-01T00:00:00+23:59"}, "occurredAt"),
        ({"occurredAt": "2026-01-31T12:00:00"}, "occurredAt"),
        ({"occurredAt": "2026-01-31"}, "occurredAt"),
        ({"occurredAt": "2026-W05-6T12:00:00Z"}, "occurredAt"),
        ({"occurredAt": "20260131T120000Z"}, "occurredAt"),
        ({"occurredAt": "2026-02-30T12:00:00Z"}, "occurredAt"),
        ({"occurredAt": "yesterday at noon"}, "occurredAt"),
        ({"occurredAt": 1_700_000_000}, "occurredAt"),
        ({"query": "a\x00"}, "query"),
        ({"query": "x" * 1025}, "query"),
        ({"source": ""}, "source"),
        ({"properties": []}, "properties"),
        ({"properties": {"a": NAN}}, "properties"),
        ({"properties": {"a": ["\x00"]}}, "properties"),
        ({"properties": {"a": "\ud800"}}, "properties"),
        ({"properties": {"a": 2**70}}, "properties"),
        ({"properties": {"a": "x" * 10_001}}, "properties"),
        ({"colour": "red"}, "colour"),
        ({"receivedAt": NOW.isoformat()}, "receivedAt"),
        ({"received_at": NOW.isoformat()}, "received_at"),
    ],
)
def test_an_invalid_event_is_refused_naming_the_field(fields: dict[str, Any], at_fault: str) -> None:
    assert field_at_fault(**fields) == at_fault


def test_a_missing_field_is_refused_naming_the_type_that_requires_it() -> None:
    for fields, said in (
        ({"itemId": None}, "itemId is required for VIEW"),
        ({"type": "SEARCH"}, "query is required for SEARCH"),
        ({"type": "SEARCH", "query": ""}, "query must not be empty"),
    ):
        with pytest.raises(InvalidInput, match=said):
            read(**fields)


def test_properties_nested_without_end_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(3_000):
        deep = {"a": deep}
    assert field_at_fault(properties=deep) == "properties"


def test_properties_with_too_many_levels_are_refused() -> None:
    for levels, good in ((32, True), (33, False), (250, False)):
        deep: dict[str, Any] = {}
        for _ in range(levels - 1):
            deep = {"a": deep}
        assert (read(properties=deep) if good else field_at_fault(properties=deep)) is not None, levels


def test_the_earliest_and_the_latest_time_are_accepted() -> None:
    assert read(occurredAt=EARLIEST).occurred_at == EARLIEST
    assert read(occurredAt=NOW + AHEAD).occurred_at == NOW + AHEAD


def test_unusual_but_valid_ids_are_accepted() -> None:
    for id in ("🛒", "ÿ" * 128, " ", "a/b?c=d", "'; DROP TABLE events; --", "مرحبا"):
        assert read(itemId=id).item_id == id


def test_a_null_field_counts_as_absent() -> None:
    assert read(id=None, source=None, quantity=None, properties=None).source == "shop"


def test_the_person_is_the_user_even_when_an_anonymous_id_is_given() -> None:
    assert read(anonymousId="g1").person == Person("user", "u1")
    assert read(userId=None, anonymousId="g1").person == Person("guest", "g1")


def test_the_identity_is_source_id_and_time_only() -> None:
    named = {"id": "e1", "occurredAt": "2026-01-31T12:00:00Z"}
    event = read(**named)
    assert read(**{**named, "occurredAt": "2026-01-31T13:00:00+01:00", "itemId": "i2"}).identity == event.identity
    for other in ({"id": "e2"}, {"source": "other"}, {"occurredAt": "2026-01-31T12:00:00.000001Z"}):
        assert read(**{**named, **other}).identity != event.identity


def test_hashes_never_change_between_versions() -> None:
    """They are kept in Postgres and in people's states."""
    event = read(
        id="e1", occurredAt="2026-01-31T12:00:00Z", type="PURCHASE", unitPrice="1.50", orderId="o1", properties={"b": 1}
    )
    assert (event.identity, event.digest, event.order) == (
        14582416273094710832,
        5641893641357873394,
        10910770614254850996,
    )


def test_the_digest_depends_on_the_body_and_not_on_its_notation() -> None:
    event = read(unitPrice="1.50", properties={"a": 1, "b": None})
    assert read(unitPrice=Decimal("1.5"), properties={"b": None, "a": 1}).digest == event.digest
    assert read(unitPrice="1.51", properties={"a": 1, "b": None}).digest != event.digest
    assert 0 <= event.digest < 2**63


def test_cents_are_price_times_quantity_else_the_value_of_a_purchase() -> None:
    assert read(type="PURCHASE", unitPrice="0.335", quantity=3).cents == 101
    assert read(type="PURCHASE", unitPrice="0.005").cents == 1
    assert read(type="PURCHASE", value="12.34").cents == 1234
    assert read(type="RATING", value="4.5", unitPrice="12").cents == 450, "of a rating, hundredths of its value"
    assert read(type="PURCHASE").cents == 0


def test_an_event_read_from_its_own_json_is_equal() -> None:
    event = read(
        id="e1", occurredAt="2026-01-31T12:00:00.123456Z", unitPrice="1.50", properties={"a": None, "🛒": [1.5]}
    )
    again = Event.model_validate_json(event.model_dump_json(by_alias=True, exclude_none=True))
    assert again == event and again.digest == event.digest


@given(st.datetimes(datetime(1990, 1, 1), datetime(2026, 2, 28), timezones=st.just(UTC)), st.text(min_size=1))  # noqa: DTZ001
def test_any_time_and_id_round_trip_exactly(occurred_at: datetime, id: str) -> None:
    try:
        check_id(id, "id")
    except InvalidInput:
        assert field_at_fault(id=id, occurredAt=occurred_at) == "id"
        return
    event = read(id=id, occurredAt=occurred_at.isoformat())
    assert event.id == id and microseconds(event.occurred_at) == microseconds(occurred_at)


def test_every_type_has_a_complete_example() -> None:
    extra: dict[str, dict[str, Any]] = {
        "RATING": {"value": "4"},
        "SEARCH": {"query": "tea"},
        "IMPRESSION": {"itemIds": ["i1"]},
    }
    for kind in EventType:
        assert read(type=kind, **extra.get(kind, {})).type is kind


def test_no_upload_makes_a_user_whose_id_begins_like_the_subject_of_a_guests_token() -> None:
    with pytest.raises(InvalidInput, match="must not begin with urn:penchant:") as refusal:
        read_user({"id": "urn:penchant:guest:g1"})
    assert refusal.value.field == "id"
    assert read_user({"id": "urn:other:u1"})["id"] == "urn:other:u1"
