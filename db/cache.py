"""Every Redis key and its lifetime. What is here can be lost at any moment: it is rebuilt from Postgres."""

import re
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast

from redis.asyncio import Connection, Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from core.contract import Event, EventType, Person, microseconds
from core.errors import StoreUnavailable

_UNAVAILABLE: Final = (RedisError, OSError)  # TimeoutError is an OSError

BASE_LIVES: Final = 86_400  # seconds
DELTA_LIVES: Final = 2 * 86_400  # seconds; longer than a base, so that nothing falls between the two
DELTA_HOLDS: Final = 512  # events of one person
HINT_LIVES: Final = 86_400  # seconds a seen id is remembered
SERVING_CHANGED: Final = "serving:changed"  # a channel
BASES: Final = "person:*:base"
LINEAGE: Final = "lineage"  # which run of the server holds what is here

_TYPES: Final = tuple(EventType)
_CODES: Final = {type: code for code, type in enumerate(_TYPES)}
_RECENT: Final = struct.Struct("<QBqiqQ")


class PersonKeys(NamedTuple):
    """One person's keys; the braces keep them in one slot."""

    base: str
    delta: str


class RecentEvent(NamedTuple):
    """What a state needs of an event: times in seconds, `order` 0 for none, `item_id` "" for none."""

    identity: int
    type: int
    occurred: int
    quantity: int
    cents: int
    order: int
    item_id: str


class _Pipeline(Pipeline):
    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """All answers, in order."""
        try:
            return await super().execute(raise_on_error)
        except _UNAVAILABLE as error:
            raise _unavailable(error) from error


class _Client(Redis):
    """A client whose commands and pipelines raise StoreUnavailable while Redis is away, or does not take them."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """The command's answer."""
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except NoScriptError:  # `register_script` sends the script, then
            raise
        except _UNAVAILABLE as error:
            raise _unavailable(error) from error

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Commands that travel together."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


def _unavailable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable("redis", f"Redis did not answer: {str(error) or type(error).__name__}")


def connect_redis(url: str, timeout: float = 0.5) -> Redis:
    """A client of bytes whose every answer takes at most `timeout` seconds. Opens nothing until it is used.

    Its commands and pipelines raise StoreUnavailable while Redis is away, too slow, or full.
    """
    return _Client.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
        redis_connect_func=_on_connect,
        decode_responses=False,
    )


_RUN: Final = re.compile(rb"run_id:(\w+)")


async def _on_connect(connection: Connection) -> None:
    """Drop all bases when another run of the server left them: one that began again from a snapshot, or a replica.

    The last events it was told of may be missing from its deltas, and nobody can say which; Postgres has them all.
    """
    await connection.on_connect()
    try:
        run = _RUN.search(await _ask(connection, "INFO", "server"))
        left_by = await _ask(connection, "GET", LINEAGE)
        if run is None or left_by == run[1]:
            return
        if left_by is not None:
            await _drop_all(connection, BASES)
        await _ask(connection, "SET", LINEAGE, run[1])
    except ResponseError:  # not for us to ask: then it is taken for the one it always was
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
    """The keys of a person's state, over a hash: an id may be long, and is nobody's business here."""
    name = blake2b(f"{person.kind}:{person.id}".encode(), digest_size=12).hexdigest()
    return PersonKeys(f"person:{{{name}}}:base", f"person:{{{name}}}:delta")


async def read_person(redis: Redis, person: Person) -> tuple[bytes | None, list[bytes]]:
    """The packed base (None when there is none) and the recent events, in one round trip."""
    keys = person_keys(person)
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.get(keys.base)
        pipeline.zrange(keys.delta, 0, -1)
        base, delta = await pipeline.execute()
    return base, delta


async def write_base(redis: Redis, person: Person, packed: bytes) -> None:
    """Keep the state as Postgres told it, for a day."""
    await redis.set(person_keys(person).base, packed, ex=BASE_LIVES)


_ADD_RECENT: Final = """
local kept, held = tonumber(ARGV[1]), tonumber(ARGV[2])
for at = 1, #KEYS do
    local score, member = ARGV[2 * at + 1], ARGV[2 * at + 2]
    redis.call('ZADD', KEYS[at], score, member)
    redis.call('ZREMRANGEBYSCORE', KEYS[at], '-inf', '(' .. (tonumber(score) - kept))
    redis.call('ZREMRANGEBYRANK', KEYS[at], 0, -1 - held)
    redis.call('EXPIRE', KEYS[at], kept)
end
"""


async def add_recent(redis: Redis, events: Sequence[Event]) -> None:
    """Tell the next answers of these events, in one round trip; telling them twice changes nothing.

    Scored by when they were received: a late report of an old event is news to the base as well. History brought by a
    loader (nothing received) is left out: it comes with `forget_bases`.
    """
    told = [event for event in events if event.received_at is not None]
    if not told:
        return
    arguments: list[Any] = [DELTA_LIVES, DELTA_HOLDS]
    for event in told:
        arguments += (_score(event), pack_recent(event))
    script = redis.register_script(_ADD_RECENT)
    await script(keys=[person_keys(event.person).delta for event in told], args=arguments)


async def move_guest(redis: Redis, guest: Person, user: Person) -> None:
    """Add a guest's recent events to the user's; the user's base is built anew, the guest's keys are dropped.

    Whoever calls it has given the user the guest's events in Postgres before.
    """
    old, new = person_keys(guest), person_keys(user)
    recent = cast("list[tuple[bytes, float]]", await redis.zrange(old.delta, 0, -1, withscores=True))
    if recent:
        arguments: list[Any] = [DELTA_LIVES, DELTA_HOLDS]
        for member, score in recent:
            arguments += (score, member)
        await redis.register_script(_ADD_RECENT)(keys=[new.delta] * len(recent), args=arguments)
    await redis.unlink(new.base)
    await redis.unlink(*old)


async def forget_people(redis: Redis, people: Iterable[Person]) -> int:
    """Drop all that is held of these people; returns how many keys there were."""
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
    """What `pack_recent` packed. Raises struct.error when it is too short to be that."""
    return RecentEvent._make((*_RECENT.unpack_from(packed), packed[_RECENT.size :].decode()))


_MARK_SEEN: Final = """
for at = 1, #KEYS do redis.call('SET', KEYS[at], ARGV[at + 1], 'EX', ARGV[1]) end
"""


async def seen_digests(redis: Redis, identities: Sequence[int]) -> list[int | None]:
    """The digest of the body last acknowledged under each identity, None where none is remembered."""
    if not identities:
        return []
    found = cast("list[bytes | None]", await redis.mget([_seen(identity) for identity in identities]))
    return [None if digest is None else int.from_bytes(digest, "little") for digest in found]


async def mark_seen(redis: Redis, events: Iterable[Event]) -> None:
    """Remember for a day that these were acknowledged: a hint only, the truth is the primary key in Postgres."""
    marked = list(events)
    if marked:
        script = redis.register_script(_MARK_SEEN)
        digests = [event.digest.to_bytes(8, "little") for event in marked]
        await script(keys=[_seen(event.identity) for event in marked], args=[HINT_LIVES, *digests])


async def forget_seen(redis: Redis, identities: Sequence[int]) -> None:
    """Forget that these were acknowledged."""
    for start in range(0, len(identities), 1000):
        async with redis.pipeline(transaction=False) as pipeline:
            for identity in identities[start : start + 1000]:
                pipeline.unlink(_seen(identity))
            await pipeline.execute()


async def forget_bases(redis: Redis) -> int:
    """Drop every person's base, after history was loaded behind their back. Returns how many there were."""
    dropped = 0
    async for keys in _batches(redis, BASES):
        dropped += int(await redis.unlink(*keys))
    return dropped


async def forget_bases_of(redis: Redis, people: Iterable[Person]) -> None:
    """Drop these people's bases: Postgres knows better."""
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


async def hint_serving(redis: Redis) -> None:
    """Tell every gateway to look at what serves now. Only a hint: one that is lost costs a poll."""
    with suppress(StoreUnavailable):
        await redis.publish(SERVING_CHANGED, b"")


async def await_hint(pubsub: PubSub, seconds: float) -> None:
    """Return at the next hint about what serves, or after `seconds`. Raises StoreUnavailable."""
    try:
        if not pubsub.subscribed:
            await pubsub.subscribe(SERVING_CHANGED)
        await pubsub.get_message(ignore_subscribe_messages=False, timeout=seconds)
    except _UNAVAILABLE as error:
        raise _unavailable(error) from error
