"""The purchase log that training learns from: every purchased line, as columns, and what people returned and said."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput, PenchantError
from ml.interest import ASSUMED, Interest
from ml.returns import LINE, MOST_UNITS, kept_cents, net, totals
from ml.state import DISLIKES_HOLD, EVENT, PURCHASE, RETURN, State, Table, fold
from ml.words import ItemWords


class NothingToLearn(PenchantError):
    """The purchase log holds nothing to learn from."""


@dataclass(frozen=True, eq=False)
class Signals:
    """What the people of a log returned, said of items, and looked at; sorted by person, then time."""

    person: NDArray[np.int32]  # (signals,) index into the log's people
    events: Table  # (signals,) EVENT; the order of a return is that of the log plus 1, 0 = none; of a view a session

    @classmethod
    def none(cls) -> Self:
        """No signals."""
        return cls(np.empty(0, np.int32), np.empty(0, EVENT))

    def where(self, kept: NDArray[np.bool_]) -> Self:
        """Some of them."""
        return type(self)(self.person[kept], self.events[kept])


@dataclass(frozen=True, eq=False)
class Log:
    """Purchases sorted by person, then time. Arrays are (lines,) unless another shape is given.

    The lines are as they were bought; `kept` has the purchases: equal lines of an order joined, without what was
    returned.
    """

    people: list[str]
    person: NDArray[np.int32]  # index into people
    item: NDArray[np.uint32]  # catalogue number
    occurred: NDArray[np.int64]  # seconds
    cents: NDArray[np.int64]  # of the line
    order: NDArray[np.int64]  # lines of one order share it
    numbers: NDArray[np.uint32]  # (items,) catalogue numbers, ascending
    item_ids: list[str]  # (items,) beside numbers
    quantity: NDArray[np.int32]  # units
    signals: Signals
    category: NDArray[np.int32] | None = None  # (items,) beside numbers: a code, -1 = none; None: not known
    words: ItemWords | None = None  # of the catalogue, items never sold too; None: not known
    assumed: Interest = ASSUMED  # what events say until the log has enough of them

    @classmethod
    def of(
        cls,
        people: list[str],
        person: NDArray[np.int32],
        item: NDArray[np.uint32],
        occurred: NDArray[np.int64],
        cents: NDArray[np.int64],
        order: NDArray[np.int64],
        numbers: NDArray[np.uint32],
        item_ids: list[str],
        *,
        category: NDArray[np.int32] | None = None,
        quantity: NDArray[np.int32] | None = None,
        signals: Signals | None = None,
        words: ItemWords | None = None,
        assumed: Interest = ASSUMED,
    ) -> Self:
        """A log of columns in any order; without quantities a line is one unit.

        Raises `InvalidInput` when they do not fit together.
        """
        quantity = np.ones(len(item), np.int32) if quantity is None else quantity
        if len({len(column) for column in (person, item, occurred, cents, order, quantity)}) != 1:
            raise InvalidInput("the columns of a purchase log differ in length")
        if not np.isin(item, numbers).all():
            raise InvalidInput("the purchase log names items that its catalogue does not have", "item")
        by = np.lexsort((item, order, occurred, person))
        lines = (person[by], item[by], occurred[by], cents[by], order[by])
        signals = Signals.none() if signals is None else signals
        by_time = np.lexsort((signals.events["occurred"], signals.person))
        sorted_signals = Signals(signals.person[by_time], signals.events[by_time])
        return cls(people, *lines, numbers, item_ids, quantity[by], sorted_signals, category, words, assumed)

    def require_lines(self) -> None:
        """Raise `NothingToLearn` when the log is empty."""
        if not len(self):
            raise NothingToLearn("The purchase log is empty.")

    def __len__(self) -> int:
        return len(self.item)

    def between(self, start: int | None, end: int | None) -> Self:
        """The lines and signals from `start` on and before `end` (seconds)."""
        kept = np.ones(len(self), np.bool_)
        if start is not None:
            kept &= self.occurred >= start
        if end is not None:
            kept &= self.occurred < end
        signals = self.signals
        if len(signals.person):
            moments = signals.events["occurred"]
            after = moments >= start if start is not None else np.ones(len(moments), np.bool_)
            signals = signals.where(after & (moments < end) if end is not None else after)
        return self._where(kept, signals)

    def of_items(self, numbers: NDArray[np.uint32]) -> Self:
        """The lines and signals about some items."""
        signals = self.signals.where(np.isin(self.signals.events["item"], numbers))
        return self._where(np.isin(self.item, numbers), signals)

    def where(self, kept: NDArray[np.bool_]) -> Self:
        """Some of the lines, and all signals."""
        return self._where(kept, self.signals)

    @cached_property
    def kept(self) -> "Log":
        """The purchases of which anything was kept, with the units and cents that were; without the returns.

        A purchase is what one order has of one item, however many lines say so.
        """
        returned = self.signals.events["type"] == RETURN
        bought = self._joined()
        if not returned.any():
            return bought
        lines, returns = bought._as_lines(returned)
        units = net(lines, returns).kept
        kept = replace(bought, quantity=units.astype(np.int32), cents=kept_cents(lines, units))
        return kept._where(units > 0, self.signals.where(~returned))

    def _joined(self) -> "Log":
        """The log with equal lines of an order as one; itself when there are none."""
        by = np.lexsort((self.item, self.order, self.person))  # stable: the earliest of equal lines comes first
        columns = [column[by] for column in (self.person, self.order, self.item)]
        changes = np.any([each[1:] != each[:-1] for each in columns], axis=0)
        starts = np.flatnonzero(np.append(len(self) > 0, changes))
        if len(starts) == len(self):
            return self
        quantity, cents = self.quantity.copy(), self.cents.copy()
        units = np.add.reduceat(np.maximum(self.quantity[by], 1).astype(np.int64), starts)
        quantity[by[starts]], cents[by[starts]] = np.minimum(units, MOST_UNITS), totals(self.cents[by], starts)
        first = np.zeros(len(self), np.bool_)
        first[by[starts]] = True
        return replace(self, quantity=quantity, cents=cents)._where(first, self.signals)

    def _as_lines(self, returned: NDArray[np.bool_]) -> tuple[Table, Table]:
        """The lines and the returns as LINE, in which each item of each person has a number of its own."""
        events = self.signals.events[returned]
        lines, returns = np.zeros(len(self), LINE), np.zeros(len(events), LINE)
        pairs = np.concatenate([self.person, self.signals.person[returned]]).astype(np.int64) << 32
        pairs |= np.concatenate([self.item, events["item"]]).astype(np.int64)
        number = np.unique(pairs, return_inverse=True)[1] + 1
        lines["item"], returns["item"] = number[: len(self)], number[len(self) :]
        lines["order"], returns["order"] = self.order + 1, events["order"]
        lines["occurred"], returns["occurred"] = self.occurred, events["occurred"]
        lines["units"], returns["units"] = np.maximum(self.quantity, 1), np.maximum(events["quantity"], 1)
        lines["cents"] = self.cents
        return lines, returns

    def _where(self, kept: NDArray[np.bool_], signals: Signals) -> Self:
        return replace(
            self,
            person=self.person[kept],
            item=self.item[kept],
            occurred=self.occurred[kept],
            cents=self.cents[kept],
            order=self.order[kept],
            quantity=self.quantity[kept],
            signals=signals,
        )

    @cached_property
    def events(self) -> Table:
        """The lines as events (dtype EVENT), sorted like the log: the input of `fold`."""
        events = np.zeros(len(self), EVENT)
        events["identity"] = np.arange(1, len(self) + 1)
        events["type"], events["quantity"] = PURCHASE, self.quantity
        events["item"], events["occurred"], events["cents"] = self.item, self.occurred, self.cents
        events["order"] = self.order + 1
        return events

    def state(self, person: int, as_of: int) -> State:
        """One person's state from the events before `as_of`, folded as the gateway folds it."""
        return state_of(self.history(person, as_of), as_of)

    def history(self, person: int, as_of: int) -> Table:
        """One person's lines and signals before `as_of`, as events."""
        start, end = self._starts[person], self._starts[person + 1]
        bought = self.events[start : start + np.searchsorted(self.occurred[start:end], as_of)]
        if not len(self.signals.person):
            return bought
        first, last = np.searchsorted(self.signals.person, [person, person + 1])
        signals = self.signals.events[first:last]
        signals = signals[signals["occurred"] < as_of].copy()
        signals["identity"] = len(self) + 1 + np.arange(first, first + len(signals))
        return np.concatenate([bought, signals])

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.searchsorted(self.person, np.arange(len(self.people) + 1))


def state_of(history: Table, as_of: int) -> State:
    """The state after events (EVENT) of one person before `as_of`, as the gateway makes it by default."""
    return fold(State.empty(), history).without_dislikes_before(as_of - DISLIKES_HOLD)


def order_counts(log: Log) -> NDArray[np.int64]:
    """(people,) how many orders each person placed."""
    by = np.lexsort((log.order, log.person))
    begins = (np.diff(log.person[by], prepend=-1) != 0) | (np.diff(log.order[by], prepend=-1) != 0)
    return np.bincount(log.person[by][begins], minlength=len(log.people))


def gaps(log: Log) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """The seconds between two purchases of an item by one person, in different orders: (item, gap) of each."""
    by = np.lexsort((log.occurred, log.item, log.person))
    person, item, occurred, order = log.person[by], log.item[by], log.occurred[by], log.order[by]
    again = (person[1:] == person[:-1]) & (item[1:] == item[:-1]) & (order[1:] != order[:-1])
    return item[1:][again], np.diff(occurred)[again].astype(np.float64)
