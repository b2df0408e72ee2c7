"""The bundle that serves: follows the serving row by hints and polls, and opens what was promoted."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from core import metrics
from core.errors import StoreUnavailable
from core.single_flight import SingleFlight
from core.stores import log_unavailable
from db.cache import await_hint
from db.postgres import Pool
from db.serving import Serving, current_serving
from engine.catalogue.catalogue import Catalogue
from engine.recommending.fallbacks import Fallbacks
from engine.recommending.kept_evidence import KeptEvidence
from engine.recommending.kept_lists import KeptLists
from engine.recommending.kin import KinLists
from engine.recommending.trends import Trends
from engine.variety.explorables import Explorables
from ml.affinity.model import AffinityModel
from ml.bundle import BundleRefused
from ml.fallback import Fallback

log = structlog.get_logger()

REOPENED_BUNDLES = 2  # in memory: bundles that only cursors name
KEPT_BUNDLES = 3  # in memory: the one that serves and earlier ones that cursors may still name
MAX_RETRY_DELAY = 60.0  # seconds between two attempts to open a bundle that was refused


class ServingModels:
    """The bundle that serves and the two before it. One answer must read `current` once: it may change meanwhile."""

    def __init__(
        self,
        pool: Pool,
        bundles: Path,
        catalogue: Catalogue,
        *,
        poll: float,
        trends: Trends,
        redis: Redis | None = None,
    ) -> None:
        self.trends = trends
        self.lists, self.kin, self.evidence = KeptLists(catalogue), KinLists(catalogue), KeptEvidence()
        self.explorables = Explorables(catalogue)
        self._fallbacks = Fallbacks(catalogue, trends)
        self._redis = redis
        self._pool, self._bundles, self._catalogue, self._poll = pool, bundles, catalogue, poll
        self._held: tuple[AffinityModel, ...] = ()  # the current one first
        self._reopened: dict[str, AffinityModel] = {}
        self._reopening = SingleFlight(self._reopen)
        self._generation = 0
        self._refused_generation, self._pause, self._not_before = 0, 0.0, 0.0
        self.refused: str | None = None  # why the bundle that should serve does not

    @property
    def current(self) -> AffinityModel | None:
        """The bundle that serves; None before the first promotion."""
        return self._held[0] if self._held else None

    def by_id(self, id: str) -> AffinityModel | None:
        """One of the kept bundles; None for any other."""
        return next((bundle for bundle in self._held if bundle.id == id), None)

    async def pinned(self, id: str) -> AffinityModel | None:
        """The bundle that a cursor names: a kept one, or else one that is opened again for it; None when it is gone.

        A gateway that started after a promotion never held the bundle before.
        """
        kept = self.by_id(id) or self._reopened.get(id)
        if kept is not None:
            return kept
        try:
            return await self._reopening.result(id)
        except Exception as error:  # pruned meanwhile: the list goes on with the bundle that serves
            log.warning("pinned_bundle_not_opened", bundle=id, why=str(error) or repr(error))
            return None

    async def _reopen(self, id: str) -> AffinityModel:
        bundle = await self._open(id)
        while len(self._reopened) >= REOPENED_BUNDLES:
            del self._reopened[next(iter(self._reopened))]
        self._reopened[id] = bundle
        return bundle

    def fallback(self, bundle: AffinityModel | None, preferred: tuple[str, ...] = ()) -> Fallback:
        """What fills the lists that `bundle` makes, or those without one, from the preferred sources first."""
        return self._fallbacks.of(bundle, preferred)

    async def load(self) -> None:
        """Read the serving row and the popular items once, before the first request."""
        await self._follow_serving_row()
        await self._refresh_fallbacks()

    async def run(self) -> None:
        """Follow the serving row and refresh the popular items until cancelled. Neither waits for the other."""
        pubsub = self._redis.pubsub() if self._redis else None
        try:
            follow = self._repeat(self._follow_serving_row, partial(self._wait_for_hint, pubsub))
            refresh = self._repeat(self._refresh_fallbacks, partial(asyncio.sleep, self._poll))
            await asyncio.gather(follow, refresh)
        finally:
            if pubsub is not None:
                await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _refresh_fallbacks(self) -> None:
        try:
            await self.trends.refresh()
        finally:
            await self._fallbacks.refresh(with_model=self.current is not None)

    async def _repeat(self, read: Callable[[], Awaitable[object]], wait: Callable[[], Awaitable[object]]) -> None:
        while True:
            await wait()
            try:
                await read()
            except StoreUnavailable as error:
                log_unavailable(error, doing="read the serving row or the popular items")
            except Exception as error:  # a bug must not end this task: nothing else would restart it
                log.warning("serving_not_read", error=repr(error))

    async def _wait_for_hint(self, pubsub: PubSub | None) -> None:
        """Wait until the next poll, or until Redis says that the serving row changed."""
        if pubsub is None:
            await asyncio.sleep(self._poll)
            return
        try:
            await await_hint(pubsub, self._poll)
        except StoreUnavailable:  # polling goes on without hints
            await asyncio.sleep(self._poll)

    async def _follow_serving_row(self) -> None:
        row = await current_serving(self._pool)
        if row is None or row.generation == self._generation:
            return
        now = asyncio.get_running_loop().time()
        if row.generation == self._refused_generation and now < self._not_before:
            return
        try:
            bundle = self.by_id(row.bundle) or await self._open(row.bundle)
        except Exception as error:  # whatever is wrong with that folder, the current bundle goes on serving
            self._refuse(row, str(error) or repr(error), now)
            return
        others = [held for held in self._held if held.id != bundle.id]
        self._held = (
            bundle,
            *others[: KEPT_BUNDLES - 1],
        )  # one assignment: an answer sees the old or the new bundle, never a mix
        self.lists.clear()  # they would hold the bundle before in memory
        self.evidence.clear()
        self._generation, self.refused = row.generation, None
        metrics.BUNDLE_GENERATION.set(row.generation)
        metrics.BUNDLE_CREATED.set(bundle.created_at.timestamp())
        metrics.BUNDLE_REFUSED.set(0)
        log.info("bundle_serves", bundle=bundle.id, generation=row.generation)

    def _refuse(self, row: Serving, why: str, now: float) -> None:
        """Keep the current bundle, log it, and try again with growing delays: the files may still be arriving."""
        again = row.generation == self._refused_generation
        self._pause = min(max(2 * self._pause, self._poll), MAX_RETRY_DELAY) if again else self._poll
        self._refused_generation, self._not_before, self.refused = row.generation, now + self._pause, why
        metrics.BUNDLE_REFUSED.set(1)
        log.error("bundle_refused", bundle=row.bundle, why=why, still_serving=self.current and self.current.id)

    async def _open(self, id: str) -> AffinityModel:
        if Path(id).name != id:
            raise BundleRefused(f"bundle {id!r} is not the name of a folder")
        bundle = await asyncio.to_thread(_open_warm, self._bundles / id)
        wrong = self._catalogue.count_mismatches(bundle.numbers.tolist(), bundle.item_ids)
        if wrong:
            raise BundleRefused(f"bundle {id}: {wrong} of its items have other numbers in this catalogue")
        return bundle


def _open_warm(path: Path) -> AffinityModel:
    """Open a bundle, and compute now what the first answer would otherwise compute."""
    bundle = AffinityModel.open(path)
    bundle.universe.rows(bundle.popular[:1])
    _ = bundle.pair_network
    return bundle
