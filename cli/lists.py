"""Writes the lists of many users to a file, or lets a trainer do so."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path

from cli.database import postgres_url
from cli.errors import WrongCommand
from core.settings import Lists, Stores
from db.cache import connect_redis
from db.jobs import Job
from db.lake.list_files import ListFile
from db.list_jobs import Format
from db.postgres import connect_pool
from engine.many_lists.batch import BatchRequest
from engine.many_lists.list_files import AT_ONCE, CONNECTIONS, TIMEOUT, Written
from engine.many_lists.list_files import write_lists as write
from engine.many_lists.list_requests import request_lists
from engine.many_lists.wanted_lists import WantedLists

BY = "penchant recommend"
CONFIRM_TIMEOUT = 5.0  # seconds


def format_of(url: str) -> Format:
    """The format that the end of a file's name means."""
    return "parquet" if url.endswith(".parquet") else "jsonl"


def write_lists(url: str, format: Format | None, request: BatchRequest, file: Path | None) -> Written:
    """Write the lists of all users, or of those in `file`, one id per line. The lists are those of the gateway.

    Raises WrongCommand for a file that cannot be read, InvalidInput for the address, StoreUnavailable.
    """
    return asyncio.run(_write(url, format or format_of(url), request, file))


def queue_lists(wanted: WantedLists) -> Job:
    """Request the lists of all users from the trainers. Raises InvalidInput, RateLimited, StoreUnavailable."""
    return asyncio.run(_queue(wanted))


async def _write(url: str, format: Format, request: BatchRequest, file: Path | None) -> Written:
    stores, settings = Stores(), Lists()
    redis = connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout)
    async with await connect_pool(postgres_url(), size=CONNECTIONS, timeout=TIMEOUT) as pool, redis:
        users = None if file is None else _named(file)
        with ListFile.at(url, format) as lists:
            return await write(pool, redis, stores.bundles, settings, lists, request, users=users)


async def _queue(wanted: WantedLists) -> Job:
    from bus.rabbitmq.publisher import RabbitPublisher

    broker = RabbitPublisher(Stores().broker_url.get_secret_value(), CONFIRM_TIMEOUT)
    try:
        async with await connect_pool(postgres_url(), size=1) as pool:
            return await request_lists(pool, broker, Lists().lists_url, wanted, "asked for by a person", BY)
    finally:
        await broker.close()


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
