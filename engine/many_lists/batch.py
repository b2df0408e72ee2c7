"""Lists for many people, one after another: the lists that each would get by themselves, with one bundle for all."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Self

import structlog

from core.contract import Person, check_user_id
from core.errors import InvalidInput, RateLimited, StoreUnavailable
from core.turns import OneAtATime
from db.shares import Share
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.placements.placement import Placement, check_placement, length_of
from engine.placements.serving_placements import ServingPlacements
from engine.placements.settings import MOST_UNNAMED, ListKind
from engine.recommending.people import (
    Degradation,
    PeopleReader,
    PersonLoader,
    PersonState,
    ReadPerson,
    is_paused,
)
from engine.recommending.recommendations import ListRequest, RecommendedList, Recommender
from engine.recommending.serving_models import ServingModels
from engine.rules.rule_book import RuleBook
from engine.rules.serving_rules import ServingRules
from engine.segments.memberships import NONE
from engine.signing import Signer
from ml.affinity.model import AffinityModel
from ml.ranked import REASONS

log = structlog.get_logger()

MAX_FIRST: Final = 100
AT_ONCE: Final = 50  # people whose data is read together


class BatchRequest(NamedTuple):
    """The list that everybody gets, and where it is to be shown."""

    placement: str
    wanted: ListRequest
    unnamed: bool = False  # whether the placement may say how many items: no more than `wanted` does

    @classmethod
    def of(
        cls, placement: str, first: int | None, market: str | None, filter: Filter | None, kind: str | None = None
    ) -> Self:
        """The request for lists of `first` items, or of as many as the placement says, and of a kind.

        Raises InvalidInput.
        """
        most = MOST_UNNAMED if first is None else first
        if not 1 <= most <= MAX_FIRST:
            raise InvalidInput(f"first must be between 1 and {MAX_FIRST}.", "first")
        wanted = ListRequest(most, filter=filter, market=market, asked=_read_kind(kind))
        return cls(check_placement(placement), wanted, first is None)

    def placed(self, placement: Placement | None) -> Self:
        """The request as this placement wants it."""
        first = length_of(placement, None if self.unnamed else self.wanted.first, self.wanted.first)
        return self._replace(wanted=self.wanted._replace(placement=placement, first=first))


class BatchItem(NamedTuple):
    """An item of a list. `reason_item` is the item that the reason is about."""

    id: str
    score: float
    reason: str
    reason_item: str


@dataclass(frozen=True, slots=True)
class UserList:
    """The list of one user, best first."""

    user_id: str
    placement: str
    model: str | None
    as_of: datetime
    degraded: Sequence[Degradation]
    items: Sequence[BatchItem]

    def as_json(self) -> dict[str, Any]:
        """The list as a line of the answer."""
        return {
            "userId": self.user_id,
            "placement": self.placement,
            "modelVersion": self.model,
            "asOf": self.as_of,
            "degraded": list(self.degraded),
            "items": [
                {
                    "id": item.id,
                    "rank": rank,
                    "score": item.score,
                    "reason": item.reason,
                    "reasonItemId": item.reason_item,
                }
                for rank, item in enumerate(self.items, 1)
            ],
        }


@dataclass(frozen=True, slots=True)
class RefusedUser:
    """An id that is no user id, and why."""

    user_id: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The error as a line of the answer."""
        return {"userId": self.user_id, "error": {"code": "BAD_USER_INPUT", "message": self.reason}}


class _ReadPeople(PersonLoader):
    """People who were read together. Anybody else is read alone."""

    def __init__(self, reader: PeopleReader, read: Mapping[Person, ReadPerson]) -> None:
        super().__init__(reader)
        self._all, self._read = reader, read

    async def state(self, person: Person) -> PersonState:
        if person in self._read and person not in self._states:
            self._states[person] = await self._all.fold_read(self._read[person])
        return await super().state(person)


class BatchRecommender:
    """Makes lists for many users. Each list takes a turn of its own, so that other requests run in between."""

    def __init__(
        self,
        catalogue: Catalogue,
        models: ServingModels,
        signer: Signer,
        people: PeopleReader,
        reads: Share,
        turns: OneAtATime,
        placements: ServingPlacements,
        rules: ServingRules,
    ) -> None:
        self._placements, self._rules = placements, rules
        self._catalogue, self._models, self._signer, self._people = catalogue, models, signer, people
        self._reads, self._turns = reads, turns

    async def lists(
        self, users: AsyncIterable[Sequence[str]], request: BatchRequest
    ) -> AsyncIterator[UserList | RefusedUser]:
        """A list for each id, in their order. `users` gives them in groups; no more than a group is in memory.

        Raises InvalidInput for a request that no list can be made for.
        """
        bundle = self._models.current
        request = request.placed(self._placements.find(request.placement))
        book = self._rules.book
        async for group in users:
            for start in range(0, len(group), AT_ONCE):
                async for made in self._lists(group[start : start + AT_ONCE], request, bundle, book):
                    yield made

    async def _lists(
        self, ids: Sequence[str], request: BatchRequest, bundle: AffinityModel | None, book: RuleBook
    ) -> AsyncIterator[UserList | RefusedUser]:
        read = [_person(id) for id in ids]
        people = [person for person in read if isinstance(person, Person)]
        loader = await self._load(list(dict.fromkeys(people)))
        belong = dict[Person, frozenset[str]]()
        if book.looks_at_segments(request.placement):
            belong = await self._people.memberships.of_many(people, self._reads)
        for each in read:
            if isinstance(each, RefusedUser):
                yield each
                continue
            # One recommender for each: it remembers what it scored.
            one = Recommender(self._catalogue, self._models, self._signer, loader, self._turns)
            one.bundle = bundle
            segments = NONE if is_paused((await loader.state(each)).state) else belong.get(each, NONE)
            wanted = request.wanted._replace(segments=segments)
            wanted = wanted._replace(rules=book.find(request.placement, self._catalogue, wanted))
            yield self._user_list(each, request.placement, await one.for_person(each, wanted))

    async def _load(self, people: Sequence[Person]) -> PersonLoader:
        try:
            return _ReadPeople(self._people, await self._people.read_many(people, self._reads) if people else {})
        except (StoreUnavailable, RateLimited) as error:  # each is read alone, as far as possible
            log.warning("people_not_read_together", error=str(error))
            return PersonLoader(self._people)

    def _user_list(self, person: Person, placement: str, listed: RecommendedList) -> UserList:
        """The list by ids. There is no await between the mask and here, so every item still exists."""
        page, item_of = listed.page, self._catalogue.item
        items = []
        for number, score, reason, because in zip(page.numbers, page.scores, page.reasons, page.because, strict=True):
            item, cause = item_of(number), item_of(because) if because else None
            assert item is not None
            items.append(BatchItem(item.id, score, REASONS[reason], (cause or item).id))
        return UserList(
            person.id,
            placement,
            listed.bundle.id if listed.bundle else None,
            datetime.fromtimestamp(page.pin.as_of, UTC),
            listed.degraded,
            items,
        )


def _read_kind(name: str | None) -> ListKind | None:
    if name is not None and name not in ListKind.__members__:
        raise InvalidInput(f"list must be one of {', '.join(ListKind)}.", "list")
    return None if name is None else ListKind[name]


def _person(id: str) -> Person | RefusedUser:
    try:
        return Person("user", check_user_id(id, "userId"))
    except InvalidInput as error:
        return RefusedUser(id[:200], str(error))
