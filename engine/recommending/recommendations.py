"""The lists: items for a person, items like an item or bought together with it, items that many people buy now."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core import metrics
from core.contract import Person
from core.errors import StoreUnavailable, Unanswerable
from core.turns import OneAtATime
from db.items import Item
from db.shares import Share
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.placements.placement import Placement
from engine.placements.settings import ListKind
from engine.recommending.kept_lists import Key
from engine.recommending.list_kinds import (
    allowed_by,
    check_count,
    exclude_variants,
    hide_own,
    is_ranked,
    kind_of,
    place_of,
    score_whole,
    sources_of_kind,
)
from engine.recommending.pages import Page, Pin, Select, cut_page, list_of_person, read_pin
from engine.recommending.people import Degradation, PersonLoader
from engine.recommending.same_category import same_category
from engine.recommending.serving_models import ServingModels
from engine.recommending.trends import most_bought
from engine.rules.in_force import RulesInForce, effects_of, make_ready
from engine.signing import Signer
from engine.variety.varying import vary
from ml.affinity.bought_together import bought_together
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import PersonView, Scored, leaving_out, select, view_person
from ml.affinity.several_lists import narrow, within
from ml.affinity.similar import has_similar, similar
from ml.fallback import Fallback
from ml.masks import Mask, without
from ml.state import State

MAX_CONTEXT_ITEMS = 100


class ListRequest(NamedTuple):
    """Which items a caller wants in a list. Items are named by the shop's ids."""

    first: int
    after: str | None = None
    filter: Filter | None = None
    market: str | None = None
    category: str | None = None
    context_items: Sequence[str] = ()  # on the page or in the cart: left out, and their neighbours are lifted
    viewed_items: Sequence[str] = ()  # just looked at: their neighbours are lifted
    session: int = 0  # the hash of the person's session that runs; 0: their events say which visit runs
    exclude: Sequence[str] = ()
    among: Sequence[str] | None = None  # rank these alone: none is left out for what the person bought, nor collapsed
    personalize: bool = True
    shelf: str | None = None  # where the list is shown; None: nobody sees it
    placement: Placement | None = None  # what the shop wants there; None: a list as by default
    segments: frozenset[str] = frozenset()  # of the person, for the rules to be found by
    rules: RulesInForce | None = None  # the shop's rules that hold; whoever makes the list waits until they are ready
    query: str | None = None  # what the person searches for: only rules look at it
    asked: ListKind | None = None  # the kind of list; None: the placement's

    @property
    def kind(self) -> ListKind:
        """What is listed."""
        return kind_of(self.placement, self.asked)

    @property
    def items(self) -> tuple[Hashable, ...]:
        """Everything that decides which items are allowed."""
        among = None if self.among is None else tuple(self.among)
        of_page = self.category, tuple(self.exclude), tuple(self.context_items), among
        rules = self.rules and (self.rules.identity, self.rules.effects.revision)  # a kept list holds no effects
        return self.filter, self.market, *of_page, self.placement, rules, self.asked

    @property
    def all_parts(self) -> tuple[Hashable, ...]:
        """Everything that decides a first page, but for the lists beside it."""
        return self.items, self.first, tuple(self.viewed_items), self.session, self.personalize


class Basis(NamedTuple):
    """What a list of a person is scored from."""

    viewed: tuple[Hashable, ...]  # which view it is, within one request
    view: PersonView
    allowed: Mask  # but for what `view` leaves out
    nameable: Mask
    fallback: Fallback
    begun: tuple[PersonView, Mask] | None = None  # view and mask of the first page, where a later state leaves out more


@dataclass(frozen=True, slots=True, eq=False)
class RecommendedList:
    """A page of a list, the bundle that made it, and why it is degraded. `kept`: it was made for an earlier request."""

    page: Page
    bundle: AffinityModel | None
    degraded: list[Degradation]
    kept: bool = False

    def __post_init__(self) -> None:
        for reason in self.degraded:
            metrics.DEGRADED.labels(reason).inc()


class Recommender:
    """Makes the lists of one request, all with the same bundle, even if another is promoted meanwhile.

    Equal lists of a person, for example for two placements, are scored once. Lists of a person for different placements
    do not repeat each other's items on their first pages, unless there is nothing else; nor does a list repeat what an
    item of its context lists as similar or bought together. The first computed has them.

    First pages are kept for other requests, see `KeptLists`: `as_of` says when a page was made.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        models: ServingModels,
        signer: Signer,
        people: PersonLoader,
        turns: OneAtATime,
    ) -> None:
        self._catalogue, self._models, self._signer, self._people = catalogue, models, signer, people
        self._turns = turns
        self.bundle = models.current
        self._views: dict[tuple[Hashable, ...], PersonView] = {}
        self._scored: dict[tuple[Hashable, ...], Scored] = {}
        self._shelves: dict[Person, dict[str, list[int]]] = {}  # what the first page of each placement shows
        self._item_lists: dict[str, dict[str, NDArray[np.uint32]]] = {}  # what the first pages of an item's lists show

    async def for_person(self, person: Person, request: ListRequest) -> RecommendedList:
        """The items that this person most likely wants next.

        Raises InvalidInput for a cursor that is damaged, expired or of another list, and for too many ids.
        """
        name = list_of_person(person)
        pin, bundle = await self._pinned(name, request.after)
        await make_ready(request.rules, self._catalogue)
        state, missing, end = await self._people.state_for_list(person, personalize=request.personalize)
        degraded = [*missing, *([] if bundle else [Degradation.NO_MODEL])]
        if request.after is None:
            pin = pin._replace(end=end)
        earlier = None
        if request.after is not None and request.personalize and pin.end is not None:
            earlier = await self._people.state_until(person, pin.end)
        page = kept = self._kept(self._key_for(person, request), state, bundle, request)
        if page is None:
            async with self._turns:  # meanwhile another list may be shown, or this one made
                page = self._kept(self._key_for(person, request), state, bundle, request)
                if page is None:
                    page = self._page_for(person, request, name, pin, bundle, state, earlier)
                    self._keep(self._key_for(person, request), state, bundle, request, page)
        self._remember_shown(person, request, page)
        return RecommendedList(page, bundle, degraded, kept is not None)

    def _key_for(self, person: Person, request: ListRequest) -> Key | None:
        """The key of a list that somebody sees."""
        if request.shelf is None:
            return None
        elsewhere = self._shown_elsewhere(person, request)
        return key_of_list(person, request, b"" if elsewhere is None else elsewhere.tobytes())

    def _page_for(
        self,
        person: Person,
        request: ListRequest,
        name: str,
        pin: Pin,
        bundle: AffinityModel | None,
        state: State,
        earlier: State | None,
    ) -> Page:
        """A page of a list. `earlier` is the state that a list is pinned to; `state` still leaves out what it does."""
        basis, effects = self.basis_for(person, request, pin, bundle, state, earlier), effects_of(request.rules)
        place = place_of(request, person, self._models, pin.as_of, pin.seen)

        def score_allowed(allowed: Mask) -> Select:
            key = (basis.viewed, request.items, self._catalogue.version)
            if key not in self._scored:  # for all pages: each has its items in the order of the whole list
                view, whole = basis.begun or (basis.view, basis.allowed)
                self._scored[key] = score_whole(self._catalogue, request, view, whole, basis.fallback, basis.nameable)
            scored = self._scored[key]
            if pin.seen:
                scored = narrow(scored, allowed)
            elif effects:
                scored = within(scored, allowed)
            return partial(select, vary(self._catalogue, request.placement, scored, place))

        cut = partial(cut_page, self._catalogue, name, pin, basis.allowed, request.first, score_allowed)
        elsewhere = self._shown_elsewhere(person, request)
        return cut(elsewhere, collapse=request.among is None, effects=effects)

    def basis_for(
        self,
        person: Person,
        request: ListRequest,
        pin: Pin,
        bundle: AffinityModel | None,
        state: State,
        earlier: State | None = None,
    ) -> Basis:
        """What a list is scored from; the states are those of `_page_for`. Raises InvalidInput for too many ids."""
        context, looked_at = request.context_items, request.viewed_items
        check_count([*context, *looked_at], "context", MAX_CONTEXT_ITEMS)
        placement, kind, usual = request.placement, request.kind, self._models.fallback(bundle)
        fallback = self._models.fallback(bundle, sources_of_kind(placement, kind))
        bundle = bundle if is_ranked(placement, kind, state) else None
        pinned = (pin.as_of, earlier is not None, request.personalize)
        viewed = (person, bundle and bundle.id, *pinned, tuple(context), tuple(looked_at), request.session)
        numbers = self._catalogue.numbers_of(context)
        if viewed not in self._views:
            evidence = self._models.evidence
            keeps = request.shelf is not None and request.personalize and bundle is self._models.current
            view = view_person(
                bundle,
                state if earlier is None else earlier,
                as_of=pin.as_of,
                context=numbers,
                viewed=self._catalogue.numbers_of(looked_at),
                kin=partial(self._models.kin.of, usual),
                kept=evidence.find(person) if keeps else None,
                session=request.session,
            )
            if keeps and earlier is None:
                evidence.keep(person, view)
            self._views[viewed] = view
        allowed, nameable = allowed_by(self._catalogue, request)

        def left(view: PersonView, state: State, allowed: Mask) -> tuple[PersonView, Mask]:
            """The view and the mask without what the state leaves out."""
            if request.among is None:
                allowed[numbers] = False
                exclude_variants(self._catalogue, allowed, np.concatenate([view.left_out, numbers]))
            else:
                view = replace(view, left_out=np.concatenate([view.left_out, numbers]))
            hide_own(self._catalogue, request, view, state, allowed, nameable)
            return view, allowed

        begun = left(self._views[viewed], state if earlier is None else earlier, allowed)
        if earlier is None:
            return Basis(viewed, *begun, nameable, fallback)
        view, allowed = left(leaving_out(begun[0], state), state, begun[1].copy())
        gone = view.left_out if request.among is None else view.dislikes.hidden
        return Basis(viewed, view, without(allowed, gone), nameable, fallback, begun)

    def _shown_elsewhere(self, person: Person, request: ListRequest) -> NDArray[np.uint32] | None:
        """What the first page of a list should not repeat."""
        if request.shelf is None or request.after is not None:
            return None
        shelves = self._shelves.get(person, {})
        shown = [np.array(numbers, np.uint32) for shelf, numbers in shelves.items() if shelf != request.shelf]
        shown += [of for id in request.context_items for of in self._item_lists.get(id, {}).values()]
        return np.concatenate(shown) if shown else None

    def _remember_shown(self, person: Person, request: ListRequest, page: Page) -> None:
        if request.shelf is not None and request.after is None:
            shelves = self._shelves.setdefault(person, {})
            shelves[request.shelf] = shelves.get(request.shelf, []) + page.numbers

    def _kept(self, key: Key | None, source: object, bundle: AffinityModel | None, request: ListRequest) -> Page | None:
        """A first page that was made from the same objects a moment ago."""
        if key is None or request.after is not None or bundle is not self._models.current:
            return None
        found = self._models.lists.find(key, source, bundle, self._models.fallback(bundle))
        return None if found is None else found[0]

    def _keep(
        self, key: Key | None, source: object, bundle: AffinityModel | None, request: ListRequest, page: Page
    ) -> None:
        if key is not None and request.after is None and bundle is self._models.current:
            self._models.lists.keep(key, source, bundle, self._models.fallback(bundle), (page,))

    async def like_item(self, item: Item, request: ListRequest) -> RecommendedList:
        """The items most similar to an item. Without a model, or for an item newer than it: its category."""

        def score_allowed(bundle: AffinityModel | None, allowed: Mask) -> Select:
            fallback = self._models.fallback(bundle)
            if bundle is not None and has_similar(bundle.universe, item.number):
                return partial(similar, bundle.universe, item.number, allowed, fallback)
            return partial(same_category, self._catalogue, item, fallback, allowed)

        return await self._list_of_item(f"item:{item.id}", item, request, score_allowed)

    async def bought_with(self, item: Item, request: ListRequest) -> RecommendedList:
        """What completes an item: the same orders hold it. Nothing fills the list.

        It is degraded with a bundle of a release that did not learn what completes items.
        """

        def score_allowed(bundle: AffinityModel | None, allowed: Mask) -> Select:
            return partial(bought_together, bundle.universe if bundle else None, item.number, allowed)

        listed = await self._list_of_item(f"with:{item.id}", item, request, score_allowed)
        if listed.bundle is None or listed.bundle.universe.together is not None:
            return listed
        return replace(listed, degraded=[Degradation.OLD_MODEL])

    async def _list_of_item(
        self, name: str, item: Item, request: ListRequest, score_allowed: Callable[[AffinityModel | None, Mask], Select]
    ) -> RecommendedList:
        """A list that is the same for everybody, without the item and its variants; `name` is that of the list."""
        pin, bundle = await self._pinned(name, request.after)
        key, source = (None, (name, request.items, request.first)), self._models
        async with self._turns:
            page = kept = self._kept(key, source, bundle, request)
            if page is None:
                catalogue = self._catalogue
                allowed, _ = allowed_by(catalogue, request)
                allowed[item.number] = False
                allowed[catalogue.variants_of(np.array([item.number], np.uint32))] = False
                page = cut_page(catalogue, name, pin, allowed, request.first, partial(score_allowed, bundle))
                self._keep(key, source, bundle, request, page)
        if request.after is None:
            lists = self._item_lists.setdefault(item.id, {})
            lists.setdefault(name, np.array(page.numbers, np.uint32))
        return RecommendedList(page, bundle, [] if bundle else [Degradation.NO_MODEL], kept is not None)

    async def trending(self, window: timedelta, request: ListRequest, reads: Share) -> RecommendedList:
        """The items that most people bought within `window`, or the next longer window that is counted, by `reads`.

        Raises InvalidInput for a window outside an hour to a year, RateLimited while the caller waits for too many, and
        Unanswerable while they cannot be counted.
        """
        trends = self._models.trends
        window = trends.window_for(window)
        name = f"trending:{int(window.total_seconds())}"
        pin = read_pin(self._signer, name, request.after, bundle=None)
        try:
            popular = await trends.popular(window, reads)
        except StoreUnavailable as error:
            raise Unanswerable(error.store, "What is trending cannot be counted right now.") from error

        def score_allowed(allowed: Mask) -> Select:
            return partial(most_bought, popular, allowed)

        key, bundle = (None, (name, request.items, request.first)), self._models.current
        async with self._turns:
            page = kept = self._kept(key, popular, bundle, request)
            if page is None:
                allowed, _ = allowed_by(self._catalogue, request)
                page = cut_page(self._catalogue, name, pin, allowed, request.first, score_allowed)
                self._keep(key, popular, bundle, request, page)
        return RecommendedList(page, None, [], kept is not None)

    async def _pinned(self, name: str, after: str | None) -> tuple[Pin, AffinityModel | None]:
        """The pin of the list `name`, and the bundle for its pages: the pinned one if it is there, else the current."""
        pin = read_pin(self._signer, name, after, bundle=self.bundle.id if self.bundle else None)
        if pin.bundle is None or (self.bundle is not None and self.bundle.id == pin.bundle):
            return pin, self.bundle
        return pin, await self._models.pinned(pin.bundle) or self.bundle


def key_of_list(person: Person, request: ListRequest, elsewhere: bytes = b"") -> Key:
    """The key of the first page of a person's list; `elsewhere` says what the lists beside it show."""
    return person, (request.all_parts, elsewhere)
