"""The contract of uploads: strict values, bounded work, and plain words for what is refused."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

import pytest
from graphql import GraphQLError
from pydantic import ValidationError

from api.graphql.types.scalars import read_json
from core import contract, refusals, uploads
from core.contract import EventType, read_event
from core.errors import InvalidInput
from core.texts import plain_json
from core.uploads import (
    MOST_OFFERS,
    ImageUpload,
    ItemUpload,
    MoneyUpload,
    OfferUpload,
    UserUpload,
    read_item,
    read_user,
)
from tests.odd_elements import VALUES, input_type, odd_elements

Read = Callable[[Mapping[str, Any]], object]
PYTHON = re.compile(
    r"Input should|valid (tuple|dictionary|string|integer|datetime|decimal|boolean|list)|\b(None|NoneType|True|False"
    r"|tuple|dict|dictionary|datetime|pydantic|Decimal|str|int|bool|float|instance|class|parse|validation)\b"
)


def refusal(read: Read, raw: Mapping[str, Any]) -> InvalidInput | None:
    try:
        read(raw)
    except InvalidInput as error:
        return error
    return None


def field_at_fault(**fields: Any) -> str | None:
    error = refusal(read_item, {"id": "a", **fields})
    return error.field if error else None


@pytest.mark.parametrize("value", [1, 1.0, "1", "1767614400", True, "2026-01-05", "2026-01-05T12:00:00", b"x", [], {}])
def test_a_time_is_rfc_3339_with_an_offset_and_nothing_else(value: object) -> None:
    assert field_at_fault(updatedAt=value) == "updatedAt"
    error = refusal(read_user, {"id": "u", "updatedAt": value})
    assert error and error.field == "updatedAt"


@pytest.mark.parametrize(
    "value",
    ["1_0", "1e3", " 12 ", "١٢", "NaN", "Infinity", "-0", "-1", "", "+1", ".", "0x1", 1.5, 1.0, -0.0, True, b"1", [],
     {}, float("nan"), 10**30, "0.00001", "12345678901", "00000000001", "1" * 5_000],
)  # fmt: skip
def test_a_price_is_a_text_of_plain_digits_or_a_whole_number(value: object) -> None:
    for name in ("price", "listPrice"):
        assert field_at_fault(offers=[{name: value}]) == f"offers.0.{name}"


@pytest.mark.parametrize("value", ["12.50", "0", 12, Decimal("12.50"), "9999999999.9999"])
def test_a_price_in_plain_digits_is_kept_as_written(value: object) -> None:
    (offer,) = cast(Any, read_item({"id": "a", "offers": [{"price": value}]})["offers"])
    assert str(offer["price"]) == str(value)


@pytest.mark.parametrize("value", ["yes", "true", 1, 0, "", "on", 1.0, []])
def test_available_is_true_or_false(value: object) -> None:
    assert field_at_fault(offers=[{"available": value}]) == "offers.0.available"


@pytest.mark.parametrize("value", [7, 7.0, True, b"a", None, [], "", "a\x00", "a\n", "\x85", "\ud800", "x" * 129])
def test_an_id_is_a_text_without_control_characters(value: object) -> None:
    assert field_at_fault(id=value) == "id"
    assert field_at_fault(groupId=value) == (None if value is None else "groupId")


def test_ids_are_compared_as_they_are_written() -> None:
    for id in (" ", "a ", "\u202ea", "🛒"):
        assert read_item({"id": id})["id"] == id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"colour": 1}, "colour is not a field"),
        ({"": 1}, "(the empty name) is not a field"),
        ({"offers": [{"price": "1"}, {"prize": 1}]}, "offers.1.prize is not a field"),
        ({"updated_at": "2026-01-05T12:00:00Z"}, "updated_at is not a field"),
        ({"id": None}, "id must be a string"),
        ({"title": 5}, "title must be a string"),
        ({"title": "a\x00"}, "title must not contain the NUL character"),
        ({"categories": "a"}, "categories must be a list"),
        ({"categories": ["a"] * 101}, "categories must have at most 100 elements"),
        ({"categories": ["a", ""]}, "categories.1 must not be empty"),
        ({"url": "shop.example"}, "url must be a link with its scheme"),
        ({"offers": [{"price": "-1"}]}, "offers.0.price must be at least 0"),
        ({"offers": ["a"]}, "offers.0 must be an object"),
        ({"offers": [{}] * 501}, "offers must have at most 500 elements"),
        ({"attributes": []}, "attributes must be an object"),
        ({"price": "dear"}, 'price must be a number in plain digits, such as "12.50"'),
        ({"price": []}, 'price must be a number in plain digits, such as "12.50"'),
        ({"price": {"amount": "-1"}}, "price.amount must be at least 0"),
        ({"price": {"currency": "EUR"}}, "price.amount is required"),
        ({"listPrice": {"prize": 1}}, "listPrice.prize is not a field"),
        ({"currency": "eur"}, "currency is not a currency of ISO 4217"),
        ({"available": "yes"}, "available must be true or false"),
        ({"image": "shop.example"}, "image must be a link with its scheme"),
        ({"image": {"url": None}}, "image.url must be a string"),
        ({"image": {"href": "a"}}, "image.href is not a field"),
        ({"image": None, "imageUrl": None}, "imageUrl cannot be given together with image"),
        ({"offers": None, "price": "1"}, "offers cannot be given together with price"),
        ({"price": {"amount": "1", "currency": "EUR"}, "currency": "USD"}, "currency must be equal to price.currency"),
        (
            {"price": {"amount": "1", "currency": "EUR"}, "listPrice": {"amount": "1", "currency": None}},
            "listPrice.currency must be equal to price.currency",
        ),
    ],
)
def test_a_refusal_names_the_field_as_its_sender_writes_it(fields: dict[str, Any], message: str) -> None:
    assert str(refusal(read_item, {"id": "a", **fields})) == message


PRICE, LIST_PRICE = {"amount": "12.50", "currency": "EUR"}, {"amount": 20, "currency": "EUR"}
LINK = "https://shop.example/tea.png"


@pytest.mark.parametrize(
    "fields",
    [
        {"image": {"url": LINK}, "market": "de", "price": PRICE, "listPrice": LIST_PRICE, "available": False},
        {"image": LINK, "market": "de", "price": "12.50", "listPrice": 20, "currency": "EUR", "available": False},
        {
            "imageUrl": LINK,
            "offers": [{"market": "de", "price": "12.50", "listPrice": 20, "currency": "EUR", "available": False}],
        },
    ],
)
def test_an_item_may_be_written_as_it_is_read_and_short(fields: dict[str, Any]) -> None:
    offer = {
        "market": "de", "price": Decimal("12.50"), "list_price": Decimal(20), "currency": "EUR", "available": False,
    }  # fmt: skip
    assert read_item({"id": "tea", **fields}) == {"id": "tea", "image_url": LINK, "offers": (offer,)}


def test_a_patch_has_the_fields_that_are_named_and_no_other() -> None:
    assert read_item({"id": "tea", "updatedAt": None}) == {"id": "tea"}
    assert read_item({"id": "tea", "market": "de"}) == {"id": "tea"}
    assert read_item({"id": "tea", "available": True}) == {
        "id": "tea",
        "offers": ({"market": None, "available": True},),
    }
    cleared = {"id": "tea", "offers": ({"market": None, "price": None},)}
    assert read_item({"id": "tea", "price": None}) == read_item({"id": "tea", "offers": [{"price": None}]}) == cleared
    assert read_item({"id": "tea", "image": None}) == {"id": "tea", "image_url": None}
    assert read_user({"id": "ann", "traits": None}) == {"id": "ann", "traits": None}


def test_a_field_without_a_value_is_required() -> None:
    assert str(refusal(read_user, {"traits": {}})) == "id is required"


def test_a_text_that_looks_like_an_escaped_nul_is_no_nul() -> None:
    assert plain_json({"a": "\\u0000"}, 100) == {"a": "\\u0000"}
    for bad in ({"a": ["\x00"]}, {"\x00": 1}, {"a": {"b": "\\u0000\x00"}}):
        with pytest.raises(ValueError, match="NUL"):
            plain_json(bad, 100)


@pytest.mark.parametrize("inside", [{}, 1, [], "a", [[]]])
def test_free_json_has_as_many_levels_as_the_graphql_scalar(inside: Any) -> None:
    verdicts = set[tuple[bool, bool]]()
    for levels in range(28, 36):
        value = inside
        for _ in range(levels):
            value = {"a": value}
        verdicts.add((is_accepted(lambda: plain_json(value, 10_000)), is_accepted(lambda: read_json(value))))  # noqa: B023
    assert verdicts == {(True, True), (False, False)}


def is_accepted(read: Callable[[], object]) -> bool:
    try:
        read()
    except (ValueError, GraphQLError):
        return False
    return True


def test_only_the_first_of_very_many_faults_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pydantic collects all faults otherwise: the work would grow with what an attacker sends."""
    found: list[int] = []
    count = refusals.first_error

    def counted(error: ValidationError) -> Any:
        found.append(error.error_count())
        return count(error)

    monkeypatch.setattr(uploads, "first_error", counted)
    monkeypatch.setattr(contract, "first_error", counted)
    wrong = [{"price": "x", "listPrice": "y", "currency": 1}] * MOST_OFFERS
    unknown = {str(number): 1 for number in range(40_000)}
    assert field_at_fault(offers=wrong) == "offers.0.price"
    assert field_at_fault(categories=[1] * 40_000) == "categories.0"
    assert field_at_fault(**unknown) == "0"
    assert field_at_fault(offers=[unknown]) == "offers.0.0"
    event = {"type": "IMPRESSION", "userId": "u", "itemIds": [""] * 500}
    assert refusal(read_sent, event) and refusal(read_sent, {**event, **unknown})
    assert max(found) <= 3


def read_sent(raw: Mapping[str, Any]) -> object:
    return read_event(raw, source="shop", received_at=datetime(2026, 3, 1, tzinfo=UTC))


def all_refusals() -> list[InvalidInput]:
    """What the contracts say about odd elements of every kind."""
    readers: list[tuple[Read, str, dict[str, Any]]] = [
        (read_item, "ItemInput", {"id": "a"}),
        (read_user, "UserInput", {"id": "a"}),
        *((read_sent, "EventInput", {"type": type, "userId": "u", "itemId": "i"}) for type in EventType),
    ]
    elements = [(read, one) for read, name, base in readers for one in odd_elements(input_type(name), base)]
    offers = odd_elements(input_type("OfferInput"), {})
    elements += [(read_item, {"id": "a", "offers": [offer]}) for offer in offers]
    for name, inside in (("price", "MoneyInput"), ("image", "ImageInput")):
        elements += [(read_item, {"id": "a", name: one}) for one in odd_elements(input_type(inside), {})]
    elements += [(read, {**base, "x" * 10_000: 1}) for read, _, base in readers]
    elements += [(read, {}) for read, _, _ in readers]
    return [error for read, one in elements if (error := refusal(read, one)) is not None]


def test_refusals_are_short_plain_words_that_begin_with_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    types = set[str]()
    words = refusals.words_of

    def noted(error: Any) -> str:
        types.add(error["type"])
        return words(error)

    monkeypatch.setattr(uploads, "words_of", noted)
    monkeypatch.setattr(contract, "words_of", noted)
    errors = all_refusals()
    for error in errors:
        message = str(error)
        assert len(message) <= 200 and not PYTHON.search(message), message
        assert error.field and (message.startswith(error.field) or "anonymousId" in message or "an id" in message)
    assert len(errors) > 1_000 and len(types) > 10
    known = {*refusals._WORDS, "string_pattern_mismatch", "value_error"}
    assert types <= known, "these pydantic errors need plain words"


@pytest.mark.parametrize("kind", [ItemUpload, UserUpload, OfferUpload, MoneyUpload, ImageUpload])
def test_the_contract_has_the_fields_of_the_graphql_input(kind: type[Any]) -> None:
    input = input_type(kind.__name__.replace("Upload", "Input"))
    assert set(input.fields) == {field.alias for field in kind.model_fields.values()}


def test_odd_values_have_every_kind_of_json() -> None:
    assert {type(value) for value in VALUES} == {str, int, float, bool, list, dict, type(None)}
