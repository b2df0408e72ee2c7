"""Rules: what a merchandiser decides about items, every version of it, and who changed it when and why."""

from typing import Final

from db.locks import AdvisoryLock
from db.postgres import Connection
from db.versioned_settings import COLUMNS, SettingsTable, StoredSettings

MOST_RULES: Final = 10_000

RULES: Final = SettingsTable("rules", AdvisoryLock.RULES, MOST_RULES, "rules")


async def list_rules(
    connection: Connection, first: int, after: str = "", placement: str | None = None
) -> list[StoredSettings]:
    """At most `first` rules by id, those above `after`; with `placement`, those that may hold there."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM ({RULES.newest}) AS newest WHERE settings IS NOT NULL AND id > $2"
        " AND ($3::text IS NULL OR coalesce(settings #> '{when,placements}' ? $3, true)) ORDER BY id LIMIT $1",
        first,
        after,
        placement,
    )
    return [StoredSettings(**row) for row in rows]


async def rules_naming(connection: Connection, segment: str, first: int) -> list[str]:
    """The ids of at most `first` rules that hold only for people of a segment, in order."""
    rows = await connection.fetch(
        f"SELECT id FROM ({RULES.newest}) AS newest WHERE settings #> '{{when,segments}}' ? $1 ORDER BY id LIMIT $2",
        segment,
        first,
    )
    return [row["id"] for row in rows]
