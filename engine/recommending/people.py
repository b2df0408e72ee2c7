"""The state of a person: the base, built from Postgres, and on top of it the recent events in Redis."""

import asyncio
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
import structlog
from redis.asyncio import Redis

from core import clock
from core.cached_properties import CachedProperty
from core.choices import NO_CHOICES, Choices, choices_in, cut_choices
from core.contract import Person
from core.errors import StoreName, StoreUnavailable
from core.gathered_reads import GatheredReads
from core.single_flight import SingleFlight
from core.stores import log_unavailable
from db.cache import owner_in, read_people, read_person, unpack_recent, write_base, write_owner
from db.choices import choices_of
from db.events import StateEvent, state_events, state_events_of_users
from db.merged_users import owner_of, owners_of_merged
from db.postgres import Connection
from db.users import known_people
from engine.catalogue.catalogue import Catalogue
from engine.recommending.kept_states import KeptStates
from engine.segments.memberships import NONE, Memberships
from ml.masks import distinct
from ml.state import DISLIKES_HOLD, EVENT, State, StateDamaged, Table, fold

log = structlog.get_logger()

LONG_DELTA = 256  # with this many recent events that the base lacks, the base is rebuilt; the delta holds twice as many
NOBODY = State.empty()  # what a list that is not personalized is made from
THREAD_EVENTS = 2_000  # more events are folded in a thread, because that would delay other requests


class Degradation(StrEnum):
    """Why an answer is degraded."""

    UNKNOWN_PERSON = "UNKNOWN_PERSON"
    NO_MODEL = "NO_MODEL"
    OLD_MODEL = "OLD_MODEL"
    NO_CACHE = "NO_CACHE"
    NO_HISTORY = "NO_HISTORY"
    STORE_FULL = "STORE_FULL"
    PAUSED = "PAUSED"


class PersonState(NamedTuple):
    """A person's state, why it is degraded, and its `end`, which `PeopleReader.state_until` takes.

    The end is the identity of the last event in each delta that it was folded from, 0 for an empty one; None when Redis
    could not be read.
    """

    state: State
    degraded: list[Degradation]
    end: tuple[int, ...] | None = None


class ReadPerson(NamedTuple):
    """A base, or all events of a user without one; the recent events, and why some may be missing; the choices."""

    base: State | None
    delta: list[bytes]
    history: Sequence[StateEvent] | None
    degraded: list[Degradation]
    choices: Choices = NO_CHOICES


class PeopleReader:
    """Reads states as of the last accepted event.

    Without Redis it reads Postgres, which is slower. Without Postgres and without a base in Redis, the history is
    missing. `full`: the stores that take no writes now.
    """

    def __init__(
        self,
        pool: Connection,
        redis: Redis,
        catalogue: Catalogue,
        full: Container[StoreName] = frozenset(),
        *,
        dislikes_hold: timedelta = timedelta(seconds=DISLIKES_HOLD),
    ) -> None:
        self._pool, self._redis, self._catalogue, self._full = pool, redis, catalogue, full
        self._dislikes_hold = dislikes_hold
        self._bases = SingleFlight(self._build)
        self._kept = KeptStates(catalogue)
        self.memberships = Memberships(pool, redis)

    async def state(self, person: Person) -> PersonState:
        """The person's state: one Redis pipeline, and three short Postgres queries if there is no base.

        The state of a merged user is that of the user they are now: one more pipeline. While neither base nor recent
        events change, this returns the same object.
        """
        found = await self._state(person, (), (), follow=True)
        return _told(found._replace(state=self._without_old_dislikes(found.state)))

    async def state_until(self, person: Person, end: Sequence[int]) -> State | None:
        """The state without the events that came after a state with this `end`, for lists that began with that.

        One Redis pipeline, two for a merged user. None where Redis does not know. A base that was built later has
        all events up to then.
        """
        try:
            packed, delta = await read_person(self._redis, person)
            found = [delta]
            owner = owner_in(packed)
            if owner is not None:
                packed, delta = await read_person(self._redis, owner)
                found.append(delta)
        except StoreUnavailable as error:
            log_unavailable(error, doing="read a person's earlier state")
            return None
        base = None if owner_in(packed) else _unpack(packed)
        if base is None or len(found) != len(end):
            return None
        until = [_up_to(delta, last) for delta, last in zip(found, end, strict=True)]
        state = fold(base, self._fresh(chain.from_iterable(until)))
        return self._without_old_dislikes(self._chosen(state, choices_in(packed)))

    async def _state(
        self, person: Person, others: Sequence[bytes], end: tuple[int, ...], *, follow: bool
    ) -> PersonState:
        """The state, with `others`, which end so, as recent events too: those of an old user id may not be stored yet.

        Without `follow`, Postgres says who the owner is: Redis may still name an earlier one.
        """
        packed, delta, degraded = await self._cached(person)
        end = (*end, unpack_recent(delta[-1]).identity if delta else 0)
        delta = [*delta, *others]
        owner = owner_in(packed)
        if owner is not None and follow:
            return await self._state(owner, delta, end, follow=False)
        base = None
        if packed is not None and owner is None:
            kept = self._kept.find(person, packed, delta)
            if kept is not None:
                return PersonState(self._trimmed(person, packed, delta, kept), degraded, end)
            base = _unpack(packed)
        fresh = self._fresh(delta)
        if packed is not None and base is not None:
            state = self._chosen(fold(base, fresh), choices_in(packed))
            if (
                len(fresh) >= LONG_DELTA
                and int(np.isin(fresh["identity"], base.included, invert=True).sum()) >= LONG_DELTA
            ):
                self._bases.start(person)  # now, before the delta drops events; this answer uses the old base
                return PersonState(state, degraded, end)
            self._kept.keep(person, packed, delta, state)
            return PersonState(self._trimmed(person, packed, delta, state), degraded, end)
        try:
            found = await self._bases.result(person)
        except StoreUnavailable as error:
            log_unavailable(error, doing="read a person's history")
            state = self._chosen(fold(State.empty(), fresh), choices_in(packed))
            return PersonState(state, [*degraded, Degradation.NO_HISTORY])
        if isinstance(found, State):
            newest = max(found.choices, choices_in(packed), key=lambda each: each.version)
            state = self._chosen(fold(found, fresh), newest)
            return PersonState(state, degraded, None if Degradation.NO_CACHE in degraded else end)
        of_owner = await self._state(found, delta, end, follow=False)
        return of_owner._replace(degraded=list(dict.fromkeys([*degraded, *of_owner.degraded])))

    def _trimmed(self, person: Person, packed: bytes, delta: list[bytes], state: State) -> State:
        """A kept state without its old dislikes, kept in its place if it had some."""
        trimmed = self._without_old_dislikes(state)
        if trimmed is not state:
            self._kept.keep(person, packed, delta, trimmed)
        return trimmed

    def forget(self, people: Iterable[Person]) -> None:
        """Forget what this process remembers of people. Other processes do so within KEPT_FOR seconds."""
        for person in people:
            self._kept.forget(person)
            self.memberships.forget(person)

    async def _cached(self, person: Person) -> tuple[bytes | None, list[bytes], list[Degradation]]:
        """The packed base and the recent events, and what is known to be missing in them."""
        try:
            packed, delta = await read_person(self._redis, person)
        except StoreUnavailable as error:
            log_unavailable(error, doing="read a person's state")
            return None, [], self._degraded(cached=False)
        return packed, delta, self._degraded()

    def _degraded(self, *, cached: bool = True) -> list[Degradation]:
        """What full stores do to any state, and a cache that could not be read."""
        full = [Degradation.STORE_FULL] if "postgres" in self._full else []
        return full if cached and "redis" not in self._full else [*full, Degradation.NO_CACHE]

    async def read_many(self, people: Sequence[Person], history: Connection) -> dict[Person, ReadPerson]:
        """What the states of these users are folded from: one Redis pipeline and two queries of `history` for all.

        Nothing is kept in Redis. Merged users are left out: read each with `state`. Raises StoreUnavailable when
        `history` is away.
        """
        degraded = self._degraded()
        try:
            cached = await read_people(self._redis, people)
        except StoreUnavailable as error:
            log_unavailable(error, doing="read the states of many people")
            cached, degraded = [(None, [])] * len(people), self._degraded(cached=False)
        found = {
            person: ReadPerson(_unpack(packed), delta, None, degraded, choices_in(packed))
            for person, (packed, delta) in zip(people, cached, strict=True)
            if owner_in(packed) is None
        }
        absent = [person.id for person, read in found.items() if read.base is None]
        if absent:
            merged = await owners_of_merged(history, absent)
            stored = await state_events_of_users(history, [id for id in absent if id not in merged])
            chosen = await choices_of(history, [Person("user", id) for id in stored])
            for id in absent:
                person = Person("user", id)
                if id in merged:
                    del found[person]
                else:
                    choices = chosen.get(person, NO_CHOICES)
                    found[person] = found[person]._replace(history=stored[id], choices=choices)
        return found

    async def fold_read(self, read: ReadPerson) -> PersonState:
        """The state of a person that `read_many` has read, as `state` returns it."""
        base, rows = read.base, read.history or ()
        if base is None:
            base = await asyncio.to_thread(base_of, rows) if len(rows) > THREAD_EVENTS else base_of(rows)
        state = self._chosen(fold(base, self._fresh(read.delta)), read.choices)
        return _told(PersonState(self._without_old_dislikes(state), read.degraded))

    def _chosen(self, state: State, choices: Choices) -> State:
        """The state of a person who chose so."""
        return (
            state.choosing(choices, distinct(self._catalogue.numbers_of(choices.items))) if choices.version else state
        )

    def _without_old_dislikes(self, state: State) -> State:
        if not len(state.opinions):
            return state
        return state.without_dislikes_before(int((clock.now() - self._dislikes_hold).timestamp()))

    async def known(self, person: Person, state: State) -> bool:
        """Whether the shop sent traits or events about this person. False while Postgres is away."""
        return has_events(state) or person in await self.known_people([person])

    async def known_people(self, people: Sequence[Person]) -> set[Person]:
        """Those who have traits or an event in Postgres; none while it is away."""
        try:
            return await known_people(self._pool, people)
        except StoreUnavailable as error:
            log_unavailable(error, doing="look people up")
            return set()

    def _fresh(self, delta: Iterable[bytes]) -> Table:
        number_of = self._catalogue.number_of
        rows = []
        for identity, type, occurred, quantity, cents, order, item in map(unpack_recent, delta):
            rows.append((identity, type, number_of(item) or 0, occurred, quantity, cents, order))
        return np.array(rows, EVENT)

    async def _build(self, person: Person) -> State | Person:
        try:
            return await self._read_base(person)
        except StoreUnavailable:  # a request that waits for the base logs it
            raise
        except Exception as error:  # log it here: perhaps no request waits for the base
            log.warning("base_not_built", error=repr(error))
            raise

    async def _read_base(self, person: Person) -> State | Person:
        """The base, or the user that this user was merged into."""
        owner = Person("user", await owner_of(self._pool, person.id)) if person.kind == "user" else person
        if owner != person:
            try:
                await write_owner(self._redis, person, owner)
            except StoreUnavailable as error:
                log_unavailable(error, doing="write a merged user to Redis")
            return owner
        choices = (await choices_of(self._pool, [person])).get(person, NO_CHOICES)
        rows = await state_events(self._pool, person)
        base = await asyncio.to_thread(base_of, rows) if len(rows) > THREAD_EVENTS else base_of(rows)
        try:
            await write_base(self._redis, person, (choices.pack() if choices.version else b"") + base.pack())
        except StoreUnavailable as error:
            log_unavailable(error, doing="write a person's base to Redis")
        return replace(base, choices=choices)


class PersonLoader:
    """The people of one request: reads each person once, however many fields ask.

    A field that is cancelled leaves the reading to the next one that waits.
    """

    def __init__(self, reader: PeopleReader) -> None:
        self._reader = reader
        self._reading: dict[Person, asyncio.Lock] = {}
        self._states: dict[Person, PersonState] = {}
        self._segments: dict[Person, frozenset[str]] = {}

    @CachedProperty
    def _known(self) -> GatheredReads[Person, Person]:
        return GatheredReads(partial(_known_people, self._reader))  # a method would make a cycle, for the collector

    async def state(self, person: Person) -> PersonState:
        """The person's state, and why it is degraded."""
        if person not in self._states:
            async with self._reading.setdefault(person, asyncio.Lock()):  # a task for it would take three rounds more
                if person not in self._states:
                    self._states[person] = await self._reader.state(person)
        return self._states[person]

    async def state_for_list(self, person: Person, *, personalize: bool = True) -> PersonState:
        """The state that a list is made from, with what is wrong if nothing is known of the person.

        A list that is not personalized has what they hid, and uses nothing that they did.
        """
        found = await self.state(person)
        if not personalize:
            return PersonState(found.state.without_behaviour if found.state.choices.version else NOBODY, [])
        if await self.known(person):
            return found
        return found._replace(degraded=[*found.degraded, Degradation.UNKNOWN_PERSON])

    async def segments(self, person: Person, *, personalize: bool = True) -> frozenset[str]:
        """The segments of the person, for a list; none for one that is not personal."""
        if not personalize or is_paused((await self.state(person)).state):
            return NONE
        if person not in self._segments:
            self._segments[person] = await self._reader.memberships.of(person)
        return self._segments[person]

    async def state_until(self, person: Person, end: Sequence[int]) -> State | None:
        """The person's state as it was for a list that began with this `end`; None when nobody knows it."""
        return await self._reader.state_until(person, end)

    async def known(self, person: Person) -> bool:
        """Whether the shop sent traits or events about this person: one query for all who are asked about at once."""
        state = (await self.state(person)).state
        return has_events(state) or is_paused(state) or await self._known.get(person) is not None


async def _known_people(reader: PeopleReader, people: Sequence[Person]) -> dict[Person, Person]:
    return {person: person for person in await reader.known_people(people)}


def has_events(state: State) -> bool:
    """Whether any event is in a state."""
    return bool(state.lines or len(state.items) or len(state.recent) or len(state.included))


def is_paused(state: State) -> bool:
    """Whether the person wants lists as if nothing was known of them."""
    return state.choices.paused_since is not None


def _told(found: PersonState) -> PersonState:
    """The state with the pause among what degrades it."""
    return found._replace(degraded=[*found.degraded, Degradation.PAUSED]) if is_paused(found.state) else found


def base_of(rows: Sequence[StateEvent]) -> State:
    """The state after all events of a person.

    The state keeps the events' identities, so that the same event in the delta is not counted twice.
    """
    # Oldest first: `with_included` keeps the newest.
    included = sorted((row.received_at.timestamp() if row.received_at else row.occurred, row.identity) for row in rows)
    state = fold(State.empty(), np.array([row[:7] for row in rows], EVENT))
    return state.with_included(np.array([identity for _, identity in included], np.uint64))


def _up_to(delta: Sequence[bytes], last: int) -> Sequence[bytes]:
    """The events up to the one with this identity; none for 0. All where it is gone: a base has those before it."""
    if not last:
        return ()
    ends = (at for at in range(len(delta), 0, -1) if unpack_recent(delta[at - 1]).identity == last)
    return delta[: next(ends, len(delta))]


def _unpack(packed: bytes | None) -> State | None:
    """The base without the choices before it."""
    _, base = cut_choices(packed)
    if base is None:
        return None
    try:
        return State.unpack(base)
    except StateDamaged as error:  # of another version, or cut off: it is rebuilt from Postgres
        log.warning("base_damaged", error=str(error))
        return None
