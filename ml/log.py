"""The purchase log that training learns from: every purchased line, as columns."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput, PenchantError
from ml.state import EVENT, PURCHASE, State, Table, fold


class NothingToLearn(PenchantError):
    """The purchase log holds nothing to learn from."""


@dataclass(frozen=True, eq=False)
class Log:
    """Purchases sorted by person, then time. Arrays are (lines,) unless another shape is given."""

    people: list[str]
    person: NDArray[np.int32]  # index into people
    item: NDArray[np.uint32]  # catalogue number
    occurred: NDArray[np.int64]  # seconds
    cents: NDArray[np.int64]  # of the line
    order: NDArray[np.int64]  # lines of one order share it
    numbers: NDArray[np.uint32]  # (items,) catalogue numbers, ascending
    item_ids: list[str]  # (items,) beside numbers
    category: NDArray[np.int32] | None = None  # (items,) beside numbers: a code, -1 = none; None: not known

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
    ) -> Self:
        """A log of columns in any order. Raises `InvalidInput` when they do not fit together."""
        if len({len(column) for column in (person, item, occurred, cents, order)}) != 1:
            raise InvalidInput("the columns of a purchase log differ in length")
        if not np.isin(item, numbers).all():
            raise InvalidInput("the purchase log names items that its catalogue does not have", "item")
        by = np.lexsort((item, order, occurred, person))
        return cls(people, person[by], item[by], occurred[by], cents[by], order[by], numbers, item_ids, category)

    def require_lines(self) -> None:
        """Raise `NothingToLearn` when the log is empty."""
        if not len(self):
            raise NothingToLearn("The purchase log is empty.")

    def __len__(self) -> int:
        return len(self.item)

    def between(self, start: int | None, end: int | None) -> Self:
        """The lines from `start` on and before `end` (seconds)."""
        kept = np.ones(len(self), np.bool_)
        if start is not None:
            kept &= self.occurred >= start
        if end is not None:
            kept &= self.occurred < end
        return self._where(kept)

    def of_items(self, numbers: NDArray[np.uint32]) -> Self:
        """The lines about some items."""
        return self._where(np.isin(self.item, numbers))

    def _where(self, kept: NDArray[np.bool_]) -> Self:
        return replace(
            self,
            person=self.person[kept],
            item=self.item[kept],
            occurred=self.occurred[kept],
            cents=self.cents[kept],
            order=self.order[kept],
        )

    @cached_property
    def events(self) -> Table:
        """The lines as events (dtype EVENT), sorted like the log: the input of `fold`."""
        events = np.zeros(len(self), EVENT)
        events["identity"] = np.arange(1, len(self) + 1)
        events["type"], events["quantity"] = PURCHASE, 1
        events["item"], events["occurred"], events["cents"] = self.item, self.occurred, self.cents
        events["order"] = self.order + 1
        return events

    def state(self, person: int, as_of: int) -> State:
        """One person's state from the lines before `as_of`, folded as the gateway folds it."""
        return fold(State.empty(), self.purchases(person, as_of))

    def purchases(self, person: int, as_of: int) -> Table:
        """One person's lines before `as_of`, as events."""
        start, end = self._starts[person], self._starts[person + 1]
        return self.events[start : start + np.searchsorted(self.occurred[start:end], as_of)]

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.searchsorted(self.person, np.arange(len(self.people) + 1))


def gaps(log: Log) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """The seconds between two purchases of an item by one person, in different orders: (item, gap) of each."""
    by = np.lexsort((log.occurred, log.item, log.person))
    person, item, occurred, order = log.person[by], log.item[by], log.occurred[by], log.order[by]
    again = (person[1:] == person[:-1]) & (item[1:] == item[:-1]) & (order[1:] != order[:-1])
    return item[1:][again], np.diff(occurred)[again].astype(np.float64)
