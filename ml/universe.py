"""Everything precomputed about the items that may be ranked: columns, neighbours, rules, rest times."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ml.cold_items import ColdItems
from ml.columns import Columns

HOUR, DAY = 3_600.0, 86_400.0
HALF_LIFE = 42 * DAY  # seconds: of a purchase in a person's state
PEOPLE_TOGETHER = 3  # who bought two items in one order, at least, for one to complete the other
REBOUGHT = 0.1  # people buy items of a category again when this share of its buyers did

COLUMNS = Columns(
    (
        "people",  # log1p of the people who bought it
        "recent_people",  # log1p of those of the last four weeks, per thousand people active then
        "rebuy",  # share of its buyers who bought it again
        "gap",  # log1p of the median days between two purchases by one person
        "price",  # log1p of the median cents of a line
        "week_people",  # as recent_people, of the last week
        "trend",  # log of the people of the last week over a quarter of those of the last four
        "on_sale",  # log1p of the days since it was first sold
        "next_order",  # share of its orders whose person's next order holds it again
    )
)


class NextItems(Protocol):
    """What comes after a person's items: `ml.sequence.blending.SequenceBlend`."""

    @property
    def items(self) -> int:
        """How many items it knows."""

    def scores(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """(items,) after these rows of items, the newest last: logarithms of shares, which add up to 1."""

    def of(self, rows: NDArray[np.int32]) -> "NextItems":
        """The same for other items: the row of each among these, or `items` for one that it did not learn of."""

    def parts(self) -> dict[str, NDArray[Any]]:
        """Its arrays by their names in a bundle."""


@dataclass(frozen=True, eq=False)
class Universe:
    """n items by row; row n stands for every other item. Arrays may be memory-mapped."""

    numbers: NDArray[np.uint32]  # (n,) catalogue numbers, ascending
    columns: NDArray[np.float32]  # (n + 1, COLUMNS)
    rest: NDArray[np.float32]  # (n + 1,) seconds an item rests after it was bought
    near: NDArray[np.int32]  # (n + 1, k) rows of the nearest items, padded with n
    near_score: NDArray[np.float32]  # (n + 1, k) cosine over people, 0 where padded
    next: NDArray[np.int32]  # (n + 1, k) rows of the items bought in the following orders, padded with n
    next_score: NDArray[np.float32]  # (n + 1, k)
    popular: NDArray[np.int32]  # (n,) rows, most people of the last four weeks first
    rebought: NDArray[np.bool_] | None = None  # (n + 1,) whether people buy items of its category again; older: None
    fade: NDArray[np.float32] | None = None  # (1,) where `near` is the table of a baseline; see `source_weights`
    ease: NDArray[np.int32] | None = None  # (n + 1, k) rows of the items it speaks for, padded with n; older: None
    ease_score: NDArray[np.float32] | None = None  # (n + 1, k), 0 where padded; older: None
    then: NDArray[np.int32] | None = None  # (n + 1, k) as `next`, of the very next order alone; older: None
    then_score: NDArray[np.float32] | None = None  # (n + 1, k); older: None
    category: NDArray[np.int32] | None = None  # (n + 1,) a code, -1 = none; None where no item has one
    together: NDArray[np.int32] | None = None  # (n + 1, k) rows of what completes an item, padded with n; older: None
    together_score: NDArray[np.float32] | None = None  # (n + 1, k), 0 where padded; older: None
    interest: NDArray[np.float32] | None = None  # (3, types) what events say, see `ml.interest`; None: as we assume
    first_share: NDArray[np.float32] | None = (
        None  # (1,) of all purchases those of an item new to the person; older: None
    )
    sequence: NextItems | None = None  # of these n items; None where people buy the same again, and older
    cold: ColdItems | None = None  # beside these n items; None without words to learn from, and older

    @cached_property
    def _row_of(self) -> NDArray[np.int32]:
        rows = np.full(int(self.numbers.max(initial=0)) + 2, len(self.numbers), np.int32)
        rows[self.numbers] = np.arange(len(self.numbers), dtype=np.int32)
        return rows

    @cached_property
    def popular_numbers(self) -> NDArray[np.uint32]:
        """(n,) catalogue numbers, most people of the last four weeks first."""
        return self.numbers[self.popular]

    @cached_property
    def places(self) -> NDArray[np.uint64]:
        """(n + 1,) the place of each row in `popular`; n for the last one."""
        places = np.full(len(self.popular) + 1, len(self.popular), np.uint64)
        places[self.popular] = np.arange(len(self.popular), dtype=np.uint64)
        return places

    def rows(self, numbers: NDArray[Any]) -> NDArray[np.int32]:
        """The row of each catalogue number; n for a number outside the universe."""
        rows: NDArray[np.int32] = self._row_of.take(numbers, mode="clip")  # the last place has n
        return rows

    @cached_property
    def bought(self) -> NDArray[np.uint32]:
        """Catalogue numbers of the items that anybody bought, most people of the last four weeks first."""
        return self.popular_numbers[self.column("people")[self.popular] > 0]

    def are_rebought(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether people buy each item, or others of its category, again; an older universe knows the items alone."""
        if self.rebought is not None:
            return self.rebought[rows]
        known: NDArray[np.bool_] = (self.column("rebuy")[rows] >= REBOUGHT) & (rows < len(self.numbers))
        return known

    def rows_in_order(self, bought: NDArray[Any]) -> NDArray[np.int32]:
        """The rows of a person's items (ITEM) that are in the universe, the one that was bought last at the end."""
        rows = self.rows(bought["item"][np.lexsort((bought["item"], bought["last"]))])
        known: NDArray[np.int32] = rows[rows < len(self.numbers)]
        return known

    def linked(
        self, rows: NDArray[np.int32], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The catalogue numbers and scores of one line of a table of neighbours, (k,) each, without its padding."""
        real = scores > 0
        return self.numbers[rows[real]], scores[real]

    def with_cold(self, cold: ColdItems | None) -> "Universe":
        """The same, beside these items that nobody bought."""
        return replace(self, cold=cold)

    def column(self, name: str) -> NDArray[np.float32]:
        """(n + 1,) one of COLUMNS."""
        return COLUMNS.read(self.columns, name)
