"""Counts how many events name an item of the catalogue, while they are loaded."""

from collections.abc import Mapping

from cli.loading.sketches import Frequent
from db.named_items import known_items, sample_of_named
from db.postgres import Connection
from engine.catalogue.naming import FEW, unknown_items

_REMEMBERED = 200_000  # ids


class NamedItems:
    """Events that name a known item and events that name another one."""

    def __init__(self) -> None:
        self.known = 0
        self.unknown = 0
        self._which = "events"
        self._remembered: dict[str, bool] = {}
        self._others = Frequent()

    async def count(self, connection: Connection, items: Mapping[str, int]) -> None:
        """Count the events of a chunk, given how many name each item."""
        if fresh := [id for id in items if id not in self._remembered]:
            there = await known_items(connection, fresh)
            if len(self._remembered) > _REMEMBERED:
                self._remembered.clear()
                fresh = list(items)
                there = await known_items(connection, fresh)
            self._remembered.update((id, id in there) for id in fresh)
        known = sum(lines for id, lines in items.items() if self._remembered[id])
        self.known += known
        self.unknown += sum(items.values()) - known
        self._others.add({id: lines for id, lines in items.items() if not self._remembered[id]})

    async def sample(self, connection: Connection) -> None:
        """Count some of the stored events."""
        self._which = "stored events"
        self.known, self.unknown, others = await sample_of_named(connection)
        self._others.add(dict.fromkeys(others, 1))

    async def words(self, connection: Connection) -> str | None:
        """Which share of the events names a known item, and what the others name; None without such events."""
        total = self.known + self.unknown
        if not total:
            return None
        share = self.known / total
        words = f"{self.known:,} of {total:,} {self._which} ({share:.0%}) name an item of the catalogue."
        return words if share >= FEW else f"{words} {await unknown_items(connection, self._others.first(3))}"
