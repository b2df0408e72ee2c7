"""The order of varied lists against the plainest way to find it, whatever the items are like."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.affinity.variety import POOL, STRONGEST, Variety
from ml.universe import COLUMNS, Universe

F = np.float32
Numbers = NDArray[np.uint32]


@dataclass(frozen=True)
class Shop:
    """Items 1 to n with codes, how near some are to others, and an order of some with falling scores."""

    brands: list[int]  # by number, 0 for none
    categories: list[int]
    near: dict[tuple[int, int], float]  # by two numbers; the tables of a baseline have scores above 1
    listed: list[int]  # best first
    scores: list[float]
    own: list[int]  # bought by the person, ascending

    def variety(self, dial: float, seen: list[int], share: float | None = None) -> Variety:
        def code(codes: list[int]) -> Callable[[Numbers], Numbers]:
            return lambda numbers: np.array(codes, np.uint32)[numbers]

        codes = (code(self.categories), code(self.brands))
        return Variety(dial, self.universe, codes, np.array(seen, np.uint32), np.array(self.own, np.uint32), share)

    @cached_property
    def universe(self) -> Universe:
        """All items but the last two."""
        n = max(len(self.brands) - 3, 0)
        near, score = np.full((n + 1, 4), n, np.int32), np.zeros((n + 1, 4), F)
        for one in range(n):
            found = [(b - 1, value) for (a, b), value in self.near.items() if a - 1 == one and b <= n][:4]
            for at, (other, value) in enumerate(found):
                near[one, at], score[one, at] = other, value
        columns, rest = np.zeros((n + 1, len(COLUMNS)), F), np.zeros(n + 1, F)
        numbers = np.arange(1, n + 1, dtype=np.uint32)
        return Universe(numbers, columns, rest, near, score, near, score, np.arange(n, dtype=np.int32))

    def cosine(self, one: int, other: int) -> float:
        universe = self.universe
        n = len(universe.numbers)
        if one > n or other > n:
            return 0.0
        pairs = ((one, other), (other, one))
        return max(float(universe.near_score[a - 1][universe.near[a - 1] == b - 1].max(initial=0)) for a, b in pairs)

    def unlike(self, one: int, other: int) -> np.float32:
        found = F(1) - F(min(self.cosine(one, other), 1.0))
        for codes in (self.categories, self.brands):
            found *= F(0.5) if codes[one] and codes[one] == codes[other] else F(1)
        return found

    def best(self, dial: float, seen: list[int], first: int, share: float | None = None) -> list[int]:
        """One place after the other, in the plainest way; there are fewer items than the pool has."""
        dial32 = F(min(dial, STRONGEST))
        left = [number for number in self.listed if number not in seen]
        pool = list(left)
        score, found = dict(zip(self.listed, self.scores, strict=True)), list[int]()
        while pool and len(found) < first:

            def value(number: int) -> np.float32:
                before = [*seen, *found]
                discounts = (self.unlike(other, number) * dial32 + (1 - dial32) for other in before)
                return F(score[number]) * min(discounts, default=F(1))

            own = [number for number in pool if number in self.own]
            others = [number for number in pool if number not in self.own]
            if share is None:
                choice = pool
            elif sum(number in self.own for number in [*seen, *found]) < int(share * (len(seen + found) + 1) + 0.5):
                choice = own or others
            else:
                choice = others or own
            found.append(max(choice, key=value))  # of equals the first
            pool.remove(found[-1])
        return [*found, *(number for number in left if number not in found)][:first]


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    n = draw(st.integers(3, 14))
    code = st.lists(st.integers(0, 3), min_size=n, max_size=n).map(lambda found: [0, *found])
    one = st.integers(1, n)
    pairs = st.tuples(one, one).filter(lambda pair: pair[0] != pair[1])
    near = draw(st.dictionaries(pairs, st.integers(1, 24).map(lambda eighths: eighths / 8), max_size=30))
    listed = draw(st.lists(one, unique=True, min_size=1))
    scores = sorted(draw(st.lists(st.integers(0, 64), min_size=len(listed), max_size=len(listed))), reverse=True)
    own = sorted(draw(st.sets(one)))
    return Shop(draw(code), draw(code), near, listed, [score / 64 for score in scores], own)


def ordered(shop: Shop, variety: Variety, first: int) -> list[int]:
    """The list, whose candidates are by their numbers, as in lists."""
    by_number = sorted(shop.listed)
    numbers = np.array([number for number in by_number if number not in variety.seen], np.uint32)
    place = {number: at for at, number in enumerate(shop.listed)}
    order = np.argsort([place[number] for number in numbers.tolist()])
    scores = np.array([shop.scores[place[number]] for number in numbers.tolist()], F)
    found: list[int] = numbers[variety.best(order, numbers, scores, first)].tolist()
    return found


DIALS = st.sampled_from((0.0, 0.125, 0.3, 0.5, 0.9, 1.0))
SHARES = st.sampled_from((None, 0.0, 0.2, 0.5, 0.77, 1.0))


@settings(deadline=None)
@given(shops(), DIALS, SHARES, st.integers(1, 16), st.integers(0, 3))
def test_each_place_has_the_best_item_after_the_discount_for_what_is_like_it(
    shop: Shop, dial: float, share: float | None, first: int, before: int
) -> None:
    seen = shop.best(dial, [], before, share)
    assert ordered(shop, shop.variety(dial, seen, share), first) == shop.best(dial, seen, first, share)


@settings(deadline=None)
@given(shops(), DIALS, SHARES)
def test_no_item_has_two_places(shop: Shop, dial: float, share: float | None) -> None:
    assert sorted(ordered(shop, shop.variety(dial, [], share), len(shop.listed))) == sorted(shop.listed)


@settings(deadline=None)
@given(shops(), DIALS, st.floats(0, 1))
def test_at_every_length_the_share_of_own_items_holds_as_far_as_there_are_any(
    shop: Shop, dial: float, share: float
) -> None:
    found = ordered(shop, shop.variety(dial, [], share), len(shop.listed))
    assert sorted(found) == sorted(shop.listed)
    own = sum(number in shop.own for number in shop.listed)
    for length in range(1, len(found) + 1):
        placed = sum(number in shop.own for number in found[:length])
        wanted = int(share * length + 0.5)
        assert placed == max(min(wanted, own), length - (len(found) - own))


@settings(deadline=None)
@given(shops(), DIALS, SHARES, st.integers(0, 8), st.integers(1, 8))
def test_a_page_goes_on_where_the_page_before_ended(
    shop: Shop, dial: float, share: float | None, one: int, other: int
) -> None:
    whole = ordered(shop, shop.variety(dial, [], share), one + other)
    assert ordered(shop, shop.variety(dial, whole[:one], share), other) == whole[one:]
    assert ordered(shop, shop.variety(dial, [], share), one) == whole[:one]


@settings(deadline=None)
@given(shops())
@example(Shop([0] * 9, [0] * 9, {}, [1, 2, 3], [0.5, 0.5, 0.0], []))
def test_without_a_dial_the_order_is_that_of_the_scores(shop: Shop) -> None:
    assert ordered(shop, shop.variety(0.0, []), len(shop.listed)) == shop.listed


def test_behind_the_pool_the_order_is_that_of_the_scores() -> None:
    n = POOL + 20
    listed = list(range(1, n + 1))
    shop = Shop(
        [0, *[1] * n], [0, *[1] * (n - 40), *[2] * 40], {}, listed, [1 - at / n for at in range(n)], listed[:50]
    )
    whole = ordered(shop, shop.variety(0.5, []), n)
    assert whole[POOL:] == listed[POOL:]
    assert whole[:POOL] != listed[:POOL]
    assert ordered(shop, shop.variety(0.5, whole[: POOL - 5]), 30) == whole[POOL - 5 : POOL + 25]
    assert ordered(shop, shop.variety(0.5, whole[: POOL + 5]), n) == whole[POOL + 5 :]
    half = ordered(shop, shop.variety(0.5, [], 0.5), n)
    assert [sum(number in shop.own for number in half[:length]) for length in (10, 60, 100, n)] == [5, 30, 50, 50]
    assert ordered(shop, shop.variety(0.5, half[:77], 0.5), n) == half[77:]
