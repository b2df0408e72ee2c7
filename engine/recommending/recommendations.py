"""The three lists: what a person wants next, what is like an item, what many buy now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from core import metrics
from core.contract import Person
from core.errors import InvalidInput, StoreUnavailable, Unanswerable
from db.items import Item
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.recommending.pages import Mask, Page, Pin, Select, cut_page, read_pin
from engine.recommending.people import Degradation, PersonLoader
from engine.recommending.serving_models import Popular, ServingModels
from engine.signing import Signer
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import score, select, view_person
from ml.affinity.similar import similar
from ml.ranked import REASON, Explained, Ranked, explain_as
from ml.state import State

MOST_IDS = 500  # of one argument
MOST_CONTEXT = 100
SHORTEST_WINDOW, LONGEST_WINDOW = timedelta(hours=1), timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller asks of a list beyond its length; items by the shop's ids."""

    first: int
    after: str | None = None
    wanted: Filter | None = None
    market: str | None = None
    category: str | None = None
    near: Sequence[str] = ()  # items that say what the person is at: their neighbours are lifted
    exclude: Sequence[str] = ()
    among: Sequence[str] | None = None
    personalize: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Listed:
    """A page with what it was made from."""

    page: Page
    bundle: AffinityModel | None
    degraded: list[Degradation]

    def __post_init__(self) -> None:
        for reason in self.degraded:
            metrics.DEGRADED.labels(reason).inc()


class Recommender:
    """Makes the lists of one request: all from one bundle, whatever is promoted meanwhile."""

    def __init__(self, catalogue: Catalogue, models: ServingModels, signer: Signer, people: PersonLoader) -> None:
        self._catalogue, self._models, self._signer, self._people = catalogue, models, signer, people
        self.bundle = models.current

    async def for_person(self, person: Person, wish: Wish) -> Listed:
        """What this person most likely wants next.

        Raises InvalidInput for a cursor that is damaged, expired or of another list, and for too many ids.
        """
        name = f"{person.kind}:{person.id}"
        pin, bundle = self._pinned(name, wish.after)
        state, degraded = State.empty(), list[Degradation]()
        if wish.personalize:
            state, missing = await self._people.state(person)
            degraded += missing
            if not await self._people.known(person):
                degraded.append(Degradation.UNKNOWN_PERSON)
        if bundle is None:
            degraded.append(Degradation.NO_MODEL)
        near = self._catalogue.numbers_of(_bounded(wish.near, "context", MOST_CONTEXT))

        view = view_person(bundle, state, as_of=pin.as_of, context=near)

        def choose(allowed: Mask) -> Select:
            return partial(select, score(view, allowed, self._models.fallback(bundle)))

        allowed = allowed_by(self._catalogue, wish)
        _rest_variants(self._catalogue, allowed, view.resting)
        return Listed(cut_page(self._catalogue, name, pin, allowed, wish.first, choose), bundle, degraded)

    async def like_item(self, item: Item, wish: Wish) -> Listed:
        """What is most like an item: its neighbours; without a model, or for a newer item, its category's items."""
        catalogue, name = self._catalogue, f"item:{item.id}"
        pin, bundle = self._pinned(name, wish.after)
        allowed = allowed_by(catalogue, wish)
        allowed[item.number] = False
        allowed &= ~catalogue.in_groups(catalogue.groups(np.array([item.number], np.uint32)))

        def choose(allowed: Mask) -> Select:
            if bundle is not None and item.number in bundle.numbers:
                return partial(similar, bundle.universe, item.number, allowed)
            return partial(_same_category, catalogue, item, self._models.fallback(bundle), allowed)

        page = cut_page(catalogue, name, pin, allowed, wish.first, choose)
        return Listed(page, bundle, [] if bundle else [Degradation.NO_MODEL])

    async def trending(self, window: timedelta, wish: Wish) -> Listed:
        """What most people bought within `window`; raises InvalidInput for a window outside an hour to a year."""
        if not SHORTEST_WINDOW <= window <= LONGEST_WINDOW:
            raise InvalidInput("window must be between PT1H and P365D.", field="window")
        name = f"trending:{int(window.total_seconds())}"
        pin = read_pin(self._signer, name, wish.after, bundle=None)
        try:
            popular = await self._models.trending(window)
        except StoreUnavailable as error:
            raise Unanswerable(error.store, "What is trending cannot be counted right now.") from error

        def choose(allowed: Mask) -> Select:
            return partial(_most_bought, popular, allowed)

        allowed = allowed_by(self._catalogue, wish)
        return Listed(cut_page(self._catalogue, name, pin, allowed, wish.first, choose), None, [])

    def _pinned(self, name: str, after: str | None) -> tuple[Pin, AffinityModel | None]:
        """The pin of the list `name`, and the bundle of its pages: the pinned one while it is held, else this one."""
        pin = read_pin(self._signer, name, after, bundle=self.bundle.id if self.bundle else None)
        return pin, (self._models.by_id(pin.bundle) if pin.bundle else None) or self.bundle


def allowed_by(catalogue: Catalogue, wish: Wish) -> Mask:
    """By item number: what the wish allows and can be had; the caller's own to write to."""
    allowed = catalogue.sellable(wish.wanted, wish.market)
    if wish.category is not None:
        allowed &= catalogue.mask(Filter(categories=(wish.category,)))
    if wish.among is not None:
        named = np.zeros_like(allowed)
        named[catalogue.numbers_of(_bounded(wish.among, "among", MOST_IDS))] = True
        allowed &= named
    allowed[catalogue.numbers_of(_bounded(wish.exclude, "exclude", MOST_IDS))] = False
    return allowed


def _rest_variants(catalogue: Catalogue, allowed: Mask, resting: NDArray[np.uint32]) -> None:
    """Who just bought an item wants no variant of it either."""
    known = resting[resting < catalogue.size]
    if catalogue.has_groups and len(known):
        allowed &= ~catalogue.in_groups(catalogue.groups(known))


def _bounded(ids: Sequence[str], field: str, most: int) -> Sequence[str]:
    if len(ids) > most:
        raise InvalidInput(f"{field} may name at most {most} items.", field=field)
    return ids


def _same_category(catalogue: Catalogue, item: Item, popular: NDArray[np.uint32], allowed: Mask, first: int) -> Ranked:
    """Items of the item's last category, popular ones first; then popular ones of any other."""
    nearest = Filter(categories=item.categories[-1:])
    inside = allowed & catalogue.mask(nearest)
    liked = popular[popular < len(allowed)]
    others = np.flatnonzero(inside).astype(np.uint32)
    ordered = np.concatenate([liked[inside[liked]], others, liked[allowed[liked]]])
    numbers, positions = np.unique(ordered, return_index=True)
    numbers = numbers[np.argsort(positions)][:first]

    def explain(numbers: NDArray[np.uint32]) -> Explained:
        same = inside[numbers]
        reasons = np.where(same, REASON["SIMILAR_TO"], REASON["POPULAR"]).astype(np.uint8)
        return Explained(reasons, np.where(same, item.number, 0).astype(np.uint32))

    return Ranked(numbers, np.linspace(0.1, 0, len(numbers) + 1, dtype=np.float32)[:-1], explain)


def _most_bought(popular: Popular, allowed: Mask, first: int) -> Ranked:
    inside = popular.numbers < len(allowed)
    kept = np.flatnonzero(inside & allowed[np.where(inside, popular.numbers, 0)])[:first]
    people = popular.people[kept]
    return Ranked(
        popular.numbers[kept],
        (people / max(int(popular.people[0]), 1)).astype(np.float32) if len(kept) else np.zeros(0, np.float32),
        explain_as("TRENDING"),
    )
