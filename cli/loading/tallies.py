"""Counts what a file holds while it is read, chunk by chunk, in memory that does not grow with the file."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.blanks import Blanks
from cli.loading.sketches import Distinct, Frequent
from core.contract import EARLIEST, PAID

_DAY: Final = 86_400_000_000  # microseconds
_OF_AN_ORDER: Final = ["order_id", "user_id", "anonymous_id", "occurred_at"]
_CHECKED: Final = 1_000  # ids of items of a chunk, for what they look like
_SEVERAL: Final = re.compile(r"\S\s*[,;|]\s*\S")  # texts with a separator between them
_LARGE: Final = 100  # an amount that would be a usual price in cents


@dataclass(slots=True)
class Prices:
    """What prices look like."""

    lines: int = 0
    whole: int = 0
    large: int = 0
    least: float = float("inf")
    most: float = 0.0

    def add(self, amounts: NDArray[np.float64]) -> None:
        """Count these prices; those of nothing are left out."""
        amounts = amounts[amounts > 0]
        if len(amounts):
            self.lines += len(amounts)
            self.whole += int((amounts == np.floor(amounts)).sum())
            self.large += int((amounts >= _LARGE).sum())
            self.least, self.most = min(self.least, float(amounts.min())), max(self.most, float(amounts.max()))


@dataclass(slots=True)
class Tally:
    """What the valid lines of a file hold. Times are in microseconds since 1970."""

    zone: ZoneInfo | None = None
    lines: int = 0
    people: Distinct = field(default_factory=Distinct)
    items: Distinct = field(default_factory=Distinct)
    orders: Distinct = field(default_factory=Distinct)
    types: Counter[str] = field(default_factory=Counter)
    busiest: Frequent = field(default_factory=Frequent)
    prices: Prices = field(default_factory=Prices)
    currencies: set[str] = field(default_factory=set)
    ordered: int = 0  # lines that belong to an order
    repeated: int = 0  # lines that are equal to an earlier one
    midnights: int = 0
    early: int = 0  # items or users that were updated before 1990
    first: int | None = None
    last: int | None = None
    blanks: Blanks = field(default_factory=Blanks)
    checked: int = 0  # ids of items, of which `several` look like several ids
    several: list[str] = field(default_factory=list)
    together: list[str] = field(default_factory=list)  # categories that look like two, of two paths

    def add_events(self, table: pa.Table, repeated: int) -> dict[str, int]:
        """Count these events; returns how often each item is named."""
        if not table.num_rows:
            return {}
        self.lines += table.num_rows
        self.repeated += repeated
        self.types.update(_counts(table["type"]))
        people = _counts(_people(table["user_id"], table["anonymous_id"]))
        self.people.add(list(people))
        self.busiest.add(people)
        items = _counts(table["item_id"])
        self.items.add(list(items))
        few = list(islice(items, _CHECKED))
        self.checked += len(few)
        self.several += [id for id in few if _SEVERAL.search(id)]
        self._add_orders(table)
        self._add_times(table["occurred_at"])
        self.prices.add(table["unit_price"].drop_null().cast(pa.float64()).to_numpy())
        self.currencies |= set(pc.unique(table["currency"].drop_null()).to_pylist())
        return items

    def _add_orders(self, table: pa.Table) -> None:
        """Lines without an order's id are one order if they have the same person and time."""
        bought = table.select(_OF_AN_ORDER).filter(pc.is_in(table["type"], pa.array(sorted(PAID))))
        keys = bought["order_id"]
        if keys.null_count:
            moments = bought["occurred_at"].cast(pa.int64()).cast(pa.string())
            person = pc.coalesce(bought["user_id"], bought["anonymous_id"])
            keys = pc.coalesce(keys, pc.binary_join_element_wise(person, moments, "\x00"))
        self.ordered += len(keys)
        self.orders.add(pc.unique(keys).to_pylist())

    def _add_times(self, times: pa.ChunkedArray) -> None:
        moments = times.cast(pa.int64()).to_numpy()
        self._span(int(moments.min()), int(moments.max()))
        local = times
        if self.zone is not None:
            local = pc.local_timestamp(times.cast(pa.timestamp("us", self.zone.key)))
        self.midnights += int((local.cast(pa.int64()).to_numpy() % _DAY == 0).sum())

    def add_patches(self, patches: Sequence[Any]) -> None:
        """Count these items or users."""
        self.lines += len(patches)
        self.items.add([patch["id"] for patch in patches])
        offers = [offer for patch in patches for offer in patch.get("offers") or ()]
        prices = [price for offer in offers if (price := offer.get("price")) is not None]
        self.prices.add(np.array(prices, np.float64))
        self.currencies |= {currency for offer in offers if (currency := offer.get("currency")) is not None}
        for patch in patches[:_CHECKED]:
            self.together += _joined_categories(patch.get("categories") or ())
        self.early += sum(patch.get("updated_at", EARLIEST) < EARLIEST for patch in patches)

    def _span(self, first: int, last: int) -> None:
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def span(self) -> tuple[datetime, datetime] | None:
        """The first and the last time."""
        if self.first is None or self.last is None:
            return None
        return datetime.fromtimestamp(self.first / 1e6, UTC), datetime.fromtimestamp(self.last / 1e6, UTC)


def _people(users: pa.ChunkedArray, guests: pa.ChunkedArray) -> pa.ChunkedArray:
    """The person of each line, guests apart from users."""
    return pc.coalesce(users, pc.binary_join_element_wise("\x00", guests, "")) if users.null_count else users


def _joined_categories(names: Sequence[str]) -> list[str]:
    """The names that end, behind a comma, with another of these names: `Tea, Home` of `Home > Tea, Home > Cups`."""
    return [name for name in names if "," in name and name.rpartition(",")[2].strip() in names]


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    found = column.drop_null().value_counts()
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))
