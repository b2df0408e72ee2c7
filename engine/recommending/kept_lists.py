"""The first pages that this process has just made: an equal request for the same state gets the same page."""

from collections.abc import Collection, Hashable, Sequence
from typing import Any, Final, NamedTuple
from weakref import ref

from core import clock, metrics
from core.bounded_cache import BoundedCache
from core.contract import Person
from engine.catalogue.catalogue import Catalogue
from engine.recommending.pages import Page
from ml.ranked import REASON

MOST_BYTES: Final = 16 * 2**20  # of all lists
MOST_TEXT: Final = 8 * 2**20  # bytes of the JSON texts of lists
KEPT_FOR: Final = 60.0  # seconds: in that time the lift of a purchase loses 5 %, any other lift 0.2 %
_FROM_FALLBACK: Final = frozenset(REASON[name] for name in ("POPULAR", "NEW", "BOUGHT_BY_OTHERS", "OTHER", "TRENDING"))
_OBJECTS: Final = 1_500  # bytes that the objects of a page take
_ITEM: Final = 250  # bytes that each of its items takes

_HIT: Final = metrics.KEPT.labels("list", "hit")
_MISS: Final = metrics.KEPT.labels("list", "miss")

Key = tuple[Person | None, Hashable]  # the person the list is for, and everything that was asked for


class _Made(NamedTuple):
    """The lists of an answer, and what they were made from beside the catalogue and the bundle."""

    source: ref[Any]  # a state may be large: its own cache says how long it is kept
    pages: Sequence[Page]
    filling: int | None  # the number of the fallback that says something of them; None when none does


class KeptLists:
    """Pages by what was asked for, made by the bundle that serves. All are dropped with any change of the catalogue.

    A new fallback comes each minute, when what is popular was counted again. Lists that it fills are made anew then.
    The others are kept: to make all of them anew at once would delay everybody.

    The lists of a `User.page` are kept together. `texts` are the JSON texts of lists that were found
    here: a page is found only while nothing that it says has changed.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._pages: BoundedCache[Key, _Made] = BoundedCache(MOST_BYTES, KEPT_FOR)
        self._made_from: tuple[int, object] = (-1, None)
        self._fallback: object = None
        self._filling = 0
        self.texts: BoundedCache[Hashable, Any] = BoundedCache(MOST_TEXT, KEPT_FOR)

    def __contains__(self, person: Person) -> bool:
        return any(key[0] == person for key in self._pages)

    def find(self, key: Key, source: object, bundle: object, fallback: object) -> Sequence[Page] | None:
        """The pages that were made from the very same objects, and from the catalogue as it is; None without any."""
        made = self._pages.find(key) if self._is_current(bundle) else None
        if made is None or made.source() is not source or max(map(_age, made.pages)) >= KEPT_FOR:
            return None
        if made.filling is not None and made.filling != self._number_of(fallback):
            return None
        _HIT.inc()
        return made.pages

    def keep(self, key: Key, source: object, bundle: object, fallback: object, pages: Sequence[Page]) -> None:
        """Keep pages that were made from the catalogue as it is."""
        _MISS.inc()
        if not self._is_current(bundle):
            self.clear()
            self._made_from = (self._catalogue.revision, bundle)
        filling = self._number_of(fallback) if any(map(_is_filled, pages)) else None
        size = sum(_OBJECTS + _ITEM * len(page.numbers) for page in pages) + 2 * len(repr(key))
        self._pages.keep(key, _Made(ref(source), pages, filling), size)

    def forget(self, people: Collection[Person]) -> None:
        """Forget the lists of these people."""
        for key in [key for key in self._pages if key[0] in people]:
            self._pages.drop(key)
        self.texts.clear()

    def clear(self) -> None:
        """Forget all lists, and what they were made from."""
        self._pages.clear()
        self._made_from = (-1, None)
        self.texts.clear()

    def _is_current(self, bundle: object) -> bool:
        revision, by = self._made_from
        return revision == self._catalogue.revision and by is bundle

    def _number_of(self, fallback: object) -> int:
        """A number for the fallback of now: a list that named an old one itself would keep it in memory."""
        if fallback is not self._fallback:
            self._fallback = fallback
            self._filling += 1
        return self._filling


def _is_filled(page: Page) -> bool:
    """Whether a page has items of the fallback, or too few: another fallback may fill it."""
    return not page.more or not _FROM_FALLBACK.isdisjoint(page.reasons)


def _age(page: Page) -> float:
    return clock.now().timestamp() - page.pin.as_of
