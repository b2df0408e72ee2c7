"""Writes the lists of many users to a file: all users, or those that are named."""

import secrets
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from redis.asyncio import Redis

from core.settings import Lists
from core.turns import OneAtATime, Turns
from db.lake.list_files import ListFile
from db.postgres import Pool
from db.shares import share_out
from db.users import stream_user_ids
from engine.catalogue.catalogue import Catalogue
from engine.many_lists.batch import BatchRecommender, BatchRequest, RefusedUser
from engine.placements.serving_placements import ServingPlacements
from engine.reasons.texts import ReasonTexts
from engine.recommending.people import PeopleReader
from engine.recommending.serving_models import ServingModels
from engine.recommending.trends import Trends
from engine.rules.serving_rules import ServingRules
from engine.signing import Signer

AT_ONCE: Final = 500  # ids in memory
TIMEOUT: Final = 60.0  # seconds of one statement: nobody waits for these
CONNECTIONS: Final = 4  # of the pool


class Written(NamedTuple):
    """What was written: how many lists, by which model, how many were degraded, and how many ids are no user ids."""

    lists: int
    model: str | None
    degraded: int
    rejected: int


Report = Callable[[Written], Awaitable[None]]


async def write_lists(
    pool: Pool,
    redis: Redis,
    bundles: Path,
    settings: Lists,
    file: ListFile,
    request: BatchRequest,
    *,
    users: AsyncIterable[Sequence[str]] | None = None,
    report: Report | None = None,
) -> Written:
    """Write the lists of all users, or of these, to the open file. The lists are those of the gateway.

    `report` gets what is written so far, after each group of users. Raises InvalidInput, StoreUnavailable.
    """
    shares = share_out(pool, TIMEOUT)
    catalogue = Catalogue(pool, poll=1)
    await catalogue.load()
    trends = Trends(shares.expensive, timedelta(days=settings.popular_window), empty_age=1)
    trends.follow_trending()
    models = ServingModels(pool, bundles, catalogue, poll=1, trends=trends)
    placements, rules = ServingPlacements(pool, ReasonTexts.own(), poll=1), ServingRules(pool, poll=1)
    try:
        await models.load()
        await placements.refresh()
        await rules.refresh()
        people = PeopleReader(shares.people, redis, catalogue, dislikes_hold=timedelta(days=settings.dislikes_hold))
        signer = Signer(secrets.token_hex(32))  # nothing here is signed
        turns = OneAtATime(Turns(), "lists")
        batch = BatchRecommender(catalogue, models, signer, people, shares.bulk, turns, placements, rules)
        written = Written(0, models.current.id if models.current else None, 0, 0)
        async for group in users if users is not None else stream_user_ids(pool, AT_ONCE):
            written = await _add_group(file, batch, group, request, written)
            if report is not None:
                await report(written)
        return written
    finally:
        await trends.close()


async def _add_group(
    file: ListFile, batch: BatchRecommender, group: Sequence[str], request: BatchRequest, written: Written
) -> Written:
    made, model, degraded, rejected = written
    async for each in batch.lists(_only(group), request):
        if isinstance(each, RefusedUser):
            rejected += 1
            continue
        made, degraded = made + 1, degraded + bool(each.degraded)
        file.add(each.as_json())
    return Written(made, model, degraded, rejected)


async def _only(group: Sequence[str]) -> AsyncIterable[Sequence[str]]:
    yield group
