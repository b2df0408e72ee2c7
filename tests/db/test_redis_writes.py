"""Whether Redis takes writes, at the limit of its memory."""

import pytest

from cli.stack.stores import temporary_stack
from core.errors import StoreFull
from db.cache import check_writes, connect_redis


async def test_a_redis_with_room_for_small_keys_only_is_full() -> None:
    with temporary_stack() as stack:
        async with connect_redis(stack.start(["valkey"])["valkey"], 5.0) as redis:
            await check_writes(redis)
            await redis.config_set("maxmemory-policy", "noeviction")
            used = int((await redis.info("memory"))["used_memory"])
            await redis.config_set("maxmemory", used + 40_000)
            await redis.set("small", b"")
            with pytest.raises(StoreFull):
                await check_writes(redis)
