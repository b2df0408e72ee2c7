"""The features of a pair (person, item): the one function that training and serving share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.state import HALF_LIFE, State
from ml.universe import COLUMNS, DAY, Universe

FEATURES = (
    "bought",  # 1 when the person ever bought the item; the next nine are 0 otherwise
    "lines",  # log1p of the purchases
    "share",  # purchases per order of the person
    "decayed",  # log1p of the purchases, halved every HALF_LIFE
    "decayed_share",  # ... against all decayed purchases of the person, square root
    "recency",  # log1p of the days since the last purchase
    "since",  # log1p of the person's orders since then
    "own_gap",  # log1p of the mean days between two purchases; the item's usual gap after one purchase
    "due",  # days since the last purchase over that gap, log1p
    "age",  # log1p of the days since the first purchase
    "near",  # evidence from neighbours of what the person buys
    "next",  # evidence from what follows the person's last orders
    *COLUMNS,
    "orders",  # log1p of the person's orders
    "tempo",  # log1p of the mean days between orders
    "quiet",  # log1p of the days since the last order
    "spend",  # log1p of the mean cents of a line of the person
)
_OWN = 10


def pair_features(
    universe: Universe,
    state: State,
    numbers: NDArray[np.uint32],
    near: NDArray[np.float32],
    following: NDArray[np.float32],
    as_of: int,
) -> NDArray[np.float32]:
    """(pairs, FEATURES) of one person with items by catalogue number, as of a second.

    `near` and `following` are the evidence of `ml.candidates` for each pair.
    """
    columns = universe.columns[universe.rows(numbers)]
    features = np.zeros((len(numbers), len(FEATURES)), np.float32)
    features[:, _OWN], features[:, _OWN + 1] = near, following
    features[:, _OWN + 2 : -4] = columns
    features[:, -4:] = _person(state, as_of)
    bought = state.bought
    if len(bought) and len(numbers):
        place = np.minimum(np.searchsorted(bought["item"], numbers), len(bought) - 1)
        own = np.flatnonzero(bought["item"][place] == numbers)
        usual_gap = np.expm1(columns[own, COLUMNS.index("gap")])
        features[own, :_OWN] = _own(state, bought[place[own]], usual_gap, as_of)
    return features


def decayed(rows: NDArray[Any], as_of: int) -> NDArray[np.float64]:
    """The decayed purchases of rows of a state's items, brought to `as_of`."""
    result: NDArray[np.float64] = rows["decayed"] * np.exp2(-_since(rows["last"], as_of) / HALF_LIFE)
    return result


def _since(moment: NDArray[np.uint32], as_of: int) -> NDArray[np.float64]:
    return np.maximum(as_of - moment.astype(np.float64), 0)


def _own(state: State, rows: NDArray[Any], usual_gap: NDArray[np.float32], as_of: int) -> NDArray[np.float64]:
    """(rows, _OWN) for items the person bought; `usual_gap` in days."""
    lines = rows["lines"].astype(np.float64)
    weight = decayed(rows, as_of)
    total = decayed(state.bought, as_of).sum()
    recency = _since(rows["last"], as_of) / DAY
    gap = np.where(lines > 1, (rows["last"] - rows["first"]) / DAY / np.maximum(lines - 1, 1), usual_gap)
    times = np.sort(state.recent_orders["occurred"])
    since = len(times) - np.searchsorted(times, rows["last"], side="right")
    return np.stack(
        [
            np.ones(len(rows)),
            np.log1p(lines),
            lines / max(state.orders, 1),
            np.log1p(weight),
            np.sqrt(weight / max(total, 1e-9)),
            np.log1p(recency),
            np.log1p(since),
            np.log1p(gap),
            np.log1p(recency / np.maximum(gap, 0.5)),
            np.log1p(_since(rows["first"], as_of) / DAY),
        ],
        axis=1,
    )


def _person(state: State, as_of: int) -> tuple[float, float, float, float]:
    if not state.orders:
        return 0.0, 0.0, 0.0, 0.0
    tempo = (state.last - state.first) / DAY / max(state.orders - 1, 1)
    quiet = max(as_of - state.last, 0) / DAY
    mean = max(state.spend, 0) / max(state.lines, 1)
    return float(np.log1p(state.orders)), float(np.log1p(tempo)), float(np.log1p(quiet)), float(np.log1p(mean))
