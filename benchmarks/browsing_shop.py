"""A synthetic shop in which what people look at in a visit foretells what they order at its end."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from core.contract import EventType
from ml.log import Log, Signals
from ml.state import CODE, EVENT

DAY: Final = 86_400
NOW: Final = 1_700_000_000  # the end of the log
VIEW, CART = CODE[EventType.VIEW], CODE[EventType.ADD_TO_CART]


@dataclass(frozen=True, slots=True)
class BrowsingShop:
    """How the shop's log is made."""

    people: int = 400
    items: int = 240
    categories: int = 24
    days: int = 150
    visits: int = 12  # of a person
    views: int = 5  # of a visit, on average
    ordered: float = 0.7  # share of visits that end with an order
    viewed: float = 0.35  # share of lines that are an item viewed in the visit
    alike: float = 0.35  # ... another item of the category that was looked at; the rest are favourites
    seed: int = 0


def make_browsing_shop(shop: BrowsingShop) -> Log:
    """Purchases and the views before them. Each visit is about one category, mostly not that of the visit before."""
    random = np.random.default_rng(shop.seed)
    category = random.permutation(shop.items) % shop.categories
    lines, views = [], []
    for person in range(shop.people):
        favourites = random.choice(shop.items, 4, replace=False)
        for visit, day in enumerate(np.sort(random.choice(shop.days, shop.visits, replace=False)).tolist()):
            end = NOW - (shop.days - day) * DAY + int(random.integers(0, DAY // 2))
            among = np.flatnonzero(category == random.integers(shop.categories))
            seen = random.choice(among, 1 + random.poisson(shop.views - 1))
            began = end - 60 * len(seen)
            views += [(person, VIEW, item + 1, began + 60 * at, visit + 1) for at, item in enumerate(seen.tolist())]
            if random.random() >= shop.ordered:
                continue
            for _ in range(1 + random.poisson(1)):
                kind = random.random()
                part = seen if kind < shop.viewed else among if kind < shop.viewed + shop.alike else favourites
                item = int(random.choice(part))
                lines.append((person, item + 1, end, 500 + item, person * 1_000 + visit))
    columns = np.array(lines, np.int64).T
    person, kinds, item, occurred, session = np.array(views, np.int64).T
    events = np.zeros(len(views), EVENT)
    events["type"], events["item"], events["occurred"], events["order"] = kinds, item, occurred, session
    events["quantity"] = 1
    numbers = np.arange(1, shop.items + 1, dtype=np.uint32)
    return Log.of(
        people=[f"user:{number}" for number in range(shop.people)],
        person=columns[0].astype(np.int32),
        item=columns[1].astype(np.uint32),
        occurred=columns[2],
        cents=columns[3],
        order=columns[4],
        numbers=numbers,
        item_ids=[f"item {number}" for number in numbers],
        category=category.astype(np.int32),
        signals=Signals(person.astype(np.int32), events),
    )


def without_views(log: Log) -> Log:
    """The same purchases, of people of whom nothing else is known."""
    return replace(log, signals=Signals.none())
