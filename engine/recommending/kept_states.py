"""The states that this process has folded: one is used again while Redis holds the same base and recent events."""

from typing import Final, NamedTuple

from core import metrics
from core.bounded_cache import BoundedCache
from core.contract import Person
from db.cache import unpack_recent
from engine.catalogue.catalogue import Catalogue
from ml.habits import BYTES
from ml.state import State

MOST_BYTES: Final = 32 * 2**20  # of all states
KEPT_FOR: Final = 300.0  # seconds after it was read last
_OBJECTS: Final = 2_000  # bytes that the objects of a state take
_EVENT: Final = 100  # bytes that the objects of a recent event take

_HIT: Final = metrics.KEPT.labels("state", "hit")
_MISS: Final = metrics.KEPT.labels("state", "miss")


class _Folded(NamedTuple):
    """A state, and all that it was folded from."""

    packed: bytes
    delta: list[bytes]
    numbers: list[int | None]  # of the items of the recent events and of hidden ones, when it was folded
    revision: int  # of the catalogue, at which these numbers were last compared
    state: State


class KeptStates:
    """States by person. One is found only by the very bytes that it was folded from, so an event counts at once."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._states: BoundedCache[Person, _Folded] = BoundedCache(MOST_BYTES, KEPT_FOR)

    def __contains__(self, person: Person) -> bool:
        return self._states.find(person) is not None

    def find(self, person: Person, packed: bytes, delta: list[bytes]) -> State | None:
        """The state of a base and its recent events; None unless exactly these were folded."""
        found = self._states.find(person)
        if found is None or found.packed != packed or found.delta != delta or not self._is_current(found):
            _MISS.inc()
            return None
        _HIT.inc()
        if found.revision == self._catalogue.revision:
            self._states.renew(person)
        else:
            self._keep(person, found._replace(revision=self._catalogue.revision))
        return found.state

    def keep(self, person: Person, packed: bytes, delta: list[bytes], state: State) -> None:
        """Keep a state for whoever reads the same bytes. The caller has just folded it, by the present catalogue."""
        catalogue = self._catalogue
        self._keep(person, _Folded(packed, delta, self._numbers(delta, state), catalogue.revision, state))

    def forget(self, person: Person) -> None:
        """Forget what is kept of a person."""
        self._states.drop(person)

    def _keep(self, person: Person, folded: _Folded) -> None:
        size = 2 * len(folded.packed) + sum(map(len, folded.delta)) + _EVENT * len(folded.delta) + _OBJECTS
        size += BYTES * len(folded.state.items)  # of its habits
        self._states.keep(person, folded, size)

    def _is_current(self, found: _Folded) -> bool:
        """Whether the catalogue gives the items of the recent events and the hidden ones the same numbers as before."""
        return found.revision == self._catalogue.revision or found.numbers == self._numbers(found.delta, found.state)

    def _numbers(self, delta: list[bytes], state: State) -> list[int | None]:
        ids = [*(unpack_recent(packed).item_id for packed in delta), *state.choices.items]
        return [self._catalogue.number_of(id) for id in ids]
