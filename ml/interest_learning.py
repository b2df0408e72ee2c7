"""Learns from a log what each type of event says: how often its item is in the person's next order, by the time to it.

Only events before an order say something: a list is made for somebody who orders. Of several events of one type about
one item before an order, the newest counts; of all before an order, as many as a list reads.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml.interest import TYPES, Interest
from ml.log import Log
from ml.state import INTEREST, MOST_RECENT
from ml.universe import DAY, HOUR

HALF_LIVES: Final = tuple(hours * HOUR for hours in (0.5, 2, 6, 24, 72, 168, 720))
LONGEST: Final = 30 * DAY  # before an order; an older event says nothing of it
MOST_EVENTS: Final = 500_000  # the newest, that are looked at
LEAST_EVENTS, LEAST_BOUGHT = 200, 20  # of a type, from which on it is learned
PRIOR: Final = 20.0  # events of the assumed weight that are mixed with those of the log


def learned(log: Log) -> Interest:
    """What the events of this log say; of types with too few of them, what is assumed."""
    interest = log.assumed
    person, item, occurred, type = _events(log)
    if len(person) < LEAST_EVENTS:
        return interest
    age, bought, type = _outcomes(log, person, item, occurred, type)
    weight, half_life, known = interest.weight.copy(), interest.half_life.copy(), np.zeros(len(TYPES), np.bool_)
    for code in np.unique(type).tolist():
        of = type == code
        if of.sum() >= LEAST_EVENTS and bought[of].sum() >= LEAST_BOUGHT:
            weight[code], half_life[code] = _fitted(age[of], bought[of], float(interest.weight[code]))
            known[code] = True
    return replace(interest, weight=weight, half_life=half_life, learned=known)


def _events(log: Log) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Person, item, second and type of the newest events of interest."""
    events = log.signals.events
    at = np.flatnonzero(INTEREST[events["type"]])
    if len(at) > MOST_EVENTS:
        at = at[np.argsort(-events["occurred"][at], kind="stable")[:MOST_EVENTS]]
    of = events[at]
    columns = (log.signals.person[at], of["item"], of["occurred"], of["type"])
    person, item, occurred, type = (column.astype(np.int64) for column in columns)
    return person, item, occurred, type


def _outcomes(
    log: Log,
    person: NDArray[np.int64],
    item: NDArray[np.int64],
    occurred: NDArray[np.int64],
    type: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Of the events with an order soon after them: seconds to the next one, whether it has the item, and the type."""
    kept = log.kept
    first = int(min(kept.occurred.min(initial=0), occurred.min(initial=0)))
    by = np.lexsort((kept.order, kept.occurred, kept.person))  # by person, then moment of the line
    line_of = kept.person[by].astype(np.int64) << 34 | (kept.occurred[by] - first)
    next_line = np.searchsorted(line_of, person << 34 | (occurred - first), side="right")
    there = next_line < len(by)
    at = by[np.minimum(next_line, max(len(by) - 1, 0))] if len(by) else np.zeros(len(person), np.intp)
    there &= (kept.person[at] == person) if len(by) else False
    age = np.where(there, kept.occurred[at] - occurred if len(by) else 0, 0)
    there &= age <= LONGEST
    at, age, person, item, type = at[there], age[there], person[there], item[there], type[there]
    order = kept.order[at].astype(np.int64)
    newest = np.lexsort((age, type, item, order, person))
    same = [np.diff(each[newest], prepend=-1) != 0 for each in (person, order, item, type)]
    newest = newest[np.any(same, axis=0)]
    newest = newest[_read_by_a_list(order[newest], age[newest])]
    lines = _pairs(kept.order.astype(np.int64), kept.item.astype(np.int64))
    bought = np.isin(_pairs(order[newest], item[newest]), lines)
    return age[newest].astype(np.float64), bought, type[newest]


def _read_by_a_list(order: NDArray[np.int64], age: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which events are among the newest MOST_RECENT before their order: else one bot would outvote a shop's people."""
    by = np.lexsort((age, order))
    begins = np.diff(order[by], prepend=-1) != 0
    place = np.arange(len(by)) - np.maximum.accumulate(np.where(begins, np.arange(len(by)), 0))
    kept = np.empty(len(by), np.bool_)
    kept[by] = place < MOST_RECENT
    return kept


def _pairs(order: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.int64]:
    return order << 32 | item


def _fitted(age: NDArray[np.float64], bought: NDArray[np.bool_], assumed: float) -> tuple[float, float]:
    """The weight and the half-life under which the outcomes are likeliest."""
    best = (-np.inf, assumed, HALF_LIVES[0])
    for half_life in HALF_LIVES:
        fading = np.exp2(-age / half_life)
        weight = float((bought.sum() + PRIOR * assumed) / (fading.sum() + PRIOR))
        chance = np.clip(min(weight, 0.99) * fading, 1e-6, 1 - 1e-6)
        likelihood = float(np.log(np.where(bought, chance, 1 - chance)).sum())
        best = max(best, (likelihood, min(weight, 0.99), half_life))
    return best[1], best[2]
