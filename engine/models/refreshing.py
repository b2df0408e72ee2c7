"""Rebuilds the tables of what serves as of now, after a promotion and every day; its weights stay as they were tested.

The bundle with new tables is registered and serves by one decision, REFRESHED; a rollback leads past it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from core import clock
from core.settings import Stores
from db.cache import connect_redis, hint_serving
from db.items import last_categories
from db.jobs import REFRESH, Job, finish_job
from db.postgres import Pool, connect_pool, transaction
from db.serving import Model, current_serving, lock_decisions, model_by_id, refresh, register_model
from engine.jobs.leases import HeldJob, TrainingStopped, hold, lease_waiting, stopped_by_signals
from engine.models.texts import catalogue_words
from engine.models.training import as_log, stored_purchases, written_bundles
from ml.affinity.model import AffinityModel
from ml.affinity.refreshing import RefreshedAffinity, refreshed
from ml.bundle import Bundle, delete_bundle
from ml.cold_items import ColdItems
from ml.interest import ASSUMED, Interest
from ml.log import NothingToLearn
from ml.universe import Universe

log = structlog.get_logger()

MOST_ATTEMPTS: Final = 3  # another model may be promoted while tables are built: theirs are built then


async def refresh_waiting(
    stores: Stores,
    lake: str | None = None,
    *,
    stopping: Callable[[], bool] = lambda: False,
    assumed: Interest = ASSUMED,
) -> str | None:
    """Carry out the refresh that waits; the id of the new bundle, or None when none waits or nothing changes.

    At SIGTERM or Ctrl-C the job waits again, and this raises TrainingStopped; also if the trainer is `stopping`.
    """
    async with stopped_by_signals(), await connect_pool(stores.postgres_url.get_secret_value(), size=3) as pool:
        if stopping():
            raise TrainingStopped
        job = await lease_waiting(pool, REFRESH)
        if job is None:
            return None
        made = await refresh_tables(pool, stores, job, lake=lake, assumed=assumed)
        log.info("bundle_refreshed" if made else "nothing_refreshed", job=job.id, bundle=made)
        return made


async def refresh_tables(
    pool: Pool,
    stores: Stores,
    job: Job,
    *,
    folder: Path | None = None,
    lake: str | None = None,
    decided_by: str = "trainer",
    assumed: Interest = ASSUMED,
) -> str | None:
    """Rebuild the tables of what serves, and let it serve with them; the id of the new bundle.

    None when nothing serves, when no table would change, and when there are no purchases to build tables from: the
    tables stay, and the job does not fail, since tomorrow's would too. Raises LeaseLost when another worker has taken
    the job: nothing is registered in that case.
    """
    folder, path = (folder or stores.bundles).resolve(), None
    async with hold(pool, job) as held:
        for _ in range(MOST_ATTEMPTS):
            row = await current_serving(pool)
            made = await _refreshed(pool, folder, row.bundle, lake, assumed) if row else None
            held.check()
            if row is None or made is None:
                break
            async with written_bundles(pool, held, folder) as write:
                path = await write(made)
                held.check()
                if await _serves(pool, held, path, row.bundle, made, decided_by):
                    break
            await asyncio.to_thread(delete_bundle, path)  # another model was promoted meanwhile
            path = None
        if path is None:
            await finish_job(pool, job, None)
            return None
    async with connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout) as redis:
        await hint_serving(redis)
    return path.name


async def _refreshed(
    pool: Pool, folder: Path, id: str, lake: str | None, assumed: Interest
) -> RefreshedAffinity | None:
    """What serves, with tables as of now; None when they would be the same. Built in a thread: the lease is renewed."""
    stored = await stored_purchases(pool, lake)
    categories, words, now = await last_categories(pool), await catalogue_words(pool), int(clock.now().timestamp())

    def rebuilt() -> RefreshedAffinity | None:
        bundle = AffinityModel.open(folder / id)
        try:
            made = refreshed(bundle, as_log(stored, categories, words, assumed), now)
        except NothingToLearn as error:
            log.info("tables_stay", bundle=id, why=str(error))
            return None
        return None if _are_same(made.universe, bundle.universe) else made

    return await asyncio.to_thread(rebuilt)


async def _serves(pool: Pool, held: HeldJob, path: Path, before: str, made: RefreshedAffinity, decided_by: str) -> bool:
    """Register the written bundle, let it serve, and end the job, all or nothing; False when `before` is replaced."""
    written = await asyncio.to_thread(Bundle.open, path)
    origin: str = made.training["refreshed_from"]
    async with transaction(pool) as inside:
        await lock_decisions(inside)
        row, model = await current_serving(inside), await model_by_id(inside, before)
        if row is None or row.bundle != before or model is None:
            return False
        await register_model(
            inside,
            Model(
                written.id,
                model.kind,
                written.created_at,
                written.digest,
                model.evaluation,
                model.registry_version,
                made.training,
                refreshed_from=origin,
            ),
        )
        reason = (
            f"tables as of {made.training['refreshed_as_of']}, with {len(made.item_ids):,} items; weights, calibration"
            f" and evaluation are those of {origin}"
        )
        await refresh(inside, written.id, reason, {"refreshed_from": origin, "job": held.job.id}, decided_by)
        await finish_job(inside, held.job, written.id)
    return True


def _are_same(one: Universe, other: Universe) -> bool:
    if not _have_same_parts(one.cold, other.cold):
        return False
    names = [field.name for field in fields(Universe) if field.name != "cold"]
    pairs = ((getattr(one, name), getattr(other, name)) for name in names)
    return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)


def _have_same_parts(one: ColdItems | None, other: ColdItems | None) -> bool:
    if one is None or other is None:
        return one is other
    ours, theirs = one.parts(), other.parts()
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)
