"""The database that commands work on: its address, and one connection for one piece of work."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from cli.errors import NoDatabase
from core.secret_files import read_secret

if TYPE_CHECKING:
    from db.postgres import Pool

T = TypeVar("T")


def postgres_url() -> str:
    """The address of the database in the settings. Raises NoDatabase."""
    url = read_secret("PENCHANT_POSTGRES_URL")
    if not url:
        raise NoDatabase
    return url


def on_pool(work: "Callable[[Pool], Awaitable[T]]", url: str | None = None) -> T:
    """The result of `work` on a pool of its own, by default to the database of the settings.

    Raises NoDatabase, and StoreUnavailable when Postgres cannot be reached.
    """
    from db.postgres import connect_pool

    address = postgres_url() if url is None else url

    async def run() -> T:
        async with await connect_pool(address, size=1) as pool:
            return await work(pool)

    return asyncio.run(run())
