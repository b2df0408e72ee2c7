"""What serves: the bundle of the serving row, swapped in whole, and the lists that need no model."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import structlog
from asyncpg import Pool
from numpy.typing import NDArray
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from core import clock, metrics
from core.errors import StoreUnavailable
from core.single_flight import SingleFlight
from core.stores import log_unavailable
from db.cache import await_hint
from db.purchases import popular_items
from db.serving import Serving, current_serving
from engine.catalogue.catalogue import Catalogue
from ml.affinity.model import AffinityModel
from ml.bundle import BundleRefused

log = structlog.get_logger()

HELD = 3  # bundles in memory: the one that serves and those that cursors may still name
POPULAR = 10_000  # items of a popularity list: enough to stay full behind a narrow filter
POPULAR_LIVES = 60.0  # seconds
WINDOWS = 16  # windows whose trending lists are kept
LONGEST_PAUSE = 60.0  # seconds between two tries of a bundle that was refused


@dataclass(frozen=True, slots=True, eq=False)
class Popular:
    """Items by how many people bought them lately, most first."""

    numbers: NDArray[np.uint32]
    people: NDArray[np.uint32]
    read_at: float  # the event loop's clock, seconds


class ServingModels:
    """The bundle in use and the two before it. Whoever asks twice within one answer must keep what `current` said."""

    def __init__(
        self,
        pool: Pool,
        bundles: Path,
        catalogue: Catalogue,
        *,
        poll: float,
        popular_window: int,
        redis: Redis | None = None,
    ) -> None:
        self._redis = redis
        self._pool, self._bundles, self._catalogue, self._poll = pool, bundles, catalogue, poll
        self._window = timedelta(days=popular_window)
        self._held: tuple[AffinityModel, ...] = ()  # the current one first
        self._generation = 0
        self._trending: dict[timedelta, Popular] = {}
        self._reading = SingleFlight(self._read_popular)
        self._refused_generation, self._pause, self._not_before = 0, 0.0, 0.0
        self.refused: str | None = None  # why the bundle that should serve does not

    @property
    def current(self) -> AffinityModel | None:
        """The bundle that serves; None before the first."""
        return self._held[0] if self._held else None

    def by_id(self, id: str) -> AffinityModel | None:
        """One of the last three bundles."""
        return next((bundle for bundle in self._held if bundle.id == id), None)

    def fallback(self, bundle: AffinityModel | None) -> NDArray[np.uint32]:
        """What fills a list made by `bundle`: item numbers, most bought first; its own while nothing is newer."""
        lately = self._trending.get(self._window)
        if lately is not None and len(lately.numbers):
            return lately.numbers
        return bundle.popular if bundle else np.zeros(0, np.uint32)

    async def load(self) -> None:
        """Look once at what serves and what is popular, before the first request."""
        await self._look()
        await self.trending(self._window)

    async def run(self) -> None:
        """Follow the serving row, and beside it keep the fallback list fresh, for ever: neither waits for the other."""
        pubsub = self._redis.pubsub() if self._redis else None
        try:
            follow = self._repeat(self._look, partial(self._hinted, pubsub))
            refresh = self._repeat(partial(self.trending, self._window), partial(asyncio.sleep, self._poll))
            await asyncio.gather(follow, refresh)
        finally:
            if pubsub is not None:
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _repeat(self, look: Callable[[], Awaitable[object]], pause: Callable[[], Awaitable[object]]) -> None:
        while True:
            await pause()
            try:
                await look()
            except StoreUnavailable as error:
                log_unavailable(error, doing="read what serves")
            except Exception as error:  # this task is the only one who would notice: it must outlive anything
                log.warning("serving_not_read", error=repr(error))

    async def _hinted(self, pubsub: PubSub | None) -> None:
        """Wait for the next poll, or less when Redis says that something else serves."""
        if pubsub is None:
            await asyncio.sleep(self._poll)
            return
        try:
            await await_hint(pubsub, self._poll)
        except StoreUnavailable:  # the poll goes on without hints
            await asyncio.sleep(self._poll)

    async def trending(self, window: timedelta) -> Popular:
        """What most people bought in the last `window`, at most a minute old; read once however many ask.

        The window is rounded up, to hours or from two days on to days: few different questions reach Postgres.
        """
        window = rounded(window)
        found = self._trending.get(window)
        now = asyncio.get_running_loop().time()
        if found is not None and now - found.read_at < (POPULAR_LIVES if len(found.numbers) else self._poll):
            return found
        return await self._reading.result(window)

    async def _read_popular(self, window: timedelta) -> Popular:
        now = asyncio.get_running_loop().time()
        rows = await popular_items(self._pool, clock.now() - window, POPULAR)
        numbers, people = (np.array([row[at] for row in rows], np.uint32) for at in (1, 2))
        if len(self._trending) >= WINDOWS:
            oldest = min(self._trending.keys() - {self._window}, key=lambda known: self._trending[known].read_at)
            del self._trending[oldest]
        popular = self._trending[window] = Popular(numbers, people, now)
        return popular

    async def _look(self) -> None:
        row = await current_serving(self._pool)
        if row is None or row.generation == self._generation:
            return
        now = asyncio.get_running_loop().time()
        if row.generation == self._refused_generation and now < self._not_before:
            return
        try:
            bundle = self.by_id(row.bundle) or await self._open(row.bundle)
        except Exception as error:  # whatever is wrong with that folder, the one that serves goes on
            self._refuse(row, str(error) or repr(error), now)
            return
        others = [held for held in self._held if held.id != bundle.id]
        self._held = (bundle, *others[: HELD - 1])  # one assignment: an answer sees the old or the new, never both
        self._generation, self.refused = row.generation, None
        metrics.BUNDLE_GENERATION.set(row.generation)
        metrics.BUNDLE_CREATED.set(bundle.created_at.timestamp())
        metrics.BUNDLE_REFUSED.set(0)
        log.info("bundle_serves", bundle=bundle.id, generation=row.generation)

    def _refuse(self, row: Serving, why: str, now: float) -> None:
        """Go on with the old one, say so, and look again ever more seldom: the files may still be on their way."""
        again = row.generation == self._refused_generation
        self._pause = min(max(2 * self._pause, self._poll), LONGEST_PAUSE) if again else self._poll
        self._refused_generation, self._not_before, self.refused = row.generation, now + self._pause, why
        metrics.BUNDLE_REFUSED.set(1)
        log.error("bundle_refused", bundle=row.bundle, why=why, still_serving=self.current and self.current.id)

    async def _open(self, id: str) -> AffinityModel:
        if Path(id).name != id:
            raise BundleRefused(f"bundle {id!r} is not the name of a folder")
        bundle = await asyncio.to_thread(_open_warm, self._bundles / id)
        wrong = self._catalogue.strangers(bundle.numbers.tolist(), bundle.item_ids)
        if wrong:
            raise BundleRefused(f"bundle {id}: {wrong} of its items have other numbers in this catalogue")
        return bundle


def rounded(window: timedelta) -> timedelta:
    """The window in whole hours, from two days on in whole days; never shorter than it was."""
    step = timedelta(days=1) if window >= timedelta(days=2) else timedelta(hours=1)
    return -(-window // step) * step


def _open_warm(path: Path) -> AffinityModel:
    """Open, and compute what would otherwise be computed within the first answer."""
    bundle = AffinityModel.open(path)
    bundle.universe.rows(bundle.popular[:1])
    return bundle
