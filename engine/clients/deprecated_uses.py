"""Which deprecated parts of the schema clients still use: counted in memory, written beside the requests."""

import asyncio
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from typing import Final

import structlog

from core import metrics
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.deprecated_uses import store_deprecated_uses
from db.postgres import Connection

log = structlog.get_logger()

WRITE_EVERY: Final = 10.0  # seconds
MAX_PAIRS: Final = 10_000  # of client and part, between two writes; parts are those of the schema
LAST_WRITE: Final = 2.0  # seconds
_counter = cache(metrics.DEPRECATED_USES.labels)  # `labels` takes a lock; parts are those of the schema


class DeprecatedUses:
    """The operations of this process that used a deprecated part, since the last write: by client and part."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._counts: Counter[tuple[str, str]] = Counter()
        self._unpublished: Counter[str] = Counter()  # by part: the metric's own lock would cost each operation more

    def note(self, client_id: str, parts: Collection[str]) -> None:
        """Count one operation of this client, which used these parts, named by their schema coordinates."""
        for part in parts:
            self._unpublished[part] += 1
            pair = client_id, part
            if len(self._counts) < MAX_PAIRS or pair in self._counts:
                self._counts[pair] += 1

    async def run(self) -> None:
        """Write every few seconds until it is cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY)
                await self.write()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WRITE):
                    await self.write()

    async def write(self) -> None:
        """Store what was counted, and add it to the metric. What cannot be stored is kept."""
        for part, uses in self._unpublished.items():
            _counter(part).inc(uses)
        self._unpublished.clear()
        counts, self._counts = self._counts, Counter()
        try:
            if counts:
                await store_deprecated_uses(self._connection, counts)
                counts = Counter()
        except StoreUnavailable as error:
            log_unavailable(error, doing="count deprecated uses")
        except Exception:  # requests do not depend on it
            log.exception("deprecated_uses_not_stored")
            counts = Counter()
        finally:
            self._counts.update(counts)
