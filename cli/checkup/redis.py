"""Redis or Valkey: the server and its memory. Without it answers are slower and miss the latest events."""

from time import perf_counter
from typing import Any

from redis.asyncio import Redis

from cli.checkup.findings import Finding, address, fail, ok, warn
from core.errors import StoreFull, StoreUnavailable
from core.settings import Stores
from db.cache import check_writes, connect_redis

OLDEST_VERSION = 7
FULL = 0.9


async def check_redis(stores: Stores) -> list[Finding]:
    """The server and its memory."""
    url = stores.redis_url.get_secret_value()
    try:
        redis = connect_redis(url, stores.redis_timeout)
    except ValueError:
        return [fail("redis", address(url), "Correct PENCHANT_REDIS_URL: redis://host:port/database.")]
    try:
        began = perf_counter()
        info: dict[str, Any] = await redis.info()
        took = perf_counter() - began
        writes = await _check_writes(redis)
    except StoreUnavailable as error:
        return [fail("redis", f"{address(url)}: {error}", "Start it, or correct PENCHANT_REDIS_URL.")]
    finally:
        await redis.aclose()
    return [check_version(address(url), info, took), _check_memory(info), writes]


def check_version(where: str, info: dict[str, Any], took: float) -> Finding:
    """Whether a server that reports this about itself can be used."""
    name, version = ("Valkey", info["valkey_version"]) if "valkey_version" in info else ("Redis", info["redis_version"])
    says = f"{where}, {name} {version}, answers in {took * 1000:.1f} ms"
    if int(str(version).partition(".")[0]) < OLDEST_VERSION:
        return fail("redis", says, f"Upgrade it: {OLDEST_VERSION} is the oldest version that works.")
    return ok("redis", says)


async def _check_writes(redis: Redis) -> Finding:
    try:
        await check_writes(redis)
    except StoreFull as error:
        advice = "Give it room, or set maxmemory-policy volatile-lru. Until then answers are slower; no event is lost."
        return fail("redis writes", str(error), advice)
    return ok("redis writes", "takes new data")


def _check_memory(info: dict[str, Any]) -> Finding:
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    says = f"{used / 2**20:.0f} MiB of memory in use, {f'at most {most / 2**20:.0f}' if most else 'without a limit'}"
    if most and used > FULL * most and info.get("maxmemory_policy") == "noeviction":
        return warn("redis memory", says, "Raise maxmemory, or set maxmemory-policy volatile-lru.")
    return ok("redis memory", says)
