"""The items that may be explored, as a process knows them, and the draw that each list follows."""

from collections.abc import Sequence
from hashlib import blake2b
from time import monotonic
from typing import Final

import numpy as np

from core.contract import Person
from engine.catalogue.catalogue import Catalogue
from engine.placements.placement import Placement
from ml.affinity.explorable import DRAWS, Explorable, ItemColumns, explorable
from ml.affinity.exploring import Exploration
from ml.universe import DAY, Universe

KEPT_FOR: Final = 60.0  # seconds, although the catalogue changes: to draw takes some milliseconds


class Explorables:
    """The items that hardly anybody bought; found again with another model, on another day, and after a minute."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._found: Explorable | None = None
        self._of: tuple[Universe | None, int] = (None, 0)
        self._revision, self._until = -1, 0.0

    def of(self, universe: Universe | None, as_of: int) -> Explorable:
        """The items that may be explored, by the universe that serves."""
        day, catalogue = int(as_of // DAY), self._catalogue
        other = self._of[0] is not universe or self._of[1] != day
        stale = self._revision != catalogue.revision and monotonic() >= self._until
        if self._found is None or other or stale:
            numbers, category, added = catalogue.order_columns()
            columns = ItemColumns(numbers, (category, catalogue.brands(numbers)), added)
            self._found = explorable(universe, columns, int(day * DAY))
            self._of, self._revision, self._until = (universe, day), catalogue.revision, monotonic() + KEPT_FOR
        return self._found

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
