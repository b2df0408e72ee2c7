"""What is said when a rule is saved that gets in the way of another, or of nothing."""

import asyncio
from typing import Any, cast

import pytest

from db.items import Item
from engine.catalogue.attribute_columns import AttributeColumn
from engine.catalogue.catalogue import Catalogue
from engine.explaining.rule_effects import rules_about
from engine.placements.settings import WrongSettings
from engine.rules.conflicts import conflicts_of
from engine.rules.in_force import RulesInForce
from engine.rules.rule import Rule
from engine.rules.settings import read_rule


class Shop(Catalogue):
    """Attributes are read from all items in a thread alone."""

    def attribute(self, key: str) -> AttributeColumn:
        assert self._columns.find(key) is not None
        return super().attribute(key)


def catalogue() -> Catalogue:
    """An item i1 of the category x, and an item i2 of z."""
    names = ("group_id", "title", "description", "brand", "image_url", "url", "app_url")
    rest: dict[str, Any] = {**dict.fromkeys(names), "attributes": {}, "offers": (), "changed_seq": 1, "added": 0}
    found = Shop(cast(Any, None), 60)
    items = [Item(id=f"i{number}", number=number, categories=(name,), **rest) for number, name in enumerate("xz", 1)]
    found._change(items, [])
    return found


SHOP = catalogue()


def rule(id: str, kind: str, **more: Any) -> Rule:
    return Rule.of(id, 1, read_rule({"kind": kind, **more}))


def conflicts(saved: Rule, *others: Rule) -> list[tuple[str, str | None]]:
    return [(each.kind.value, each.rule_id) for each in asyncio.run(conflicts_of(saved, others, SHOP))]


PIN = rule("pin", "PIN", itemId="i1", position=1)
NO_X = rule("no x", "EXCLUDE", filter={"categories": ["x"]})
ONLY_Y = rule("only y", "INCLUDE_ONLY", filter={"not": {"categories": ["x"]}})


def test_a_pin_and_what_keeps_its_item_out_are_told_whichever_is_saved_last() -> None:
    assert conflicts(PIN, NO_X) == [("PIN_EXCLUDED", "no x")]
    assert conflicts(NO_X, PIN) == [("PIN_EXCLUDED", "pin")]
    assert conflicts(PIN, ONLY_Y) == [("PIN_EXCLUDED", "only y")]
    assert conflicts(PIN, rule("only x", "INCLUDE_ONLY", filter={"categories": ["x"]})) == []
    assert conflicts(PIN, rule("no y", "EXCLUDE", filter={"categories": ["y"]})) == []


def test_an_exclusion_of_all_that_can_be_bought_is_told() -> None:
    assert conflicts(rule("no", "EXCLUDE", filter={"available": True})) == [("LEAVES_NOTHING", None)]
    assert conflicts(rule("no", "EXCLUDE", filter={"not": {}})) == [("MATCHES_NOTHING", None)]
    assert conflicts(NO_X) == []


def test_a_rule_for_all_items_says_nothing() -> None:
    for kind, more in (("EXCLUDE", {}), ("BOOST", {"factor": 2}), ("PIN", {"itemId": "i1", "position": 1})):
        with pytest.raises(WrongSettings, match="filter"):
            rule("all", kind, filter={}, **more)
    assert rule("few", "AT_MOST", per="BRAND", count=2, filter={}).numbers(SHOP, None).tolist() == [1, 2]


def test_two_pins_of_one_position_are_told_where_both_may_hold() -> None:
    def at(id: str, position: int = 1, **when: Any) -> Rule:
        return rule(id, "PIN", itemId="i1", position=position, when=when)

    assert conflicts(PIN, at("other")) == [("SAME_POSITION", "other")]
    assert conflicts(PIN, at("other", position=2)) == []
    assert conflicts(at("one", placements=["home"]), at("other", placements=["cart"])) == []
    assert conflicts(at("one", placements=["home"]), at("other", markets=["DE"])) == [("SAME_POSITION", "other")]
    first, second = (
        at("one", to="2026-01-02T00:00:00Z"),
        rule("other", "PIN", itemId="i1", position=1, when={"from": "2026-01-02T00:00:00Z"}),
    )
    assert conflicts(first, second) == []
    assert conflicts(at("one"), at("one")) == [], "a rule is in nobody's own way"


def test_a_rule_about_no_item_is_told() -> None:
    assert conflicts(rule("a", "PIN", itemId="unheard", position=1)) == [("MATCHES_NOTHING", None)]
    assert conflicts(rule("a", "INCLUDE_ONLY", filter={"brands": ["unheard"]})) == [("MATCHES_NOTHING", None)]
    assert conflicts(rule("a", "AT_MOST", count=1, per="BRAND")) == []


def test_attributes_are_read_while_others_run() -> None:
    def cheap(attribute: str) -> Rule:
        return rule("cheap", "EXCLUDE", ranges=[{"attribute": attribute, "max": 1}])

    assert conflicts(cheap("one")) == [("MATCHES_NOTHING", None)]
    assert conflicts(PIN, cheap("two")) == []
    assert conflicts(cheap("three"), PIN) == [("MATCHES_NOTHING", None)]
    assert asyncio.run(rules_about(RulesInForce([cheap("four")], None), SHOP, 1)) == []
