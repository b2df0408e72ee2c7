"""Features of all customers as a file for analysts: the same rows from Postgres and from the lake."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from db.identities import users_of_guests
from db.lake import person_features as in_lake
from db.lake.location import Lake
from db.merged_users import owners_of_merged
from db.person_features import CATEGORIES, facts_before, item_categories, write_csv
from db.postgres import Pool
from ml.features.person import person_sql


async def write_people(pool: Pool, path: Path, as_of: datetime, lake: Lake | None = None) -> None:
    """Write a row for each person who bought something before a moment (whole seconds), as CSV.

    The file is written as a whole or not at all. With a lake, its exported days are read by DuckDB and Postgres is
    spared. Raises InvalidInput and StoreUnavailable.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        if lake is None:
            await write_csv(pool, query_for_postgres(as_of), unfinished)
        else:
            await people_in_lake(pool, lake, as_of, in_lake.csv_at(unfinished))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def query_for_postgres(as_of: datetime) -> str:
    """The query as Postgres runs it."""
    return person_sql(facts_before(as_of), CATEGORIES, int(as_of.timestamp()))


async def people_in_lake(pool: Pool, lake: Lake, as_of: datetime, use: Callable[[Any], None]) -> None:
    """Give DuckDB's rows to `use`, in a thread."""
    second = int(as_of.timestamp())
    query = person_sql(in_lake.FACTS.replace("{as_of}", str(second)), in_lake.CATEGORIES, second)
    known = {
        "categories": await item_categories(pool),
        "joined": await users_of_guests(pool),
        "merged": await owners_of_merged(pool),
    }
    await asyncio.to_thread(lambda: in_lake.run_on_lake(lake, query, use, **known))
