"""Writes the lists of many users to a file: all users, or those that a file names."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cli.database import postgres_url
from cli.errors import WrongCommand
from core.settings import Lists, Stores
from core.turns import OneAtATime, Turns
from db.cache import connect_redis
from db.lake.list_files import Format, ListFile
from db.postgres import connect_pool
from db.shares import share_out
from db.users import stream_user_ids
from engine.catalogue.catalogue import Catalogue
from engine.recommending.batch import BatchRecommender, BatchRequest, RefusedUser
from engine.recommending.people import PeopleReader
from engine.recommending.serving_models import ServingModels
from engine.recommending.trends import Trends
from engine.signing import Signer

AT_ONCE = 500  # ids in memory
TIMEOUT = 60.0  # seconds of one statement: nobody waits for these
CONNECTIONS = 4


class Written(NamedTuple):
    """What was written: how many lists, by which model, how many were degraded, and how many ids are no user ids."""

    lists: int
    model: str | None
    degraded: int
    rejected: int


def write_lists(url: str, format: Format | None, request: BatchRequest, file: Path | None) -> Written:
    """Write the lists of all users, or of those in `file`, one id per line. The lists are those of the gateway.

    Raises WrongCommand for a file that cannot be read, InvalidInput for the address, StoreUnavailable.
    """
    return asyncio.run(_write(url, format or ("parquet" if url.endswith(".parquet") else "jsonl"), request, file))


async def _write(url: str, format: Format, request: BatchRequest, file: Path | None) -> Written:
    stores = Stores()
    redis = connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout)
    async with await connect_pool(postgres_url(), size=CONNECTIONS, timeout=TIMEOUT) as pool, redis:
        shares = share_out(pool, TIMEOUT)
        catalogue = Catalogue(pool, poll=1)
        await catalogue.load()
        settings = Lists()
        trends = Trends(shares.expensive, timedelta(days=settings.popular_window), empty_age=1)
        models = ServingModels(pool, stores.bundles, catalogue, poll=1, trends=trends)
        try:
            await models.load()
            hold = timedelta(days=settings.dislikes_hold)
            people = PeopleReader(shares.people, redis, catalogue, dislikes_hold=hold)
            signer = Signer(secrets.token_hex(32))  # nothing here is signed
            turns = OneAtATime(Turns(), "lists")
            batch = BatchRecommender(catalogue, models, signer, people, shares.bulk, turns)
            users = stream_user_ids(pool, AT_ONCE) if file is None else _named(file)
            bundle = models.current
            with ListFile.at(url, format) as lists:
                counts = await _fill(lists, batch, users, request)
        finally:
            await trends.close()
    return Written(counts[0], bundle.id if bundle else None, *counts[1:])


async def _fill(
    lists: ListFile, batch: BatchRecommender, users: AsyncIterator[Sequence[str]], request: BatchRequest
) -> tuple[int, int, int]:
    made = degraded = rejected = 0
    async for each in batch.lists(users, request):
        if isinstance(each, RefusedUser):
            rejected += 1
            continue
        made, degraded = made + 1, degraded + bool(each.degraded)
        lists.add(each.as_json())
    return made, degraded, rejected


async def _named(file: Path) -> AsyncIterator[Sequence[str]]:
    try:
        with file.open(encoding="utf-8-sig") as lines:
            ids = _ids(lines)
            while group := list(islice(ids, AT_ONCE)):
                yield group
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise WrongCommand(f"{file} cannot be read: {reason}.") from None


def _ids(lines: Iterator[str]) -> Iterator[str]:
    return (id for line in lines if (id := line.strip()))
