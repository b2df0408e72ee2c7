"""Rate limits: the units that callers have used, in Redis; the rates and quotas of single clients, in Postgres."""

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from db.postgres import Connection
from db.redis_client import Script, answers_of, ask, ask_now
from db.redis_link import Answers, Command, ConnectionLost


class Charge(NamedTuple):
    """Units that a request takes from what is kept under `key`: at most `most` in `seconds`.

    With `by_window` they are counted anew in each window, of those that begin at multiples of `seconds` since 1970.
    Without it they come back one after the other, `most` of them in `seconds`: a leaky bucket, which has no edges.
    """

    key: str
    units: int
    most: int
    seconds: int
    by_window: bool = False


class Taken(NamedTuple):
    """Whether the units were taken, from all keys or from none; the units used of each key; Redis' time in seconds."""

    allowed: bool
    used: tuple[float, ...]
    now: float


# Each key has the units that were used and when, in microseconds. When the clock of Redis was set back, what was used
# comes back from now on. A key lives until it would be empty.
_TAKE: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local allowed, used, since = 1, {}, {}
for at = 1, #KEYS do
    local units, most = tonumber(ARGV[4 * at - 3]), tonumber(ARGV[4 * at - 2])
    local window = ARGV[4 * at - 1] * 1000000
    local stored = redis.call('GET', KEYS[at])
    used[at], since[at] = 0, now
    if stored then
        used[at], since[at] = struct.unpack('>dd', stored)
        if ARGV[4 * at] == '1' then
            if math.floor(now / window) ~= math.floor(since[at] / window) then used[at] = 0 end
        else
            used[at] = math.max(0, used[at] - math.max(0, now - since[at]) * most / window)
        end
        used[at] = math.min(used[at], most)  -- the limit was lowered since
    end
    if used[at] + units > most then allowed = 0 end
end
local answer = struct.pack('>dd', allowed, now)
for at = 1, #KEYS do
    if allowed == 1 then used[at] = used[at] + ARGV[4 * at - 3] end
    if allowed == 1 or since[at] > now then
        local most, window = tonumber(ARGV[4 * at - 2]), ARGV[4 * at - 1] * 1000
        if ARGV[4 * at] ~= '1' then window = window * math.min(1, used[at] / most) end
        redis.call('SET', KEYS[at], struct.pack('>dd', used[at], now), 'PX', math.ceil(window) + 1000)
    end
    answer = answer .. struct.pack('>d', used[at])
end
return answer
""")
_REFUSED: Final = struct.pack(">d", 0)  # how an answer begins


async def take(redis: Redis, charges: Sequence[Charge]) -> Taken:
    """Take the units of all these charges, or of none when one has too few left, in one round trip.

    Raises StoreUnavailable while Redis is away, too slow, or full.
    """
    try:
        (packed,) = await ask(redis, _command(charges))
    except NoScriptError:
        (packed,) = await ask(redis, _command(charges, by_text=True))
    return _taken(packed)


def begin(redis: Redis, charges: Sequence[Charge]) -> Answers | None:
    """Ask for the units in one piece with what else is asked now: `finish` waits. None when no connection takes it."""
    return ask_now(redis, _command(charges))


async def finish(redis: Redis, charges: Sequence[Charge], begun: Answers) -> Taken:
    """What `take` returns, of charges that were begun."""
    try:
        (packed,) = await answers_of(begun)
    except (NoScriptError, ConnectionLost):
        return await take(redis, charges)
    return _taken(packed)


def is_refused(begun: Answers) -> bool:
    """Whether it is known already that the units are not there. An error is left to `finish`."""
    if not begun.done() or begun.cancelled() or begun.exception() is not None:
        return False
    packed: bytes = begun.result()[0]
    return packed.startswith(_REFUSED)


def _command(charges: Sequence[Charge], *, by_text: bool = False) -> Command:
    words: list[Any] = []
    for charge in charges:
        words += (charge.units, charge.most, charge.seconds, int(charge.by_window))
    return _TAKE.command([charge.key for charge in charges], words, by_text=by_text)


def _taken(packed: bytes) -> Taken:
    allowed, now, *used = struct.unpack(f">{len(packed) // 8}d", packed)
    return Taken(allowed == 1, tuple(used), now / 1_000_000)


class ClientLimits(NamedTuple):
    """What a client has of its own: a rate as text (None: the default) and units of a UTC day (None: no quota)."""

    rate: str | None = None
    daily_quota: int | None = None


async def list_client_limits(connection: Connection) -> dict[str, ClientLimits]:
    """The limits of all clients that have some of their own, by client id."""
    rows = await connection.fetch(
        "SELECT id, rate, daily_quota FROM oauth_clients WHERE rate IS NOT NULL OR daily_quota IS NOT NULL"
    )
    return {row["id"]: ClientLimits(row["rate"], row["daily_quota"]) for row in rows}


async def client_limits(connection: Connection, client_id: str) -> ClientLimits | None:
    """The limits of one client; None when there is no such client."""
    row = await connection.fetchrow("SELECT rate, daily_quota FROM oauth_clients WHERE id = $1", client_id)
    return ClientLimits(row["rate"], row["daily_quota"]) if row else None


async def set_client_limits(connection: Connection, client_id: str, limits: ClientLimits) -> bool:
    """Give a client these limits in place of what it has; False when there is no such client."""
    status: str = await connection.execute(
        "UPDATE oauth_clients SET rate = $2, daily_quota = $3 WHERE id = $1", client_id, *limits
    )
    return status == "UPDATE 1"
