"""The evidence that this process has gathered of people: the next list of a person with the same purchases reads it."""

from collections.abc import Iterable
from typing import Final

from core import metrics
from core.bounded_cache import BoundedCache
from core.contract import Person
from ml.affinity.candidates import ItemEvidence, to_keep
from ml.affinity.ranking import PersonView
from ml.habits import BYTES
from ml.state import State

MOST_BYTES: Final = 24 * 2**20  # of all evidence
KEPT_FOR: Final = 300.0  # seconds after it was gathered
_OBJECTS: Final = 5_000  # bytes that the objects of one person's evidence take

_HIT: Final = metrics.KEPT.labels("evidence", "hit")
_MISS: Final = metrics.KEPT.labels("evidence", "miss")


class KeptEvidence:
    """Evidence by person, all of the bundle that serves. Whoever reads it checks that it is of the same purchases."""

    def __init__(self) -> None:
        self._evidence: BoundedCache[Person, ItemEvidence] = BoundedCache(MOST_BYTES, KEPT_FOR)

    def __contains__(self, person: Person) -> bool:
        return self.find(person) is not None

    def find(self, person: Person) -> ItemEvidence | None:
        """What was gathered of a person last, as of an earlier second."""
        return self._evidence.find(person)

    def keep(self, person: Person, view: PersonView) -> None:
        """Keep the evidence of a view, unless it was made from what is kept."""
        if view.evidence is None:
            return
        if view.evidence.first is not None:
            _HIT.inc()
            return
        _MISS.inc()
        kept = to_keep(view.evidence)
        self._evidence.keep(person, kept, kept.nbytes + _size(view.state) + _OBJECTS)

    def forget(self, people: Iterable[Person]) -> None:
        """Forget what is kept of these people."""
        for person in people:
            self._evidence.drop(person)

    def clear(self) -> None:
        """Forget everything: it would hold the bundle before in memory."""
        self._evidence.clear()


def _size(state: State) -> int:
    """The bytes of a state, which its evidence may be the last to hold."""
    ledger = state.ledger
    tables = (state.items, state.recent, state.recent_orders, state.included, state.opinions, state.settled)
    more = (ledger.lines, ledger.returns, ledger.placed)
    return sum(table.nbytes for table in (*tables, *more)) + (BYTES + state.items.itemsize) * len(state.bought)
