"""Whether the stores take writes: a full one still answers, so nothing else shows it until a write fails."""

import asyncio
from collections.abc import Awaitable
from typing import Final

import structlog
from redis.asyncio import Redis

from core.errors import StoreFull, StoreName, StoreUnavailable
from db.cache import check_writes
from db.checkup import check_space
from db.postgres import Connection

log = structlog.get_logger()

PERIOD: Final = 5.0  # seconds between two checks


class Vitals:
    """The stores that take no writes, as of the last check of this process."""

    def __init__(self, pool: Connection, redis: Redis) -> None:
        self._pool, self._redis = pool, redis
        self.full: dict[StoreName, str] = {}  # the reason, as a sentence

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(PERIOD)

    async def check(self) -> None:
        """Check both stores. A store that does not answer is not full, as far as anybody knows."""
        await asyncio.gather(
            self._note("postgres", check_space(self._pool)), self._note("redis", check_writes(self._redis))
        )

    async def _note(self, store: StoreName, check: Awaitable[None]) -> None:
        reason = await _refusal(store, check)
        if reason is not None and store not in self.full:
            log.error("store_full", store=store, reason=reason)
        elif reason is None and store in self.full:
            log.info("store_not_full", store=store)
        if reason is None:
            self.full.pop(store, None)
        else:
            self.full[store] = reason


async def _refusal(store: StoreName, check: Awaitable[None]) -> str | None:
    try:
        await check
    except StoreFull as error:
        return str(error)
    except StoreUnavailable:  # /readyz and the requests that need the store say so
        return None
    except Exception:  # the checks must go on
        log.exception("store_not_checked", store=store)
    return None
