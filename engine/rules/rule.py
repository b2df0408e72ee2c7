"""A rule, ready to be found and applied."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from core import clock
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.rules.settings import RuleKind, RuleSettings
from ml.universe import DAY


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rule:
    """One version of a rule. Lists are kept for the object itself: a new version is another one."""

    id: str
    version: int | None  # None: it is only tried out
    says: RuleSettings
    filter: Filter | None  # None: all items
    start: float  # seconds
    end: float

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
        )

    @property
    def order(self) -> tuple[int, str]:
        """What rules are sorted by: the highest priority first, then by id."""
        return -self.says.priority, self.id

    @property
    def is_of_page(self) -> bool:
        """Whether it holds only on pages with some item or category, or for people of some segment."""
        when = self.says.when
        return bool(when.item_ids or when.categories or when.segments)

    @property
    def factor(self) -> float:
        """What it multiplies the odds of an item by."""
        factor = self.says.factor or 1.0
        return 1 / factor if self.says.kind is RuleKind.BURY else factor

    def holds_in(self, placement: str | None, market: str | None) -> bool:
        """Whether it holds in the lists of a placement and a market."""
        when = self.says.when
        return (not when.placements or placement in when.placements) and (not when.markets or market in when.markets)

    def holds_for(self, segments: frozenset[str]) -> bool:
        """Whether it holds in the lists of a person who belongs to these segments."""
        wanted = self.says.when.segments
        return not wanted or not segments.isdisjoint(wanted)

    def numbers(self, catalogue: Catalogue, market: str | None) -> NDArray[np.uint32]:
        """The items that it is about, as a new array."""
        if self.says.kind is RuleKind.PIN:
            return catalogue.numbers_of([self.says.item_id or ""])
        found = catalogue.numbers_matching(self.filter or Filter(), market)
        if self.says.added_within is None:
            return found
        return found[catalogue.added(found) > clock.now().timestamp() - self.says.added_within * DAY]
