"""A rule, ready to be found and applied."""

from collections.abc import Set
from dataclasses import dataclass, field
from itertools import count
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core import clock
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.rules.hours import holds, next_hour
from engine.rules.queries import words_in
from engine.rules.settings import RuleKind, RuleSettings
from ml.universe import DAY

_serials = count()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rule:
    """One version of a rule. Lists are kept for the object itself: a new version is another one."""

    id: str
    version: int | None  # None: it is only tried out
    says: RuleSettings
    filter: Filter | None  # None: all items
    start: float  # seconds
    end: float
    searches: tuple[frozenset[str], ...]  # the words of each; the person searches for one of them
    serial: int = field(default_factory=_serials.__next__)  # names this object in this process

    @classmethod
    def of(cls, id: str, version: int | None, says: RuleSettings) -> Self:
        """The rule with these settings."""
        begins, ends = says.when.window
        return cls(
            id,
            version,
            says,
            says.filter.read() if says.filter else None,
            -np.inf if begins is None else begins.timestamp(),
            np.inf if ends is None else ends.timestamp(),
            tuple(words_in(query) for query in says.when.queries),
        )

    @property
    def order(self) -> tuple[int, str]:
        """What rules are sorted by: the highest priority first, then by id."""
        return -self.says.priority, self.id

    @property
    def is_of_page(self) -> bool:
        """Whether it holds only on some pages, for some searches, or for people of some segment."""
        when = self.says.when
        return bool(when.item_ids or when.categories or when.segments or self.searches)

    @property
    def chooses(self) -> bool:
        """Whether it is about some items only."""
        return self.filter is not None or self.says.added_within is not None or bool(self.says.ranges)

    @property
    def factor(self) -> float:
        """What it multiplies the odds of an item by."""
        factor = self.says.factor or 1.0
        return 1 / factor if self.says.kind is RuleKind.BURY else factor

    def holds_at(self, now: float) -> bool:
        """Whether it holds at a moment, in seconds."""
        when = self.says.when
        if not self.start <= now < self.end:
            return False
        return when.zone is None or holds(when.weekdays, when.hours, when.zone, now)

    def until(self, now: float) -> float:
        """A moment until which it holds, or does not, as it does now."""
        moments = [moment for moment in (self.start, self.end) if moment > now]
        if self.says.when.zone is not None and self.start <= now < self.end:
            moments.append(next_hour(self.says.when.zone, now))
        return min(moments, default=np.inf)

    def holds_in(self, placement: str | None, market: str | None) -> bool:
        """Whether it holds in the lists of a placement and a market."""
        when = self.says.when
        return (not when.placements or placement in when.placements) and (not when.markets or market in when.markets)

    def holds_for(self, segments: frozenset[str]) -> bool:
        """Whether it holds in the lists of a person who belongs to these segments."""
        wanted = self.says.when.segments
        return not wanted or not segments.isdisjoint(wanted)

    def holds_on(self, categories: Set[str], searched: Set[str]) -> bool:
        """Whether it holds on a page of these categories where somebody searches for these words."""
        wanted = self.says.when.categories
        if wanted and not (categories & set(wanted)):
            return False
        return not self.searches or any(words <= searched for words in self.searches)

    async def make_ready(self, catalogue: Catalogue) -> None:
        """Have the columns of its attributes ready. Without this the first use reads all items, while nothing runs."""
        for key in self.says.attributes:
            await catalogue.follow(key)

    def numbers(self, catalogue: Catalogue, market: str | None) -> NDArray[np.uint32]:
        """The items that it is about, as a new array."""
        if self.says.kind is RuleKind.PIN:
            return catalogue.numbers_of([self.says.item_id or ""])
        found = catalogue.numbers_matching(self.filter or Filter(), market)
        for each in self.says.ranges:
            values = catalogue.attribute(each.attribute).numbers[found]
            low, high = (-np.inf if each.min is None else each.min), (np.inf if each.max is None else each.max)
            found = found[(values >= low) & (values <= high)]
        if self.says.added_within is None:
            return found
        return found[catalogue.added(found) > clock.now().timestamp() - self.says.added_within * DAY]

    def weights(self, catalogue: Catalogue, numbers: NDArray[np.uint32]) -> NDArray[np.float32]:
        """The logarithm of its factor for each of the items that it is about.

        With an attribute the items with the greatest number have the whole of it, those with the least nothing, and
        any other one the share of items with a number below its own. Items without a number have nothing.
        """
        if self.says.attribute is None:
            return np.full(len(numbers), np.log(self.factor), np.float32)
        values = catalogue.attribute(self.says.attribute).numbers[numbers]
        known = ~np.isnan(values)
        below = np.searchsorted(np.sort(values[known]), values[known])  # how many have a lower number
        shares = np.zeros(len(numbers))
        shares[known] = below / below.max() if below.any() else 1.0
        weights: NDArray[np.float32] = (np.log(self.factor) * shares).astype(np.float32)
        return weights
