"""The items that may be explored, as a process knows them, and the draw that each list follows."""

from collections.abc import Sequence
from hashlib import blake2b
from time import monotonic
from typing import Final, NamedTuple

import numpy as np

from core.contract import Person
from engine.catalogue.catalogue import Catalogue
from engine.placements.placement import Placement
from ml.affinity.explorable import DRAWS, Explorable, ItemColumns, explorable
from ml.affinity.exploring import Exploration
from ml.universe import DAY, Universe

KEPT_FOR: Final = 60.0  # seconds, although the catalogue changes: to draw takes some milliseconds
DAYS_KEPT: Final = 2


class _Found(NamedTuple):
    """The items of a day, and what they were found with."""

    items: Explorable
    universe: Universe | None
    revision: int  # of the catalogue
    until: float  # as `monotonic` counts; they are not found again before


class Explorables:
    """The items that hardly anybody bought; found again with another model, on another day, and after a minute."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._found: dict[int, _Found] = {}  # by day: at midnight there are lists of two

    def of(self, universe: Universe | None, as_of: int) -> Explorable:
        """The items that may be explored, by the universe that serves."""
        day, catalogue = int(as_of // DAY), self._catalogue
        found = self._found.get(day)
        stale = found is not None and found.revision != catalogue.revision and monotonic() >= found.until
        if found is None or stale or found.universe is not universe:
            items = explorable(universe, self._columns(), int(day * DAY))
            found = _Found(items, universe, catalogue.revision, monotonic() + KEPT_FOR)
            self._found[day] = found
            if len(self._found) > DAYS_KEPT:
                del self._found[min(self._found)]
        return found.items

    def _columns(self) -> ItemColumns:
        catalogue = self._catalogue
        numbers, category, added = catalogue.order_columns()
        return ItemColumns(numbers, (category, catalogue.brands(numbers)), added, catalogue.sellable()[numbers])

    def exploration(
        self, placement: Placement, person: Person, universe: Universe | None, as_of: int, seen: Sequence[int]
    ) -> Exploration:
        """The places of a person's list that are given by chance; `seen` are the items of the pages before."""
        draw = draw_of(person, placement.id, int(as_of // DAY))
        return Exploration(self.of(universe, as_of), placement.explore, draw, np.array(seen, np.uint32))


def draw_of(person: Person, placement: str, day: int) -> int:
    """The draw that a person's list follows for a day."""
    named = f"{person.kind}\0{person.id}\0{placement}\0{day}"
    return int.from_bytes(blake2b(named.encode(), digest_size=8).digest()) % DRAWS
