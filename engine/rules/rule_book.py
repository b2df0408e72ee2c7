"""All rules that hold at a moment, found by placement, market and page without a look at each."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Final, Protocol, Self, TypeVar

import numpy as np

from engine.catalogue.catalogue import NO_SUCH_MARKET, Catalogue
from engine.rules.in_force import RulesInForce
from engine.rules.queries import words_in
from engine.rules.rule import Rule

MOST_OF_PAGE: Final = 100  # rules of its items and categories that hold on one page
MOST_READ: Final = 1_000  # rules of one item or category that are looked at
MOST_PEOPLE: Final = 1_000  # sets of segments whose rules are kept
MOST_KEPT: Final = 64  # sets of rules whose effects are kept, of all pages and of single ones
MOST_BYTES: Final = 64 * 2**20  # that these effects take, each of both

Key = TypeVar("Key")


class Listed(Protocol):
    """What a request says of the page."""

    @property
    def market(self) -> str | None: ...  # noqa: D102
    @property
    def category(self) -> str | None: ...  # noqa: D102
    @property
    def context_items(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def segments(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def query(self) -> str | None: ...  # noqa: D102


class RuleBook:
    """The rules that hold at a moment, and until which moment these are the same."""

    def __init__(self, rules: Iterable[Rule], now: float, known: Iterable[RulesInForce] = ()) -> None:
        every = list(rules)
        held = sorted((rule for rule in every if rule.holds_at(now)), key=lambda rule: rule.order)
        self.until: float = min((rule.until(now) for rule in every), default=np.inf)
        self._everywhere = list[Rule]()
        self._of_item = dict[tuple[str | None, str], list[Rule]]()
        self._of_category = dict[tuple[str | None, str], list[Rule]]()
        self._of_segment = dict[tuple[str | None, str], list[Rule]]()
        self._of_word = dict[tuple[str | None, str], list[Rule]]()
        self._placements = {name for rule in held for name in rule.says.when.placements}
        self._markets = {name for rule in held for name in rule.says.when.markets}
        for rule in held:
            when = rule.says.when
            if not rule.is_of_page:
                self._everywhere.append(rule)
            for placement in when.placements or (None,):
                for id in when.item_ids:
                    self._of_item.setdefault((placement, id), []).append(rule)
                for name in when.categories if not when.item_ids else ():
                    self._of_category.setdefault((placement, name), []).append(rule)
                searches = rule.searches if not when.item_ids and not when.categories else ()
                for word in {max(sorted(words), key=len) for words in searches}:  # rules of few share it
                    self._of_word.setdefault((placement, word), []).append(rule)
                of_person = not (when.item_ids or when.categories or rule.searches)
                for name in when.segments if of_person else ():
                    self._of_segment.setdefault((placement, name), []).append(rule)
        self._segments = frozenset(name for _, name in self._of_segment)
        self._people: OrderedDict[tuple[str | None, str | None, frozenset[str]], tuple[Rule, ...]] = OrderedDict()
        self._by_segment = {
            name for rule in held if rule.says.when.segments for name in rule.says.when.placements or (None,)
        }
        self._known = {each: each for each in known}
        self._bases: OrderedDict[tuple[str | None, str | None], RulesInForce] = OrderedDict()
        self._pages: OrderedDict[tuple[RulesInForce, tuple[Rule, ...]], RulesInForce] = OrderedDict()

    @classmethod
    def empty(cls) -> Self:
        """Without any rule."""
        return cls((), 0.0)

    @property
    def kept(self) -> list[RulesInForce]:
        """The sets of rules that are kept, for the book that comes after this one."""
        return [*self._bases.values(), *self._pages.values()]

    def find(self, placement: str, catalogue: Catalogue, listed: Listed) -> RulesInForce | None:
        """The rules that hold for a list of a placement; None without any."""
        where, market = placement if placement in self._placements else None, listed.market
        if market is not None and market not in self._markets and not catalogue.has_market(market):
            market = NO_SUCH_MARKET
        base = self._base(where, market)
        of_page = self._rules_of_page(where, market, catalogue, listed)
        if not of_page:
            return base if base.rules else None
        return _kept(self._pages, (base, of_page), lambda: self._same(RulesInForce(of_page, market, base)))

    def looks_at_segments(self, placement: str) -> bool:
        """Whether a rule that holds in a placement may be one for the people of a segment only."""
        return None in self._by_segment or placement in self._by_segment

    def _base(self, where: str | None, market: str | None) -> RulesInForce:
        def make() -> RulesInForce:
            return self._same(RulesInForce([rule for rule in self._everywhere if rule.holds_in(where, market)], market))

        return _kept(self._bases, (where, market), make)

    def _same(self, rules: RulesInForce) -> RulesInForce:
        """The object with the same rules that is known, so that what they do is not found out again."""
        known: RulesInForce = self._known.pop(rules, rules)
        return known

    def _rules_of_page(
        self, where: str | None, market: str | None, catalogue: Catalogue, listed: Listed
    ) -> tuple[Rule, ...]:
        """Those of the page's items and categories, of what is searched for, and of the person's segments."""
        of_person = self._rules_of_person(where, market, listed.segments)
        if not self._of_item and not self._of_category and not self._of_word:
            return of_person
        searched = words_in(listed.query) if listed.query else frozenset[str]()
        categories = {listed.category} if listed.category is not None else set[str]()
        for number in catalogue.numbers_of(listed.context_items).tolist():
            item = catalogue.item(number)
            categories.update(item.categories if item else ())
        places = (None,) if where is None else (None, where)
        lists = [self._of_item.get((place, id)) for place in places for id in listed.context_items]
        lists += [self._of_category.get((place, name)) for place in places for name in categories]
        lists += [self._of_word.get((place, word)) for place in places for word in searched]
        found = set[Rule]()
        for rules in lists:
            for rule in islice(rules or (), MOST_READ):
                of_page = rule.holds_in(where, market) and rule.holds_on(categories, searched)
                if of_page and rule.holds_for(listed.segments):
                    found.add(rule)
        return _first(found.union(of_person)) if found else of_person

    def _rules_of_person(self, where: str | None, market: str | None, segments: frozenset[str]) -> tuple[Rule, ...]:
        """Those that look at nothing of the page, of the person's segments. They are kept by segments."""
        named = segments & self._segments
        if not named:
            return ()
        key = where, market, named
        found = self._people.pop(key, None)
        if found is None:
            places = (None,) if where is None else (None, where)
            lists = [self._of_segment.get((place, name), ()) for place in places for name in named]
            found = _first({rule for rules in lists for rule in rules[:MOST_READ] if rule.holds_in(where, market)})
        self._people[key] = found
        if len(self._people) > MOST_PEOPLE:
            self._people.popitem(last=False)
        return found


def _first(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    return tuple(sorted(rules, key=lambda rule: rule.order)[:MOST_OF_PAGE])


def _kept(kept: OrderedDict[Key, RulesInForce], key: Key, make: Callable[[], RulesInForce]) -> RulesInForce:
    """What is kept under a key, or is made for it. What was not used for longest makes room."""
    if key in kept:
        kept.move_to_end(key)
        return kept[key]
    while len(kept) >= MOST_KEPT or (kept and sum(each.nbytes for each in kept.values()) > MOST_BYTES):
        kept.popitem(last=False)
    kept[key] = found = make()
    return found
