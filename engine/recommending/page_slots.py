"""The lists of one page: the person is read once, the network runs once, and no item is listed twice."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple, TypeVar

import numpy as np

from core.contract import Person
from core.errors import TookTooLong
from core.turns import OneAtATime
from engine.catalogue.catalogue import Catalogue
from engine.recommending.kept_lists import Key
from engine.recommending.list_kinds import (
    RANKED,
    allowed_by,
    check_count,
    exclude_variants,
    finished,
    hide_own,
    is_ranked,
    place_of,
    score_list,
    sources_of_kind,
)
from engine.recommending.pages import Page, Pin, Select, cut_page, list_of_person, meet, new_pin, without_shown
from engine.recommending.people import NOBODY, Degradation, PersonLoader, PersonState
from engine.recommending.recommendations import (
    MAX_CONTEXT_ITEMS,
    ListRequest,
    RecommendedList,
    key_of_list,
)
from engine.recommending.serving_models import ServingModels
from engine.rules.in_force import effects_of, leaders_of, make_ready
from engine.variety.varying import Place
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import PersonView, Scored, select, view_person
from ml.affinity.several_lists import WantedList, looking_at, narrow, score_together
from ml.masks import Mask, without
from ml.state import State

MAX_SLOTS: Final = 12  # lists of a page
SLOT_TIME: Final = 3.0  # seconds from the beginning of a page, after which a list that is not made is late
LARGEST_KEY: Final = 20_000  # characters: a page that names more is not kept. To measure 1 MB takes 4 ms, for each list
READ_TIME: Final = 2.0  # seconds, after which a page is made without the person's history

MadeT = TypeVar("MadeT")


class _Looks(NamedTuple):
    """What the person sees beside a list, by the shop's ids."""

    personalize: bool
    session: int
    context: tuple[str, ...]
    viewed: tuple[str, ...]
    ranked: bool = True  # by the model

    @property
    def basis(self) -> tuple[bool, int, bool]:
        """What of the person counts, and whether the model ranks: lists with the same basis are scored together."""
        return self.personalize, self.session, self.ranked


_Key = tuple[_Looks, tuple[Hashable, ...]]  # what decides a list, but for its length


def _key_of_page(person: Person, requests: Sequence[ListRequest | Exception], *, distinct: bool) -> Key | None:
    """The key under which all lists of a page are kept; None without a list, and when a request is wrong.

    It names all requests of the page: what a list holds depends on the lists before it.
    """
    wanted = [one.all_parts for one in requests if isinstance(one, ListRequest)]
    return (person, ("page", distinct, *wanted)) if requests and len(wanted) == len(requests) else None


class PageMaker:
    """Makes the lists of pages, all with one bundle.

    A page is kept as a whole. A list that would be the same alone is kept as that too, and is taken where it is kept.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        models: ServingModels,
        people: PersonLoader,
        turns: OneAtATime,
        bundle: AffinityModel | None,
    ) -> None:
        self._catalogue, self._models, self._people, self._turns = catalogue, models, people, turns
        self._bundle = bundle

    async def make(
        self,
        person: Person,
        requests: Sequence[ListRequest | Exception],
        show: Callable[[int, RecommendedList], MadeT],
        *,
        distinct: bool,
    ) -> list[MadeT | Exception]:
        """What `show` makes of each list, in the order of the requests; an error in place of a list that failed.

        `show` gets the place of the list, and is called while the items of the list certainly exist. With `distinct`
        no item is in two lists, nor are two variants of an item: the earlier list has it. A list that is not made
        within SLOT_TIME is TookTooLong; the others are returned.
        """
        until = asyncio.get_running_loop().time() + SLOT_TIME
        read: dict[bool, PersonState | Exception] = {}
        for personalize in {one.personalize for one in requests if isinstance(one, ListRequest)}:
            read[personalize] = await self._read(person, personalize=personalize)
        for one in requests:
            if isinstance(one, ListRequest):
                await make_ready(one.rules, self._catalogue)
        page = _Page(self._catalogue, self._models, self._bundle, person, read, distinct=distinct)
        key = _key_of_page(person, requests, distinct=distinct)
        if key is not None and self._kept(key, page.source) is not None:
            shown = await self._run(page, None, until, partial(self._show_kept, key, page, requests, show))
            if isinstance(shown, list):
                return shown
        for place, request in enumerate(requests):
            await self._run(page, place, until, partial(page.prepare, place, request))
        await self._run(page, None, until, page.score)
        made = [await self._run(page, place, until, partial(page.cut, place, show)) for place in range(len(requests))]
        if key is not None and len(page.made) == len(requests) and page.revision == self._catalogue.revision:
            self._keep(key, page)
        return made

    def _show_kept(
        self,
        key: Key,
        page: "_Page",
        requests: Sequence[ListRequest | Exception],
        show: Callable[[int, RecommendedList], MadeT],
    ) -> list[MadeT | Exception] | None:
        """The lists that are kept; None when the catalogue or the bundle has just changed."""
        kept = self._kept(key, page.source)
        if kept is None:
            return None
        return [show(place, page.listed(requests[place], one, kept=True)) for place, one in enumerate(kept)]

    def _kept(self, key: Key, source: object) -> Sequence[Page] | None:
        """The lists that are kept under a key, made from the same objects a moment ago."""
        models = self._models
        if self._bundle is not models.current:
            return None
        return models.lists.find(key, source, self._bundle, models.fallback(self._bundle))

    def _keep(self, key: Key, page: "_Page") -> None:
        """Keep the lists of a page together, and those that would be the same alone by themselves."""
        models, bundle, fallback = self._models, self._bundle, page.fallback
        if len(repr(key)) > LARGEST_KEY or bundle is not models.current or fallback is not models.fallback(bundle):
            return
        models.lists.keep(key, page.source, bundle, fallback, [page.made[place] for place in sorted(page.made)])
        for place, (own, source) in page.alone.items():
            models.lists.keep(own, source, bundle, fallback, (page.made[place],))

    async def _read(self, person: Person, *, personalize: bool) -> PersonState | Exception:
        """The person's state; an empty one when it takes too long. Not personalized: what they hid, nothing else."""
        try:
            async with asyncio.timeout(READ_TIME):
                return await self._people.state_for_list(person, personalize=personalize)
        except TimeoutError:
            return PersonState(State.empty(), [Degradation.NO_HISTORY]) if personalize else PersonState(NOBODY, [])
        except Exception as error:  # lists that do not use the history do without it
            return error if personalize else PersonState(NOBODY, [])

    async def _run(
        self, page: "_Page", place: int | None, until: float, step: Callable[[], MadeT]
    ) -> MadeT | Exception:
        """Run a step in a turn. Its error is that of the list at `place`, for which no more steps run; None: of all."""
        if place in page.failed:
            return page.failed[place]
        try:
            async with asyncio.timeout_at(until), self._turns:
                return step()
        except TimeoutError:
            return page.fail(place, TookTooLong())
        except Exception as error:  # whatever is wrong with one list, the others come
            return page.fail(place, error)


class _Page:
    """The lists of one page while they are made, by their places."""

    def __init__(
        self,
        catalogue: Catalogue,
        models: ServingModels,
        bundle: AffinityModel | None,
        person: Person,
        read: Mapping[bool, PersonState | Exception],
        *,
        distinct: bool,
    ) -> None:
        """`read`: what is known of the person, by whether a list is personalized; an error where it failed."""
        self._catalogue, self._models, self._bundle, self._person = catalogue, models, bundle, person
        self.read, self._distinct = read, distinct
        personal = read.get(True)
        end = personal.end if isinstance(personal, PersonState) else None
        self._pin: Pin = new_pin(bundle.id if bundle else None)._replace(end=end)
        self.fallback, self._kin = models.fallback(bundle), models.kin
        self._evidence = models.evidence if bundle is models.current else None
        self._views: dict[_Looks, PersonView] = {}
        self._wanted: dict[_Key, WantedList] = {}  # equal lists once
        self._asked: dict[_Key, ListRequest] = {}
        self._scored: dict[_Key, Scored] = {}
        self._requests: dict[int, tuple[ListRequest, _Key]] = {}
        self._kept: dict[int, Page] = {}  # those that are kept from when they were made alone
        self._shown: list[int] = []  # item numbers
        self.revision = catalogue.revision  # of the masks in `_wanted`, and of the lists in `_kept`
        self.made: dict[int, Page] = {}  # by place
        self.alone: dict[int, tuple[Key, State]] = {}  # how to keep the new lists that would be the same alone
        self.failed: dict[int | None, Exception] = {}

    @property
    def source(self) -> object:
        """The state that the lists are made from; the same object as long as nothing is known that changes them."""
        read = self.read.get(True) or self.read.get(False)
        return read.state if isinstance(read, PersonState) else read

    def fail(self, place: int | None, error: Exception) -> Exception:
        """Give up the list at a place, or all lists for None; returns the error."""
        for each in self._requests if place is None else [place]:
            self.failed.setdefault(each, error)
        return error

    def prepare(self, place: int, request: ListRequest | Exception) -> None:
        """Find out which items the list at a place may have. Raises what is wrong with the request."""
        if isinstance(request, Exception):
            raise request
        context, viewed = tuple(request.context_items), tuple(request.viewed_items)
        looks = _Looks(request.personalize, request.session, context, viewed, self._is_ranked(request))
        key = looks, request.items
        kept = self._find_kept(request)
        others = [number for page in self._kept.values() for number in page.numbers]
        if kept is None or (self._distinct and meet(self._catalogue, kept.numbers, others)):
            self._want(request, key)
        else:
            self._kept[place] = kept
        self._requests[place] = request, key

    def score(self) -> None:
        """Score all lists, with one run of the network for all that are made from the same."""
        wanted = [key[0].basis for key in self._wanted]
        for basis in dict.fromkeys([*((personalize, 0, True) for personalize in self.read), *wanted]):
            keys = [key for key in self._wanted if key[0].basis == basis and key not in self._scored]
            scored = score_together([self._wanted[key] for key in keys])
            for key, one in zip(keys, scored, strict=True):
                self._scored[key] = finished(self._catalogue, self._asked[key], one, self._place(self._asked[key]))

    def cut(self, place: int, show: Callable[[int, RecommendedList], MadeT]) -> MadeT:
        """The list at a place, without what is shown already."""
        request, key = self._requests[place]
        page = self._kept.get(place)
        if (
            page is None
            or self.revision != self._catalogue.revision
            or (self._distinct and meet(self._catalogue, page.numbers, self._shown))
        ):
            page = self._new(place, request, key)
        made = show(place, self.listed(request, page))
        self._shown += page.numbers
        self.made[place] = page
        return made

    def _new(self, place: int, request: ListRequest, key: _Key) -> Page:
        """A list as it is now. What is left out because the page shows it may be on its next page."""
        if key not in self._scored:  # it was kept, but an item of it is shown now
            self._want(request, key)
            self.score()
        scored, allowed = self._scored[key], self._wanted[key].allowed
        if self.revision != self._catalogue.revision:
            allowed, _ = self._masks(request, scored.view)
        alone = allowed = without(allowed, scored.view.left_out)
        if self._distinct:
            allowed = without_shown(self._catalogue, allowed, self._shown)

        def score_allowed(allowed: Mask) -> Select:
            return partial(select, narrow(scored, allowed))

        name = list_of_person(self._person)
        effects = effects_of(request.rules)
        page = cut_page(self._catalogue, name, self._pin, allowed, request.first, score_allowed, effects=effects)
        if allowed is not alone and not np.array_equal(allowed, alone):
            return replace(page, more=bool(page.numbers))
        read = self.read[request.personalize]
        if isinstance(read, PersonState):
            self.alone[place] = key_of_list(self._person, request), read.state
        return page

    def _find_kept(self, request: ListRequest) -> Page | None:
        """The list as it was made alone, from the same objects, a moment ago."""
        read, models = self.read[request.personalize], self._models
        if not isinstance(read, PersonState) or self._bundle is not models.current:
            return None
        key = key_of_list(self._person, request)
        found = models.lists.find(key, read.state, self._bundle, self.fallback)
        return None if found is None else found[0]

    def _want(self, request: ListRequest, key: _Key) -> None:
        """Note a list that is to be scored."""
        if key not in self._wanted:
            view = self._view(key[0])
            allowed, nameable = self._masks(request, view)
            fallback = self._models.fallback(self._bundle, sources_of_kind(request.placement, request.kind))
            self._wanted[key] = WantedList(view, allowed, fallback, nameable, leaders_of(request.rules, view))
            self._asked[key] = request
            if request.kind not in RANKED:
                place = self._place(request)
                self._scored[key] = score_list(self._catalogue, request, view, allowed, fallback, nameable, place=place)

    def _place(self, request: ListRequest) -> Place:
        return place_of(request, self._person, self._models, self._pin.as_of)

    def _is_ranked(self, request: ListRequest) -> bool:
        read = self.read[request.personalize]
        return not isinstance(read, PersonState) or is_ranked(request.placement, request.kind, read.state)

    def listed(self, request: ListRequest | Exception, page: Page, *, kept: bool = False) -> RecommendedList:
        """A list, with what is missing in it."""
        assert isinstance(request, ListRequest)
        read = self.read[request.personalize]
        if isinstance(read, Exception):
            raise read
        degraded = [*read.degraded, *([] if self._bundle else [Degradation.NO_MODEL])]
        return RecommendedList(page, self._bundle, degraded, kept)

    def _view(self, key: _Looks) -> PersonView:
        """The person on the page that a list is for. Only what they look at differs from list to list."""
        if key in self._views:
            return self._views[key]
        read = self.read[key.personalize]
        if isinstance(read, Exception):
            raise read
        check_count([*key.context, *key.viewed], "context", MAX_CONTEXT_ITEMS)
        context, viewed = self._catalogue.numbers_of(key.context), self._catalogue.numbers_of(key.viewed)
        kin = partial(self._kin.of, self.fallback)
        other = next((view for known, view in self._views.items() if known.basis == key.basis), None)
        if other is not None:
            view = looking_at(other, context, viewed, kin)
        else:
            as_of, evidence = self._pin.as_of, self._evidence if key.personalize and key.ranked else None
            kept = evidence.find(self._person) if evidence else None
            view = view_person(
                self._bundle if key.ranked else None,
                read.state,
                as_of=as_of,
                context=context,
                viewed=viewed,
                kin=kin,
                kept=kept,
                session=key.session,
            )
            if evidence is not None:
                evidence.keep(self._person, view)
        self._views[key] = view
        return view

    def _masks(self, request: ListRequest, view: PersonView) -> tuple[Mask, Mask]:
        """The items that a list may have, and those that its reasons may name."""
        allowed, nameable = allowed_by(self._catalogue, request)
        context = self._catalogue.numbers_of(request.context_items)
        allowed[context] = False
        exclude_variants(self._catalogue, allowed, np.concatenate([view.left_out, context]))
        hide_own(self._catalogue, request, view, view.state, allowed, nameable)
        return allowed, nameable
