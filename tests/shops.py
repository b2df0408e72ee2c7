"""Synthetic shops for tests of quality: made for collaborative filtering, for buying the same again, and mixtures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.log import Log

DAY = 86_400
NOW = 1_700_000_000  # the end of the log


@dataclass(frozen=True, slots=True)
class Shop:
    """How a shop's log is made."""

    people: int = 300
    items: int = 240
    orders: int = 6  # of a person, on average
    basket: int = 2  # lines of an order, on average
    tastes: int = 12  # groups of items; a person buys from two of them
    repeat: float = 0.0  # share of lines that are one of the person's few favourites, bought again and again
    seed: int = 0


def make_shop(shop: Shop) -> Log:
    """A year of purchases. With `repeat` 0 nobody buys an item twice, so only other people's purchases foretell."""
    random = np.random.default_rng(shop.seed)
    number = random.permutation(shop.items) + 1  # an item's number says nothing about its taste or popularity
    taste = np.arange(shop.items) % shop.tastes
    liked = random.zipf(1.5, shop.items).clip(max=50).astype(float)
    lines = []
    for person in range(shop.people):
        chance = liked * (np.isin(taste, random.choice(shop.tastes, 2, replace=False)) + 0.02)
        left = _drawn(random, chance, shop.items)
        favourites, left = left[:5], left[5:]
        for order, day in enumerate(np.sort(random.integers(0, 364, 1 + random.poisson(shop.orders - 1))).tolist()):
            at = NOW - (364 - day) * DAY + int(random.integers(0, DAY // 2))
            for _ in range(1 + random.poisson(shop.basket - 1)):
                again = random.random() < shop.repeat
                item, left = (random.choice(favourites), left) if again or not len(left) else (left[0], left[1:])
                lines.append((person, number[item], at, 500 + item, person * 1_000 + order))
    person, item, occurred, cents, orders = np.array(lines, np.int64).T
    numbers = np.arange(1, shop.items + 1, dtype=np.uint32)
    return Log.of(
        people=[f"user:{person}" for person in range(shop.people)],
        person=person.astype(np.int32),
        item=item.astype(np.uint32),
        occurred=occurred,
        cents=cents,
        order=orders,
        numbers=numbers,
        item_ids=[f"item {number}" for number in numbers],
    )


def _drawn(random: np.random.Generator, chance: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Items in the order in which a person comes to buy them: each is drawn in proportion to its chance."""
    return np.argsort(-(np.log(chance) + random.gumbel(size=len(chance))))[:most]
