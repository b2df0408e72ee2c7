"""The settings of placements are checked as a whole, and every wrong field is named."""

from decimal import Decimal
from typing import Any

import pytest

from engine.placements.changing import patched
from engine.placements.settings import WrongSettings, read_settings

WHOLE: dict[str, Any] = {
    "filter": {"categories": ["tea"], "not": {"brands": ["x"]}, "price": {"min": "1.5"}, "attributes": []},
    "price": [{"market": "DE", "from": "5", "currency": "EUR"}, {"to": "20"}],
    "repeat": "DUE_ONLY",
    "fallback": ["NEW", "POPULAR"],
    "texts": {"en": {"POPULAR": "Our best: {item}"}},
    "diversity": 0.3,
    "repeatShare": 0.4,
    "explore": 0.1,
}


def test_what_is_stored_is_read_again_as_it_was() -> None:
    assert read_settings(WHOLE).as_json() == WHOLE
    assert read_settings(read_settings(WHOLE).as_json()) == read_settings(WHOLE)
    assert read_settings({"price": [{"to": Decimal("1.50")}]}).as_json() == {"price": [{"to": "1.50"}]}
    assert read_settings({"list": "PERSONAL", "repeat": "ALLOWED", "fallback": [], "diversity": 0}).as_json() == {}
    assert read_settings({"repeatShare": "OWN"}).as_json() == {"repeatShare": "OWN"}
    assert read_settings({"repeatShare": Decimal(1)}).as_json() == {"repeatShare": 1.0}
    assert read_settings({"diversity": Decimal("0.3")}).as_json() == {"diversity": 0.3}


def test_a_patch_keeps_what_it_leaves_out_and_null_sets_the_default() -> None:
    assert patched(None, {"repeat": "HIDDEN"}) == {"repeat": "HIDDEN"}
    assert patched({"repeat": "HIDDEN", "fallback": ["NEW"]}, {"fallback": None}) == {"repeat": "HIDDEN"}
    assert patched({"repeat": "HIDDEN"}, {"fallback": ["NEW"]}) == {"repeat": "HIDDEN", "fallback": ["NEW"]}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ([], [None]),
        ({"unheard": 1, "repeat": "NEVER"}, ["repeat", "unheard"]),
        ({"list": "UNHEARD"}, ["list"]),
        ({"list": "BUY_AGAIN", "repeat": "HIDDEN"}, ["repeat"]),
        ({"first": 0}, ["first"]),
        ({"first": 21}, ["first"]),
        ({"first": "3"}, ["first"]),
        ({"filter": {"categorys": []}}, ["filter.categorys"]),
        ({"filter": {"not": {"not": {"not": {"not": {}}}}}}, ["filter"]),
        ({"filter": {"ids": [str(at) for at in range(501)]}}, ["filter.ids"]),
        ({"filter": {"ids": ["a"] * 300, "brands": ["b"] * 300}}, ["filter"]),
        ({"filter": {"categories": ["a" * 1025]}}, ["filter.categories.0"]),
        ({"filter": {"categories": ["a\x00"]}}, ["filter.categories.0"]),
        ({"filter": {"price": {"min": 2, "max": 1}}}, ["filter"]),
        ({"filter": {"price": {"min": "NaN"}}}, ["filter.price.min"]),
        ({"price": [{}]}, ["price.0"]),
        ({"price": [{"from": 2, "to": 1}]}, ["price.0"]),
        ({"price": [{"to": -1}, {"to": 1.5}]}, ["price.0.to", "price.1.to"]),
        ({"price": [{"to": 1}, {"to": 2}]}, ["price"]),
        ({"price": [{"to": 1, "currency": "EURO"}]}, ["price.0.currency"]),
        ({"price": [{"to": 1, "market": str(at)} for at in range(51)]}, ["price"]),
        ({"fallback": ["NEW", "NEW"]}, ["fallback"]),
        ({"diversity": 1.01}, ["diversity"]),
        ({"diversity": "0.5"}, ["diversity"]),
        ({"explore": 0.31}, ["explore"]),
        ({"repeatShare": -0.1}, ["repeatShare"]),
        ({"repeatShare": "0.5"}, ["repeatShare"]),
        ({"repeatShare": True}, ["repeatShare"]),
        ({"diversity": float("nan")}, ["diversity"]),
        ({"texts": {"en": {"UNHEARD": "x"}}}, ["texts"]),
        ({"texts": {"en": {"POPULAR": "{cause}"}}}, ["texts"]),
        ({"texts": {"en": {"POPULAR": "{item.__class__}"}}}, ["texts"]),
        ({"texts": {"en": {"POPULAR": "a" * 201}}}, ["texts"]),
        ({"texts": {"english": {}}}, ["texts"]),
        ({"texts": {"en": "x"}}, ["texts.en"]),
        ({"texts": {f"a{chr(97 + at // 26)}{chr(97 + at % 26)}": {} for at in range(51)}}, ["texts"]),
    ],
)
def test_wrong_settings_are_refused_and_every_field_named(document: Any, fields: list[str | None]) -> None:
    with pytest.raises(WrongSettings) as refused:
        read_settings(document)
    assert sorted((fault.field for fault in refused.value.faults), key=str) == sorted(fields, key=str)
    assert all(len(str(fault)) <= 200 for fault in refused.value.faults)
