"""Automatic documents in Redis: texts that a client registered by their SHA-256, shared by all gateways for a day."""

from typing import Final, cast

from redis.asyncio import Redis

from db.cache import DOCUMENT_TTL, document_keys
from db.redis_client import ask

MOST_DOCUMENTS: Final = 1_000  # of a client; the oldest are dropped
LONGEST: Final = 16_384  # bytes of a text

# The index has the digests of a client's documents by the time they were stored.
_KEEP: Final = """
local life, most, now = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - life)
redis.call('SET', KEYS[2], ARGV[1], 'EX', life)
redis.call('ZADD', KEYS[1], now, ARGV[4])
redis.call('EXPIRE', KEYS[1], life)
local over = redis.call('ZCARD', KEYS[1]) - most
if over > 0 then
    local dropped = redis.call('ZPOPMIN', KEYS[1], over)
    for at = 1, #dropped, 2 do redis.call('UNLINK', ARGV[5] .. dropped[at]) end
end
"""


async def read_automatic(redis: Redis, client_id: str, digest: str) -> str | None:
    """The text that the client registered with this digest; None when there is none. Raises StoreUnavailable."""
    _, document = document_keys(client_id)
    (found,) = await ask(redis, ("GET", document + digest))
    return None if found is None else cast(bytes, found).decode()


async def keep_automatic(redis: Redis, client_id: str, digest: str, text: str, *, most: int = MOST_DOCUMENTS) -> None:
    """Keep a text for a day, unless it is long. Raises StoreUnavailable."""
    body = text.encode()
    if len(body) > LONGEST:
        return
    index, document = document_keys(client_id)
    script = redis.register_script(_KEEP)
    await script(keys=[index, document + digest], args=[body, DOCUMENT_TTL, most, digest, document])
