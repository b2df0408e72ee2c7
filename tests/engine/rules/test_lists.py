"""What rules do to a list, whatever the catalogue, the ranking and the rules are."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from core import clock
from db.items import Item
from engine.catalogue.catalogue import Catalogue
from engine.explaining.rule_effects import effects_on, rules_about
from engine.recommending.pages import Page, Pin, Select, cut_page
from engine.rules import arranging
from engine.rules.effects import Effects
from engine.rules.in_force import RulesInForce, narrow_by
from engine.rules.rule import Rule
from engine.rules.settings import RuleKind, read_rule
from ml.affinity.boosting import boost
from ml.affinity.ranking import Scored
from ml.masks import Mask
from ml.ranked import REASON, Ranked, explain_as

BRANDS, CATEGORIES, GROUPS = ("a", "b", "c"), ("x", "y"), ("g", "h")
MARGINS = (None, True, "much", 0, 0.1, "0.2", 5, -3)
COLOURS: tuple[str | list[str] | None, ...] = (None, "red", ["blue", "red"], [])
BOUNDS: tuple[dict[str, float], ...] = ({"min": 0}, {"max": 0.1}, {"min": 0.1, "max": 1})
NOW = int(clock.now().timestamp())


@dataclass(frozen=True)
class Shop:
    """A catalogue, the items that a list may have but for rules, and a score of each item."""

    catalogue: Catalogue
    items: list[Item]
    available: Mask
    scores: NDArray[np.float32]  # by number


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    items = [
        Item(
            id=f"i{number}", number=number, group_id=draw(st.sampled_from((None, None, *GROUPS))), title=None,
            description=None, categories=(draw(st.sampled_from(CATEGORIES)),),
            brand=draw(st.sampled_from((None, *BRANDS))), image_url=None, url=None, app_url=None,
            attributes={"margin": draw(st.sampled_from(MARGINS)), "colour": draw(st.sampled_from(COLOURS))},
            offers=(), changed_seq=number, added=NOW - draw(st.integers(0, 20)) * 86_400,
        )
        for number in range(1, draw(st.integers(1, 30)) + 1)
    ]  # fmt: skip
    catalogue = Catalogue(cast(Any, None), 60)
    catalogue._change(items, [])
    available = np.zeros(catalogue.size, np.bool_)
    available[[item.number for item in items]] = [draw(st.integers(0, 5)) > 0 for _ in items]
    scores = np.zeros(catalogue.size, np.float32)
    scores[1 : len(items) + 1] = draw(st.permutations([(place + 1) / 64 for place in range(len(items))]))
    return Shop(catalogue, items, available, scores)


CHOSEN = st.one_of(
    st.fixed_dictionaries({"filter": st.fixed_dictionaries({"brands": st.lists(st.sampled_from(BRANDS), min_size=1)})}),
    st.fixed_dictionaries({"filter": st.fixed_dictionaries({"categories": st.just(["x"])})}),
    st.fixed_dictionaries({"filter": st.fixed_dictionaries({"not": st.just({"brands": ["a"]})})}),
    st.fixed_dictionaries({"filter": st.fixed_dictionaries({"ids": st.lists(st.sampled_from(["i1", "i2", "i9"]))})}),
    st.fixed_dictionaries({"addedWithin": st.integers(1, 15)}),
    st.sampled_from(BOUNDS).map(lambda bounds: {"ranges": [{"attribute": "margin", **bounds}]}),
)
PINS = st.fixed_dictionaries(
    {
        "kind": st.just("PIN"),
        "itemId": st.integers(1, 33).map(lambda number: f"i{number}"),
        "position": st.integers(1, 12),
        "priority": st.integers(-2, 2),
    }
)
PER = st.sampled_from(({"per": "BRAND"}, {"per": "CATEGORY"}, {"per": "ATTRIBUTE", "attribute": "colour"}))
AT_MOST = st.tuples(PER, st.integers(1, 3)).map(lambda drawn: {"kind": "AT_MOST", **drawn[0], "count": drawn[1]})


def with_items(kind: str, **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Rules of a kind that choose items."""
    own = st.fixed_dictionaries({"kind": st.just(kind), **more})
    return st.tuples(CHOSEN, own).map(lambda both: {**both[0], **both[1]})


SLOTS = st.tuples(with_items("SLOTS", count=st.integers(1, 3)), st.integers(0, 5)).map(
    lambda drawn: {**drawn[0], "of": drawn[0]["count"] + drawn[1]}
)
FACTOR = st.sampled_from((1.0, 1.5, 3.0, 50.0))
ANY = st.one_of(
    PINS, AT_MOST, SLOTS, with_items("EXCLUDE"), with_items("INCLUDE_ONLY"), with_items("BOOST", factor=FACTOR),
    with_items("BURY", factor=FACTOR),
)  # fmt: skip


def margin(item: Item) -> float | None:
    """The number that the attribute says."""
    value = item.attributes["margin"]
    return None if value in (None, "much") or value is True else float(value)


def matches(rule: Rule, item: Item) -> bool:
    """Whether a rule is about an item, in the plainest way."""
    says, filter = rule.says, rule.filter
    for each in says.ranges:
        value = margin(item)
        if value is None or (each.min is not None and value < each.min) or (each.max is not None and value > each.max):
            return False
    if says.added_within is not None and item.added <= NOW - says.added_within * 86_400:
        return False
    if filter is None:
        return True
    inside = filter.without is None or item.brand not in (filter.without.brands or ())
    inside &= filter.ids is None or item.id in filter.ids
    inside &= filter.brands is None or item.brand in filter.brands
    return inside and (filter.categories is None or not set(filter.categories).isdisjoint(item.categories))


def rules_of(documents: Sequence[dict[str, Any]]) -> list[Rule]:
    return [Rule.of(f"r{at}", 1, read_rule(document)) for at, document in enumerate(documents)]


def effects_of(rules: Sequence[Rule], shop: Shop) -> Effects:
    """The effects."""
    return in_force(rules, shop).effects


def in_force(rules: Sequence[Rule], shop: Shop) -> RulesInForce:
    """The rules, of which half are those of the page."""
    ordered = sorted(rules, key=lambda rule: rule.order)
    found = RulesInForce(ordered[1::2], None, RulesInForce(ordered[::2], None))
    asyncio.run(found.ready(shop.catalogue))
    return found


def boosted(shop: Shop, effects: Effects) -> NDArray[np.float32]:
    """The scores by number, with boosts."""
    numbers = np.arange(1, len(shop.items) + 1, dtype=np.uint32)
    scores = shop.scores[numbers]
    none: Any = None
    scored = Scored(none, shop.available, None, none, numbers, scores, scores, np.argsort(-scores))
    found = shop.scores.copy()
    found[numbers] = boost(scored, effects.factors_of(numbers)).scores
    return found


def listed(
    shop: Shop,
    rules: Sequence[Rule],
    first: int,
    seen: Sequence[int] = (),
    shown: Sequence[int] = (),
    lengths: list[int] | None = None,
) -> Page:
    """A page of a list. `shown`: items elsewhere on the page; `lengths` gets how many items each read returned."""
    effects = effects_of(rules, shop)
    allowed, scores = shop.available.copy(), boosted(shop, effects)
    narrow_by(cast(Any, type("Rules", (), {"effects": effects})), allowed)

    def select(mask: Mask, length: int) -> Ranked:
        numbers = np.flatnonzero(mask).astype(np.uint32)
        numbers = numbers[np.argsort(-scores[numbers], kind="stable")][:length]
        if lengths is not None:
            lengths.append(len(numbers))
        return Ranked(numbers, scores[numbers], explain_as("OTHER"))

    def score(mask: Mask) -> Select:
        return partial(select, mask)

    elsewhere = np.array(shown, np.uint32) if shown else None
    return cut_page(
        shop.catalogue, "list", Pin(NOW, None, list(seen)), allowed, first, score, elsewhere, effects=effects
    )


def allowed_items(shop: Shop, rules: Sequence[Rule]) -> dict[int, Item]:
    """The items that a list may have."""

    def may(item: Item) -> bool:
        for rule in rules:
            if rule.says.kind is RuleKind.EXCLUDE and matches(rule, item):
                return False
            if rule.says.kind is RuleKind.INCLUDE_ONLY and not matches(rule, item):
                return False
        return bool(shop.available[item.number])

    return {item.number: item for item in shop.items if may(item)}


def code(rule: Rule, item: Item) -> str | None:
    """What AT_MOST counts of an item."""
    if not matches(rule, item):
        return None
    if rule.says.per == "ATTRIBUTE":
        colour = item.attributes["colour"]
        return colour[0] if isinstance(colour, list) and colour else colour or None
    return item.brand if rule.says.per == "BRAND" else item.categories[-1]


SOME = st.lists(ANY, max_size=6)


@settings(max_examples=100, deadline=None)
@given(shops(), SOME, st.integers(1, 20))
def test_a_list_has_only_what_it_may_have_once_and_is_short_for_a_reason(
    shop: Shop, documents: list[dict[str, Any]], first: int
) -> None:
    rules = rules_of(documents)
    may, page = allowed_items(shop, rules), listed(shop, rules, first)
    items = [may[number] for number in page.numbers]
    groups = [item.group_id for item in items if item.group_id]
    assert len(set(page.numbers)) == len(items) and len(set(groups)) == len(groups)
    assert page.scores == sorted(page.scores, reverse=True)
    if len(items) < first:
        bounds = [rule for rule in rules if rule.says.kind is RuleKind.AT_MOST]
        counts = [[code(rule, item) for item in items] for rule in bounds]
        for item in may.values():
            full = [
                (own := code(rule, item)) is not None and codes.count(own) >= (rule.says.count or 0)
                for rule, codes in zip(bounds, counts, strict=True)
            ]
            assert item in items or item.group_id in groups or any(full)


@settings(max_examples=100, deadline=None)
@given(shops(), SOME, st.integers(1, 8), st.integers(1, 8))
def test_pages_of_a_list_are_its_parts(shop: Shop, documents: list[dict[str, Any]], first: int, second: int) -> None:
    rules = rules_of(documents)
    whole, begin = listed(shop, rules, first + second), listed(shop, rules, first)
    assert begin.numbers == whole.numbers[:first]
    rest = listed(shop, rules, second, begin.numbers) if begin.more else None
    assert begin.numbers + (rest.numbers if rest else []) == whole.numbers
    assert begin.more == (len(whole.numbers) > first)


@settings(max_examples=100, deadline=None)
@given(shops(), st.lists(PINS, min_size=1, max_size=5), SOME, st.integers(1, 20))
def test_pins_are_where_they_belong_and_the_next_item_takes_the_place_of_those_that_cannot_be(
    shop: Shop, pins: list[dict[str, Any]], others: list[dict[str, Any]], first: int
) -> None:
    rules = rules_of([*pins, *others])
    may, page = allowed_items(shop, rules), listed(shop, rules, first)
    taken, groups, pinned = set[str](), set[str](), dict[int, int]()
    ordered = sorted((rule for rule in rules if rule.says.kind is RuleKind.PIN), key=lambda rule: rule.order)
    for position in range(1, 13):
        for rule in ordered:
            item = next((one for one in may.values() if one.id == rule.says.item_id), None)
            if rule.says.position != position or item is None or item.id in taken or item.group_id in groups:
                continue
            taken.add(item.id)
            groups.update([item.group_id] if item.group_id else [])
            pinned[position] = item.number
            break
    kinds = {rule.says.kind for rule in rules}
    ends = not page.numbers or page.numbers[-1] in pinned.values() or {RuleKind.SLOTS, RuleKind.AT_MOST} <= kinds
    for position, number in pinned.items():
        if position <= len(page.numbers) and not ends:
            assert page.numbers[position - 1] == number
        elif number in page.numbers:  # the list ends before its position
            assert page.numbers.index(number) < position
    reasons = {number for number, reason in zip(page.numbers, page.reasons, strict=True) if reason == REASON["PINNED"]}
    assert reasons == set(pinned.values()) & set(page.numbers)


@settings(max_examples=100, deadline=None)
@given(shops(), st.lists(AT_MOST, min_size=1, max_size=3), st.lists(PINS, max_size=3), st.integers(1, 20))
def test_never_more_than_so_many_of_a_brand_or_category_but_for_pins(
    shop: Shop, bounds: list[dict[str, Any]], pins: list[dict[str, Any]], first: int
) -> None:
    rules = rules_of([*bounds, *pins])
    page = listed(shop, rules, first)
    chosen = [number for number, why in zip(page.numbers, page.reasons, strict=True) if why != REASON["PINNED"]]
    for rule in rules[: len(bounds)]:
        codes = [code(rule, shop.items[number - 1]) for number in (chosen if pins else page.numbers)]
        assert all(codes.count(each) <= (rule.says.count or 0) for each in set(codes) - {None})
    if not pins:
        ranking = sorted(page.numbers, key=lambda number: -shop.scores[number])
        assert page.numbers == ranking


@settings(max_examples=100, deadline=None)
@given(shops(), SLOTS, st.lists(st.one_of(AT_MOST, with_items("BOOST", factor=FACTOR)), max_size=3))
def test_each_block_has_its_slots_while_items_match(
    shop: Shop, slots: dict[str, Any], others: list[dict[str, Any]]
) -> None:
    rules = rules_of([slots, *others])
    may, page = allowed_items(shop, rules), listed(shop, rules, 20)
    of, count = slots["of"], slots["count"]
    items = [may[number] for number in page.numbers]
    for begin in range(0, len(items) - of + 1, of):
        block, before = items[begin : begin + of], items[: begin + of]
        groups = {item.group_id for item in before if item.group_id}
        left = [
            item for item in may.values()
            if matches(rules[0], item) and item not in before and item.group_id not in groups
        ]  # fmt: skip
        assert sum(matches(rules[0], item) for item in block) >= count or not left


@settings(max_examples=100, deadline=None)
@given(shops(), st.lists(st.one_of(with_items("BOOST", factor=FACTOR), with_items("BURY", factor=FACTOR)), max_size=4))
def test_factors_multiply_odds_and_never_move_an_item_the_wrong_way(
    shop: Shop, documents: list[dict[str, Any]]
) -> None:
    rules = rules_of(documents)
    found = boosted(shop, effects_of(rules, shop))
    factors = {item.number: np.prod([rule.factor for rule in rules if matches(rule, item)]) for item in shop.items}
    for number, factor in factors.items():
        odds = shop.scores[number] / (1 - shop.scores[number]) * np.clip(factor, 1e-3, 1e3)
        assert abs(found[number] - odds / (1 + odds)) < 1e-4
    order = [number for number in listed(shop, rules, 30).numbers if shop.items[number - 1].group_id is None]
    for at, number in enumerate(order):
        for later in order[at + 1 :]:
            assert factors[number] > factors[later] * 0.999 or shop.scores[number] > shop.scores[later]


@settings(max_examples=100, deadline=None)
@given(shops(), st.sampled_from(("BOOST", "BURY")), FACTOR, st.sampled_from(({}, {"filter": {"brands": ["a", "b"]}})))
def test_factors_by_an_attribute_grow_with_its_numbers_up_to_the_whole(
    shop: Shop, kind: str, factor: float, chosen: dict[str, Any]
) -> None:
    (rule,) = rules_of([{"kind": kind, "factor": factor, "attribute": "margin", **chosen}])
    found = effects_of([rule], shop).factors_of(np.arange(1, len(shop.items) + 1, dtype=np.uint32))
    own = list(zip(shop.items, (found if kind == "BOOST" else 1 / found).tolist(), strict=True))
    about = sorted((number, each) for item, each in own if matches(rule, item) and (number := margin(item)) is not None)
    others = [each for item, each in own if not matches(rule, item) or margin(item) is None]
    assert all(each == 1 for each in others)
    for (low, below), (high, above) in pairwise(about):
        assert below == above if low == high or factor == 1 else below < above
    if about:
        assert about[-1][1] == pytest.approx(factor)
        assert about[0][1] == 1 or about[0][0] == about[-1][0]
    held = in_force([rule], shop)
    for item, each in zip(shop.items, found.tolist(), strict=True):
        about_it = asyncio.run(rules_about(held, shop.catalogue, item.number))
        effects = [effect.factor for effect in effects_on(held, about_it, shop.catalogue, item.number)]
        assert effects == ([pytest.approx(each)] if matches(rule, item) else [])


@settings(max_examples=100, deadline=None)
@given(shops(), SOME, st.integers(1, 20), st.lists(st.integers(1, 30), max_size=4))
def test_a_ranking_that_is_read_bit_by_bit_makes_the_same_list(
    shop: Shop, documents: list[dict[str, Any]], first: int, shown: list[int]
) -> None:
    rules, whole = rules_of(documents), arranging.LEAST
    shown = [number for number in shown if number <= len(shop.items)]
    expected = listed(shop, rules, first, shown=shown)
    arranging.LEAST = 1  # type: ignore[misc]
    try:
        found = listed(shop, rules, first, shown=shown)
    finally:
        arranging.LEAST = whole  # type: ignore[misc]
    assert found.numbers == expected.numbers


def test_a_list_that_a_bound_ends_does_not_read_the_whole_ranking() -> None:
    items = [
        Item(
            id=f"i{number}", number=number, group_id=None, title=None, description=None, categories=("x",),
            brand="ab"[number % 2], image_url=None, url=None, app_url=None, attributes={}, offers=(),
            changed_seq=number, added=NOW,
        )
        for number in range(1, 5_001)
    ]  # fmt: skip
    catalogue = Catalogue(cast(Any, None), 60)
    catalogue._change(items, [])
    available = np.zeros(catalogue.size, np.bool_)
    available[1:5_001] = True
    scores = np.linspace(1, 0, catalogue.size, dtype=np.float32)
    lengths = list[int]()
    rules = rules_of([{"kind": "AT_MOST", "count": 3, "per": "BRAND"}])
    page = listed(Shop(catalogue, items, available, scores), rules, 20, lengths=lengths)
    assert page.numbers == [1, 2, 3, 4, 5, 6]
    assert sum(lengths) < 100
