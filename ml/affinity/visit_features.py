"""Features of the running visit: of an item, how often it and its category were looked at; of the person, how much.

They stand beside the other features of `ml.affinity.pair_features` and are part of it. All are 0 without a visit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.contract import EventType
from ml.columns import Columns
from ml.state import CODE, Table
from ml.universe import Universe

VISIT = Columns(  # of an item
    (
        "visit_item",  # log1p of the visit's events about it
        "visit_category",  # share of the visit's events that are about its category
    )
)
VISITOR = Columns(  # of the person
    (
        "visit_events",  # log1p of the visit's events
        "visit_items",  # log1p of the items they are about
        "visit_carts",  # log1p of those that were put into the cart
    )
)


def fill_visit(universe: Universe, visit: Table, rows: NDArray[np.int32], features: NDArray[np.float32]) -> None:
    """Fill (VISIT, rows) for items by row; they are 0 before."""
    if not len(visit):
        return
    items = len(universe.numbers)
    viewed = universe.rows(visit["item"])
    counts = np.bincount(viewed, minlength=items + 1)
    counts[items] = 0
    features[0] = np.log1p(counts.take(rows))
    if universe.category is None:
        return
    category = universe.category.take(viewed)
    known = category[category >= 0]
    if len(known):
        shares = np.append(np.bincount(known) / len(known), 0.0)  # the last is for a category that was not looked at
        asked = universe.category.take(rows)
        features[1] = shares.take(np.where(asked < 0, len(shares) - 1, np.minimum(asked, len(shares) - 1)))


def visitor(visit: Table) -> Mapping[str, Any]:
    """The columns VISITOR, before log1p."""
    if not len(visit):
        return dict.fromkeys(VISITOR, 0.0)
    carts = visit["item"][visit["type"] == CODE[EventType.ADD_TO_CART]]
    return {
        "visit_events": len(visit),
        "visit_items": len(np.unique(visit["item"])),
        "visit_carts": len(np.unique(carts)),
    }
