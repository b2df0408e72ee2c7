"""The lists: items for a person, items similar to an item, items that many people buy now."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import numpy as np
from numpy.typing import NDArray

from core import metrics
from core.contract import Person
from core.errors import InvalidInput, StoreUnavailable, Unanswerable
from core.turns import OneAtATime
from db.items import Item
from db.shares import Share
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.recommending.pages import Page, Pin, Select, cut_page, read_pin
from engine.recommending.people import Degradation, PersonLoader
from engine.recommending.serving_models import ServingModels
from engine.recommending.trends import Popular
from engine.signing import Signer
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import PersonView, Scored, score, select, view_person
from ml.affinity.similar import similar
from ml.masks import Mask
from ml.ranked import REASON, Explained, Ranked, explain_as
from ml.state import State

MAX_IDS = 500  # in one argument
MAX_CONTEXT_ITEMS = 100
MAX_PLACEMENT = 64  # characters


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Which items a caller wants in a list. Items are named by the shop's ids."""

    first: int
    after: str | None = None
    filter: Filter | None = None
    market: str | None = None
    category: str | None = None
    context_items: Sequence[str] = ()  # on the page or in the cart: their neighbours are lifted
    exclude: Sequence[str] = ()
    among: Sequence[str] | None = None
    personalize: bool = True

    @property
    def items(self) -> tuple[Hashable, ...]:
        """Everything that decides which items are allowed."""
        among = None if self.among is None else tuple(self.among)
        return self.filter, self.market, self.category, tuple(self.exclude), among


@dataclass(frozen=True, slots=True, eq=False)
class RecommendedList:
    """A page of a list, the bundle that made it, and why it is degraded."""

    page: Page
    bundle: AffinityModel | None
    degraded: list[Degradation]

    def __post_init__(self) -> None:
        for reason in self.degraded:
            metrics.DEGRADED.labels(reason).inc()


class Recommender:
    """Makes the lists of one request, all with the same bundle, even if another is promoted meanwhile.

    Equal lists of a person, for example for two placements, are scored once.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        models: ServingModels,
        signer: Signer,
        people: PersonLoader,
        reads: Share,
        turns: OneAtATime,
    ) -> None:
        self._catalogue, self._models, self._signer, self._people = catalogue, models, signer, people
        self._reads, self._turns = reads, turns
        self.bundle = models.current
        self._views: dict[tuple[Hashable, ...], PersonView] = {}
        self._scored: dict[tuple[Hashable, ...], Scored] = {}

    async def for_person(self, person: Person, request: ListRequest) -> RecommendedList:
        """The items that this person most likely wants next.

        Raises InvalidInput for a cursor that is damaged, expired or of another list, and for too many ids.
        """
        name = f"{person.kind}:{person.id}"
        pin, bundle = self._pinned(name, request.after)
        state, degraded = State.empty(), list[Degradation]()
        if request.personalize:
            state, missing = await self._people.state(person)
            degraded += missing
            if not await self._people.known(person):
                degraded.append(Degradation.UNKNOWN_PERSON)
        if bundle is None:
            degraded.append(Degradation.NO_MODEL)
        async with self._turns:
            return RecommendedList(self._page_for(person, request, name, pin, bundle, state), bundle, degraded)

    def _page_for(
        self, person: Person, request: ListRequest, name: str, pin: Pin, bundle: AffinityModel | None, state: State
    ) -> Page:
        context = _check_count(request.context_items, "context", MAX_CONTEXT_ITEMS)
        viewed = (person, bundle and bundle.id, pin.as_of, request.personalize, *context)
        if viewed not in self._views:
            numbers = self._catalogue.numbers_of(context)
            self._views[viewed] = view_person(bundle, state, as_of=pin.as_of, context=numbers)
        view = self._views[viewed]

        def score_allowed(allowed: Mask) -> Select:
            key = (viewed, request.items, tuple(pin.seen), self._catalogue.version)
            if key not in self._scored:
                self._scored[key] = score(view, allowed, self._models.fallback(bundle))
            return partial(select, self._scored[key])

        allowed = allowed_by(self._catalogue, request)
        _exclude_variants(self._catalogue, allowed, view.resting)
        return cut_page(self._catalogue, name, pin, allowed, request.first, score_allowed)

    async def like_item(self, item: Item, request: ListRequest) -> RecommendedList:
        """The items most similar to an item. Without a model, or for an item newer than it: its category."""
        name = f"item:{item.id}"
        pin, bundle = self._pinned(name, request.after)
        async with self._turns:
            page = self._page_like(item, request, name, pin, bundle)
        return RecommendedList(page, bundle, [] if bundle else [Degradation.NO_MODEL])

    def _page_like(self, item: Item, request: ListRequest, name: str, pin: Pin, bundle: AffinityModel | None) -> Page:
        catalogue = self._catalogue
        allowed = allowed_by(catalogue, request)
        allowed[item.number] = False
        allowed &= ~catalogue.in_groups(catalogue.groups(np.array([item.number], np.uint32)))

        def score_allowed(allowed: Mask) -> Select:
            if bundle is not None and item.number in bundle.numbers:
                return partial(similar, bundle.universe, item.number, allowed)
            return partial(_same_category, catalogue, item, self._models.fallback(bundle), allowed)

        return cut_page(catalogue, name, pin, allowed, request.first, score_allowed)

    async def trending(self, window: timedelta, request: ListRequest) -> RecommendedList:
        """The items that most people bought within `window`, or the next longer window that is counted.

        Raises InvalidInput for a window outside an hour to a year, RateLimited while the caller waits for too many, and
        Unanswerable while they cannot be counted.
        """
        trends = self._models.trends
        window = trends.window_for(window)
        name = f"trending:{int(window.total_seconds())}"
        pin = read_pin(self._signer, name, request.after, bundle=None)
        try:
            popular = await trends.popular(window, self._reads)
        except StoreUnavailable as error:
            raise Unanswerable(error.store, "What is trending cannot be counted right now.") from error

        def score_allowed(allowed: Mask) -> Select:
            return partial(_most_bought, popular, allowed)

        async with self._turns:
            allowed = allowed_by(self._catalogue, request)
            page = cut_page(self._catalogue, name, pin, allowed, request.first, score_allowed)
        return RecommendedList(page, None, [])

    def _pinned(self, name: str, after: str | None) -> tuple[Pin, AffinityModel | None]:
        """The pin of the list `name`, and the bundle for its pages: the pinned one if it is kept, else the current."""
        pin = read_pin(self._signer, name, after, bundle=self.bundle.id if self.bundle else None)
        return pin, (self._models.by_id(pin.bundle) if pin.bundle else None) or self.bundle


def check_placement(name: str) -> str:
    """The name itself; raises InvalidInput when it is empty or too long."""
    if not 0 < len(name) <= MAX_PLACEMENT:
        raise InvalidInput(f"placement must have 1 to {MAX_PLACEMENT} characters.", field="placement")
    return name


def allowed_by(catalogue: Catalogue, request: ListRequest) -> Mask:
    """A new mask by item number: the items that the request allows and that are available."""
    allowed = catalogue.sellable(request.filter, request.market)
    if request.category is not None:
        allowed &= catalogue.mask(Filter(categories=(request.category,)))
    if request.among is not None:
        named = np.zeros_like(allowed)
        named[catalogue.numbers_of(_check_count(request.among, "among", MAX_IDS))] = True
        allowed &= named
    allowed[catalogue.numbers_of(_check_count(request.exclude, "exclude", MAX_IDS))] = False
    return allowed


def _exclude_variants(catalogue: Catalogue, allowed: Mask, resting: NDArray[np.uint32]) -> None:
    """Take the variants of items that were just bought out of the mask."""
    known = resting[resting < catalogue.size]
    if catalogue.has_groups and len(known):
        allowed &= ~catalogue.in_groups(catalogue.groups(known))


def _check_count(ids: Sequence[str], field: str, most: int) -> Sequence[str]:
    if len(ids) > most:
        raise InvalidInput(f"{field} may name at most {most} items.", field=field)
    return ids


def _same_category(catalogue: Catalogue, item: Item, popular: NDArray[np.uint32], allowed: Mask, first: int) -> Ranked:
    """Items of the item's last category, popular ones first; then popular items of any category."""
    inside = allowed & catalogue.mask(Filter(categories=item.categories[-1:]))
    bought = popular[popular < len(allowed)]
    others = np.flatnonzero(inside).astype(np.uint32)
    ordered = np.concatenate([bought[inside[bought]], others, bought[allowed[bought]]])
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
