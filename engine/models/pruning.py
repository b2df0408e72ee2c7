"""Deletes old bundles, and what killed trainings left. Those that serve, are read or may be rolled back to stay."""

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from core.settings import Bundles
from db.postgres import Pool, transaction
from db.serving import lock_decisions, mark_pruned, prunable_bundles
from ml.bundle import bundles_in, delete_bundle, unfinished, unread

log = structlog.get_logger()

LEFT_OVER: Final = timedelta(days=1)  # nothing is written or deleted for so long


async def prune_bundles(pool: Pool, folder: Path, settings: Bundles, now: datetime) -> list[str]:
    """Delete the bundles in `folder` that the settings do not keep; returns their ids.

    A bundle that somebody reads is left for the next time. Its model stays, and says that its files were deleted.
    """
    if not os.access(folder, os.W_OK):  # another process deletes here
        return []
    for path in await asyncio.to_thread(unfinished, folder, (now - LEFT_OVER).timestamp()):
        await asyncio.to_thread(delete_bundle, path)
        log.info("unfinished_bundle_deleted", folder=path.name)
    found = {path.name: path for path in await asyncio.to_thread(bundles_in, folder)}
    if len(found) <= settings.bundles_keep:
        return []
    since = now - timedelta(days=settings.bundles_keep_served)
    deleted = []
    for id in await prunable_bundles(pool, settings.bundles_keep, since):
        if id in found and await _prune(pool, found[id], settings.bundles_keep, since):
            log.info("bundle_deleted", bundle=id)
            deleted.append(id)
    return deleted


async def _prune(pool: Pool, path: Path, keep: int, since: datetime) -> bool:
    """Delete one bundle, unless it is being read or a decision has come between."""
    with unread(path) as free:
        if not free:
            log.info("bundle_is_read", bundle=path.name)
            return False
        async with transaction(pool) as inside:
            await lock_decisions(inside)
            if path.name not in await prunable_bundles(inside, keep, since):
                return False
            await mark_pruned(inside, path.name)  # it cannot be promoted from here on
        await asyncio.to_thread(delete_bundle, path)
    return True
