"""The rules of a list are found without a look at each: the same that a look at each finds."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.items import Item
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.explaining.rule_effects import MOST_TOLD, effects_on, excluding, rules_about
from engine.rules import in_force, rule_book
from engine.rules.in_force import RulesInForce, narrow_by
from engine.rules.rule import Rule
from engine.rules.rule_book import RuleBook
from engine.rules.settings import read_rule

PLACES, MARKETS, ITEMS, CATEGORIES = ("home", "cart"), ("DE", "FR"), ("i1", "i2"), ("x", "y")
SEGMENTS = ("loyal", "new")
TIMES = tuple(f"2026-01-0{day}T00:00:00Z" for day in range(1, 6))
FIRST = 1_767_225_600  # 2026-01-01


def catalogue() -> Catalogue:
    """i1 of the category x, i2 of none."""
    found = Catalogue(cast(Any, None), 60)
    rest: dict[str, Any] = dict.fromkeys(
        ("group_id", "title", "description", "brand", "image_url", "url", "app_url"), None
    )
    rest |= {"attributes": {}, "offers": (), "changed_seq": 1, "added": 0}
    found._change(
        [Item(id="i1", number=1, categories=("x",), **rest), Item(id="i2", number=2, categories=(), **rest)], []
    )
    return found


@dataclass(frozen=True)
class Asked:
    """What a request says of the page."""

    market: str | None
    category: str | None
    context_items: Sequence[str]
    segments: frozenset[str] = frozenset()
    query: str | None = None


def some(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=2)


WHEN = st.fixed_dictionaries(
    {
        "placements": some(PLACES),
        "markets": some(MARKETS),
        "itemIds": some(ITEMS),
        "categories": some(CATEGORIES),
        "segments": some(SEGMENTS),
        "queries": some(("Crème brûlée", "tea", "green TEA!")),
    },
    optional={"from": st.sampled_from(TIMES[:2]), "to": st.sampled_from(TIMES[2:])},
)
ASKED = st.builds(
    Asked,
    st.sampled_from((None, *MARKETS)),
    st.sampled_from((None, *CATEGORIES)),
    some((*ITEMS, "unheard")),
    some((*SEGMENTS, "other")).map(frozenset),
    st.sampled_from((None, "", "BRULEE de la creme", "the green-tea set", "teapot", "Tea")),
)
FOUND = {
    "Crème brûlée": {"BRULEE de la creme"}, "tea": {"the green-tea set", "Tea"}, "green TEA!": {"the green-tea set"},
}  # fmt: skip  # by the search of a rule: what is it


@settings(max_examples=300, deadline=None)
@given(st.lists(WHEN, max_size=8), st.sampled_from((*PLACES, "other")), ASKED, st.integers(0, 20))
def test_exactly_the_rules_that_hold_are_found(
    conditions: list[dict[str, Any]], placement: str, asked: Asked, quarter: int
) -> None:
    now = FIRST - 86_400 + quarter * 21_600
    rules = [
        Rule.of(f"r{at}", 1, read_rule({"kind": "EXCLUDE", "addedWithin": 1, "when": when, "priority": at % 3}))
        for at, when in enumerate(conditions)
    ]
    shown = {*([asked.category] if asked.category else []), *(["x"] if "i1" in asked.context_items else [])}

    def holds(rule: Rule) -> bool:
        when = rule.says.when
        inside = not when.placements or placement in when.placements
        inside &= not when.markets or asked.market in when.markets
        inside &= not when.item_ids or not set(when.item_ids).isdisjoint(asked.context_items)
        inside &= not when.categories or not shown.isdisjoint(when.categories)
        inside &= not when.segments or not asked.segments.isdisjoint(when.segments)
        inside &= not when.queries or any(asked.query in FOUND[query] for query in when.queries)
        inside &= when.from_ is None or when.from_.timestamp() <= now
        return inside and (when.to is None or now < when.to.timestamp())

    book = RuleBook(rules, now)
    found = book.find(placement, catalogue(), asked)
    assert {rule.id for rule in (found.all if found else ())} == {rule.id for rule in rules if holds(rule)}
    again = RuleBook(rules, now, book.kept).find(placement, catalogue(), asked)
    assert again is found, "what they do is not found out again"
    assert book.until > now
    with_segments = any(rule.says.when.segments for rule in rules if holds(rule))
    assert book.looks_at_segments(placement) or not with_segments


@pytest.mark.parametrize("when", [{"itemIds": ["i1"]}, {"segments": ["loyal"]}])
def test_the_most_important_hundred_of_very_many_rules_of_a_page_or_segment_hold(when: dict[str, Any]) -> None:
    rules = [
        Rule.of(
            f"r{at:05}",
            1,
            read_rule({"kind": "EXCLUDE", "addedWithin": 1, "when": when, "priority": at % 7}),
        )
        for at in range(10_000)
    ]
    found = RuleBook(rules, 0).find("home", catalogue(), Asked(None, None, ["i1"], frozenset({"loyal"})))
    assert found and len(found.all) == 100 and {rule.says.priority for rule in found.all} == {6}


@pytest.mark.parametrize("kind", ["INCLUDE_ONLY", "EXCLUDE"])
def test_only_what_matches_is_listed_also_of_items_that_come_before_many_rules_are_folded_again(kind: str) -> None:
    rules = RulesInForce([Rule.of("only", 1, read_rule({"kind": kind, "filter": {"ids": ["i1"]}}))], None)
    small = catalogue()
    asyncio.run(rules.ready(small))
    allowed = np.ones(small.size + 8, np.bool_)  # the catalogue grew
    narrow_by(rules, allowed)
    assert allowed[1] == (kind == "INCLUDE_ONLY") and allowed[small.size :].all() == (kind == "EXCLUDE")
    assert allowed[small.size :].any() == (kind == "EXCLUDE")
    about = asyncio.run(rules_about(rules, small, small.size + 1))
    assert excluding(rules, about, small.size + 1) == ("only" if kind == "INCLUDE_ONLY" else None)


def test_an_explanation_names_the_most_important_rules_and_others_run_while_they_are_found() -> None:
    says = [read_rule({"kind": "BOOST", "factor": 2, "filter": {"ids": ["i1"]}, "priority": at}) for at in range(300)]
    held, small, passed = RulesInForce([Rule.of(f"r{at}", 1, one) for at, one in enumerate(says)], None), catalogue(), 0

    async def find() -> list[Rule]:
        nonlocal passed
        finding = asyncio.ensure_future(rules_about(held, small, 1))
        while not finding.done():
            passed += 1
            await asyncio.sleep(0)
        return finding.result()

    about = asyncio.run(find())
    told = effects_on(held, about, small, 1)
    assert [one.rule_id for one in told] == [f"r{at}" for at in range(299, 299 - MOST_TOLD, -1)]
    assert passed >= 300 / 20
    assert asyncio.run(rules_about(held, small, 2)) == []


def test_others_run_while_few_rules_are_folded_that_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, passed = itertools.count(), 0
    monkeypatch.setattr(in_force, "monotonic", lambda: next(ticks) * in_force.TURN)
    says = [read_rule({"kind": "BOOST", "factor": 2, "filter": {"ids": ["i1"]}}) for _ in range(6)]
    held, small = RulesInForce([Rule.of(f"r{at}", 1, one) for at, one in enumerate(says)], None), catalogue()

    async def fold() -> None:
        nonlocal passed
        folding = asyncio.ensure_future(held.ready(small))
        while not folding.done():
            passed += 1
            await asyncio.sleep(0)

    asyncio.run(fold())
    assert passed > len(says)
    assert held.effects.factors_of(np.array([1, 2], np.uint32)) == pytest.approx([64, 1])


def test_markets_that_callers_invent_share_what_the_rules_do() -> None:
    everywhere = Rule.of("a", 1, read_rule({"kind": "EXCLUDE", "filter": {"ids": ["i1"]}}))
    here = Rule.of("b", 1, read_rule({"kind": "EXCLUDE", "filter": {"ids": ["i2"]}, "when": {"markets": ["DE"]}}))
    book, small = RuleBook([everywhere, here], 0), catalogue()
    found = [book.find("home", small, Asked(market, None, [])) for market in ("x1", "x2", "DE", None)]
    assert found[0] is found[1] is not None
    assert [len(one.all) if one else 0 for one in found] == [1, 1, 2, 1]
    assert small.mask(Filter(ids=("i1",)), "x1") is small.mask(Filter(ids=("i1",)), "x2")


def test_what_rules_do_is_kept_within_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_book, "MOST_BYTES", 5)
    small, markets = catalogue(), [f"m{at}" for at in range(9)]
    says = read_rule({"kind": "EXCLUDE", "filter": {"ids": ["i1"]}, "when": {"markets": markets}})
    book = RuleBook([Rule.of("a", 1, says)], 0)

    def keep(market: str) -> RulesInForce:
        found = book.find("home", small, Asked(market, None, []))
        assert found is not None
        asyncio.run(found.ready(small))
        return found

    made = [keep(market) for market in markets]
    assert sum(each.nbytes for each in made) > 5
    assert keep("m8") is made[8]
    assert keep("m0") is not made[0], "it had to make room"
