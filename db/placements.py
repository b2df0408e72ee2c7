"""Placements: what the shop wants of the lists of each, every version of it, and who changed it when and why."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from core.errors import InvalidInput
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

MOST_PLACEMENTS: Final = 1_000  # with settings
_COLUMNS: Final = "id, version, settings, changed_at, changed_by, reason"
_NEWEST: Final = f"SELECT DISTINCT ON (id) {_COLUMNS} FROM placements ORDER BY id, version DESC"


@dataclass(frozen=True, slots=True)
class StoredPlacement:
    """One version of a placement. `settings` None: it is as by default."""

    id: str
    version: int
    settings: dict[str, Any] | None
    changed_at: datetime
    changed_by: str
    reason: str | None


class PlacementChanged(InvalidInput):
    """Somebody changed the placement meanwhile: read it again."""


async def save_placement(
    connection: Connection,
    id: str,
    settings: Callable[[dict[str, Any] | None], dict[str, Any] | None],
    changed_by: str,
    reason: str | None,
    *,
    expected: int | None = None,
) -> StoredPlacement | None:
    """The newest version of a placement after `settings` made new ones of its settings; equal ones add no version.

    None: the placement never had settings and has none now. `expected` is the version that the caller has read, 0 for
    none. Raises PlacementChanged, InvalidInput when there are too many placements, and what `settings` raises.
    """
    async with transaction(connection) as inside:
        await lock_transaction(inside, AdvisoryLock.PLACEMENTS)
        now = await placement_by_id(inside, id)
        version = now.version if now else 0
        if expected is not None and expected != version:
            raise PlacementChanged(f"{PlacementChanged.__doc__} It has version {version} now.", "version")
        before = now.settings if now else None
        wanted = settings(before)
        if wanted == before:
            return now
        if before is None and await count_placements(inside) >= MOST_PLACEMENTS:
            raise InvalidInput(f"There may be at most {MOST_PLACEMENTS:,} placements.", "id")
        row = await inside.fetchrow(
            "INSERT INTO placements (id, version, settings, changed_by, reason) VALUES ($1, $2, $3, $4, $5)"
            f" RETURNING {_COLUMNS}",
            id,
            version + 1,
            wanted,
            changed_by,
            reason,
        )
        return StoredPlacement(**row)


async def placement_by_id(connection: Connection, id: str) -> StoredPlacement | None:
    """The newest version of a placement; None when it never had settings."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM placements WHERE id = $1 ORDER BY version DESC LIMIT 1", id
    )
    return row and StoredPlacement(**row)


async def placement_version(connection: Connection, id: str, version: int) -> StoredPlacement | None:
    """One version of a placement."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM placements WHERE id = $1 AND version = $2", id, version)
    return row and StoredPlacement(**row)


async def list_placements(connection: Connection, first: int, after: str = "") -> list[StoredPlacement]:
    """At most `first` placements with settings, by id, those above `after`."""
    rows = await connection.fetch(
        f"SELECT * FROM ({_NEWEST}) AS newest WHERE settings IS NOT NULL AND id > $2 ORDER BY id LIMIT $1", first, after
    )
    return [StoredPlacement(**row) for row in rows]


async def versions_of_placement(
    connection: Connection, id: str, first: int, before: int | None = None
) -> list[StoredPlacement]:
    """At most `first` versions of a placement, newest first, those below `before`."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM placements WHERE id = $1 AND ($3::integer IS NULL OR version < $3)"
        " ORDER BY version DESC LIMIT $2",
        id,
        first,
        before,
    )
    return [StoredPlacement(**row) for row in rows]


async def count_placements(connection: Connection) -> int:
    """How many placements have settings."""
    return int(await connection.fetchval(f"SELECT count(settings) FROM ({_NEWEST}) AS newest"))


async def newest_change(connection: Connection) -> int:
    """The number of the newest change of any placement; 0 before the first."""
    return int(await connection.fetchval("SELECT coalesce(max(change), 0) FROM placements"))
