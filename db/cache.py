"""Every Redis key and its lifetime. Everything in Redis can be lost at any moment: it is rebuilt from Postgres."""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

from redis.asyncio import Connection, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from core.choices import Choices, with_newer
from core.contract import Event, EventType, Person, microseconds
from core.errors import StoreUnavailable
from db.redis_client import UNAVAILABLE, Client, Script, ask, unavailable
from db.redis_link import Command

BASE_TTL: Final = 86_400  # seconds
DELTA_TTL: Final = 2 * 86_400  # seconds; longer than a base, so that no event is missing from both
CHOICES_TTL: Final = 2 * 86_400  # seconds; longer than a base, so that a base without these choices ends before
DELTA_LENGTH: Final = 512  # events of one person
MEMBERSHIPS_TTL: Final = 120  # seconds: members are found every hour, and lists follow soon after
HINT_TTL: Final = 86_400  # seconds an acknowledged event is remembered
DOCUMENT_TTL: Final = 86_400  # seconds an automatic document is kept
SERVING_CHANGED: Final = "serving:changed"  # a channel
BASES: Final = "person:*:base"
CHOICES: Final = "person:*:choices"
LINEAGE: Final = "lineage"  # holds the id of the server run that wrote the data

_PROBE: Final = "probe"  # a key that is written to see whether Redis takes writes
_PROBE_TTL: Final = 60  # seconds
_PROBE_BYTES: Final = 65_536

_TYPES: Final = tuple(EventType)
_CODES: Final = {type: code for code, type in enumerate(_TYPES)}
_OWNER: Final = b"OWNER"  # no packed state begins so
_RECENT: Final = struct.Struct("<QBqiqQ")


class PersonKeys(NamedTuple):
    """One person's keys; the braces keep them in one slot."""

    base: str
    delta: str
    choices: str  # those that were changed lately: a base may be older
    segments: str  # the ids of the segments that the person belongs to


class RecentEvent(NamedTuple):
    """The fields of an event that a state needs: times in seconds, `order` 0 for none, `item_id` "" for none."""

    identity: int
    type: int
    occurred: int
    quantity: int
    cents: int
    order: int
    item_id: str


def connect_redis(url: str, timeout: float = 0.5) -> Redis:
    """A client that returns bytes and waits at most `timeout` seconds for an answer. Opens nothing until it is used.

    Its commands and pipelines raise StoreUnavailable while Redis is away, too slow, or full.
    """
    return Client.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        redis_connect_func=_on_connect,
        decode_responses=False,
    )


_RUN: Final = re.compile(rb"run_id:(\w+)")


async def _on_connect(connection: Connection) -> None:
    """Drop all bases when another run of the server wrote them: it restarted from a snapshot, or is a replica.

    The newest events may be missing from its deltas, and we cannot know which. Postgres has them all.
    """
    await connection.on_connect()
    try:
        run = _RUN.search(await _ask(connection, "INFO", "server"))
        written_by = await _ask(connection, "GET", LINEAGE)
        if run is None or written_by == run[1]:
            return
        if written_by is not None:
            await _drop_all(connection, BASES)
            await _drop_all(connection, CHOICES)
        await _ask(connection, "SET", LINEAGE, run[1])
    except ResponseError:  # we may not read INFO: assume the same run
        return


async def _drop_all(connection: Connection, pattern: str) -> None:
    cursor: int | None = None
    while cursor != 0:
        found, keys = await _ask(connection, "SCAN", cursor or 0, "MATCH", pattern, "COUNT", 1000)
        cursor = int(found)
        if keys:
            await _ask(connection, "UNLINK", *keys)


async def _ask(connection: Connection, *words: Any) -> Any:
    await connection.send_command(*words)
    return await connection.read_response()


def person_keys(person: Person) -> PersonKeys:
    """The keys of a person's state, over a hash: an id may be long, and Redis need not know it."""
    name = blake2b(f"{person.kind}:{person.id}".encode(), digest_size=12).hexdigest()
    begin = f"person:{{{name}}}:"
    return PersonKeys(begin + "base", begin + "delta", begin + "choices", begin + "segments")


def rate_key(kind: str, whose: str) -> str:
    """The key of the units that a client, person or address has used lately, over a hash of its name."""
    return f"rate:{kind}:{blake2b(whose.encode(), digest_size=12).hexdigest()}"


def document_keys(client_id: str) -> tuple[str, str]:
    """The key of the index of a client's automatic documents, and what the keys of the documents begin with."""
    name = blake2b(client_id.encode(), digest_size=12).hexdigest()
    return f"documents:{{{name}}}", f"document:{{{name}}}:"


async def read_person(redis: Redis, person: Person) -> tuple[bytes | None, list[bytes]]:
    """The packed base (None when there is none) and the recent events, in one round trip.

    Before the base are the person's choices, if they ever chose anything; they may be there without a base. The events
    are in the order in which Redis got them, but for those that were very late: see `add_recent`.
    """
    keys = person_keys(person)
    kept, delta = await ask(redis, ("MGET", keys.base, keys.choices), ("ZRANGE", keys.delta, 0, -1))
    return _base_of(*kept), delta


def _base_of(base: bytes | None, choices: bytes | None) -> bytes | None:
    """A base with the person's newest choices before it."""
    return base if choices is None or owner_in(base) is not None else with_newer(base, choices)


async def read_people(redis: Redis, people: Sequence[Person]) -> list[tuple[bytes | None, list[bytes]]]:
    """What `read_person` returns of each of these, in one round trip for all."""
    async with redis.pipeline(transaction=False) as pipeline:
        for person in people:
            keys = person_keys(person)
            pipeline.mget(keys.base, keys.choices)
            pipeline.zrange(keys.delta, 0, -1)
        found = await pipeline.execute()
    return [(_base_of(*kept), delta) for kept, delta in zip(found[::2], found[1::2], strict=True)]


async def write_base(redis: Redis, person: Person, packed: bytes) -> None:
    """Keep a state that was built from Postgres, for a day; the person's choices may be before it."""
    await redis.set(person_keys(person).base, packed, ex=BASE_TTL)


_WRITE_CHOICES: Final = Script("""
local held = redis.call('GETRANGE', KEYS[1], 4, 11)
if #held < 8 or struct.unpack('>I8', held) < tonumber(ARGV[2]) then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
    redis.call('UNLINK', KEYS[2])
end
""")


async def write_choices(redis: Redis, person: Person, choices: Choices) -> None:
    """Let the next answers know what a person chose, unless they know of a newer choice.

    A base is dropped: the one that is built next has the choices, so they hold when Redis evicts this key alone.
    """
    of_person = person_keys(person)
    keys, arguments = [of_person.choices, of_person.base], [choices.pack(), choices.version, CHOICES_TTL]
    try:
        await ask(redis, _WRITE_CHOICES.command(keys, arguments))
    except NoScriptError:
        await ask(redis, _WRITE_CHOICES.command(keys, arguments, by_text=True))


_ADD_RECENT: Final = Script("""
local kept, held = tonumber(ARGV[1]), tonumber(ARGV[2])
for at = 1, #KEYS do
    local score, member = ARGV[2 * at + 1], ARGV[2 * at + 2]
    local received = tonumber(score)
    local newest = tonumber(redis.call('ZRANGE', KEYS[at], -1, -1, 'WITHSCORES')[2])
    if newest and received <= newest and received >= newest - kept then
        local oldest = tonumber(redis.call('ZRANGE', KEYS[at], 0, 0, 'WITHSCORES')[2])
        if received > oldest or redis.call('ZCARD', KEYS[at]) < held then
            score = string.format('%.17g', newest + 0.000001)
        end
    end
    redis.call('ZADD', KEYS[at], 'NX', score, member)
    redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', '(' .. string.format('%.17g', received - kept))
    redis.call('ZREMRANGEBYRANK', KEYS[at], 0, -1 - held)
    redis.call('EXPIRE', KEYS[at], kept)
end
""")
_MARK_SEEN: Final = Script("""
for at = 1, #KEYS do redis.call('SET', KEYS[at], ARGV[at + 1], 'EX', ARGV[1]) end
""")


async def add_recent(redis: Redis, events: Sequence[Event], seen: Sequence[Event] = ()) -> None:
    """Add these to the recent events of their people, in one round trip; adding them twice changes nothing.

    The score is the time an event was received, or, for one that is late, just after the newest: so the events up to
    a certain one stay the same. One that was received before all events of a full delta is dropped: as each event of a
    delta is among the DELTA_LENGTH newest received when it comes, and leaves before as many more have come, a base that
    includes the newest two times DELTA_LENGTH has every event of the delta that is stored. History from a loader has
    no such time and is left out: the loader calls `forget_bases`.

    In the same round trip it remembers for a day that the events in `seen` were acknowledged: only a hint, the primary
    key in Postgres decides.
    """
    received = [event for event in events if event.received_at is not None]
    if not (received or seen):
        return
    try:
        await ask(redis, *_adding(received, seen))
    except NoScriptError:
        await ask(redis, *_adding(received, seen, by_text=True))


def _adding(received: Sequence[Event], seen: Sequence[Event], *, by_text: bool = False) -> Iterator[Command]:
    if received:
        arguments: list[Any] = [DELTA_TTL, DELTA_LENGTH]
        for event in received:
            arguments += (_score(event), pack_recent(event))
        deltas = [person_keys(event.person).delta for event in received]
        yield _ADD_RECENT.command(deltas, arguments, by_text=by_text)
    if seen:
        digests = [event.digest.to_bytes(8, "little") for event in seen]
        yield _MARK_SEEN.command([_seen(event.identity) for event in seen], [HINT_TTL, *digests], by_text=by_text)


async def write_owner(redis: Redis, person: Person, owner: Person) -> None:
    """In place of a base: this person's events belong to another person, for a day."""
    await redis.set(person_keys(person).base, _OWNER + owner.id.encode(), ex=BASE_TTL)


def owner_in(packed: bytes | None) -> Person | None:
    """The user that `write_owner` named in place of a base."""
    return Person("user", packed[len(_OWNER) :].decode()) if packed is not None and packed.startswith(_OWNER) else None


async def read_memberships(redis: Redis, person: Person) -> list[str] | None:
    """The ids of the person's segments; None where they are not kept."""
    (packed,) = await ask(redis, ("GET", person_keys(person).segments))
    return None if packed is None else packed.decode().split()


async def write_memberships(redis: Redis, person: Person, segments: Sequence[str]) -> None:
    """Keep the ids of the person's segments, which have no spaces, for some minutes."""
    await redis.set(person_keys(person).segments, " ".join(segments), ex=MEMBERSHIPS_TTL)


async def move_person(redis: Redis, before: Person, user: Person) -> None:
    """Add the recent events of a guest or an old user id to the user's; drop the user's base and the other's keys.

    The caller has assigned their events to the user in Postgres before.
    """
    old, new = person_keys(before), person_keys(user)
    recent = cast("list[tuple[bytes, float]]", await redis.zrange(old.delta, 0, -1, withscores=True))
    if recent:
        async with redis.pipeline(transaction=False) as pipeline:
            pipeline.zadd(new.delta, dict(recent), nx=True)
            pipeline.zremrangebyrank(new.delta, 0, -1 - DELTA_LENGTH)
            pipeline.expire(new.delta, DELTA_TTL)
            await pipeline.execute()
    await redis.unlink(new.base, new.segments)
    await redis.unlink(*old)


async def forget_people(redis: Redis, people: Iterable[Person]) -> int:
    """Delete every key of these people; returns how many existed."""
    async with redis.pipeline(transaction=False) as pipeline:
        for person in people:
            pipeline.unlink(*person_keys(person))
        return sum(await pipeline.execute())


def pack_recent(event: Event) -> bytes:
    """The event as the member of a person's delta: the same event always gives the same bytes."""
    head = _RECENT.pack(
        event.identity,
        _CODES[event.type],
        microseconds(event.occurred_at) // 1_000_000,
        event.quantity or 1,
        event.cents,
        event.order,
    )
    return head + (event.item_id or "").encode()


def unpack_recent(packed: bytes) -> RecentEvent:
    """The event that `pack_recent` packed. Raises struct.error when the bytes are too few."""
    return RecentEvent._make((*_RECENT.unpack_from(packed), packed[_RECENT.size :].decode()))


async def seen_digests(redis: Redis, identities: Sequence[int]) -> list[int | None]:
    """The digest of the body last acknowledged under each identity, None where none is remembered."""
    if not identities:
        return []
    (found,) = await ask(redis, ("MGET", *map(_seen, identities)))
    return [None if digest is None else int.from_bytes(digest, "little") for digest in found]


async def forget_seen(redis: Redis, identities: Sequence[int]) -> None:
    """Forget that these were acknowledged."""
    for start in range(0, len(identities), 1000):
        async with redis.pipeline(transaction=False) as pipeline:
            for identity in identities[start : start + 1000]:
                pipeline.unlink(_seen(identity))
            await pipeline.execute()


async def forget_bases(redis: Redis) -> int:
    """Drop every person's base, after history was loaded. Returns how many existed."""
    dropped = 0
    async for keys in _batches(redis, BASES):
        dropped += int(await redis.unlink(*keys))
    return dropped


async def forget_bases_of(redis: Redis, people: Iterable[Person]) -> None:
    """Drop these people's bases: they are built again from Postgres."""
    keys = [person_keys(person).base for person in people]
    for start in range(0, len(keys), 1000):
        await redis.unlink(*keys[start : start + 1000])


async def _batches(redis: Redis, pattern: str) -> Any:
    cursor = 0
    while True:
        cursor, keys = await redis.scan(cursor, match=pattern, count=1000)
        if keys:
            yield keys
        if not cursor:
            return


def _seen(identity: int) -> str:
    return f"seen:{identity:x}"


def _score(event: Event) -> float:
    assert event.received_at is not None
    return microseconds(event.received_at) / 1_000_000


async def check_writes(redis: Redis) -> None:
    """Write a key that is larger than the states of people are.

    At the limit of its memory Redis takes small keys and refuses others. Raises StoreFull when Redis takes no
    such write, StoreUnavailable when it does not answer.
    """
    await redis.set(_PROBE, bytes(_PROBE_BYTES), ex=_PROBE_TTL)


async def hint_serving(redis: Redis) -> None:
    """Let every gateway read the serving row now. Only a hint: a lost one delays it until the next poll."""
    with suppress(StoreUnavailable):
        await redis.publish(SERVING_CHANGED, b"")


async def await_hint(pubsub: PubSub, seconds: float) -> None:
    """Return at the next hint that the serving row changed, or after `seconds`. Raises StoreUnavailable."""
    try:
        if not pubsub.subscribed:
            await pubsub.subscribe(SERVING_CHANGED)
        await pubsub.get_message(ignore_subscribe_messages=False, timeout=seconds)
    except UNAVAILABLE as error:
        raise unavailable(error) from error
