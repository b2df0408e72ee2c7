"""Settings of things that have a name: every version of them, and who changed them when and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from core.errors import InvalidInput
from db.locks import AdvisoryLock, lock_transaction
from db.postgres import Connection, transaction

COLUMNS: Final = "id, version, settings, changed_at, changed_by, reason"


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """One version of some settings. `settings` None: there are none any more."""

    id: str
    version: int
    settings: dict[str, Any] | None
    changed_at: datetime
    changed_by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What wanted settings change. `before` None: there are none now."""

    id: str
    before: dict[str, Any] | None
    after: dict[str, Any]
    version: int  # that has them, or would have them


class SettingsChanged(InvalidInput):
    """Somebody changed it meanwhile: read it again."""


@dataclass(frozen=True, slots=True)
class SettingsTable:
    """A table of settings, with the lock of who changes them, how many things may have some, and what these are."""

    name: str
    lock: AdvisoryLock
    most: int
    plural: str

    @property
    def newest(self) -> str:
        """SQL: the newest version of each."""
        return f"SELECT DISTINCT ON (id) {COLUMNS}, change FROM {self.name} ORDER BY id, version DESC"

    async def save(
        self,
        connection: Connection,
        id: str,
        settings: Callable[[dict[str, Any] | None], dict[str, Any] | None],
        changed_by: str,
        reason: str | None,
        *,
        expected: int | None = None,
    ) -> StoredSettings | None:
        """The newest version after `settings` made new ones of the settings; equal ones add no version.

        None: there never were settings and are none now. `expected` is the version that the caller has read, 0 for
        none. Raises SettingsChanged, InvalidInput when there are too many, and what `settings` raises.
        """
        async with transaction(connection) as inside:
            await lock_transaction(inside, self.lock)
            now = await self.by_id(inside, id)
            version = now.version if now else 0
            if expected is not None and expected != version:
                raise SettingsChanged(f"{SettingsChanged.__doc__} It has version {version} now.", "version")
            before = now.settings if now else None
            wanted = settings(before)
            if wanted == before:
                return now
            if before is None and await self.count(inside) >= self.most:
                raise InvalidInput(f"There may be at most {self.most:,} {self.plural}.", "id")
            row = await inside.fetchrow(
                f"INSERT INTO {self.name} (id, version, settings, changed_by, reason) VALUES ($1, $2, $3, $4, $5)"
                f" RETURNING {COLUMNS}",
                id,
                version + 1,
                wanted,
                changed_by,
                reason,
            )
            return StoredSettings(**row)

    async def save_all(
        self, connection: Connection, wanted: Mapping[str, dict[str, Any]], changed_by: str, reason: str | None
    ) -> list[Difference]:
        """Save settings by id, all or none, in one transaction; what they change.

        Raises InvalidInput when there would be too many.
        """
        async with transaction(connection) as inside:
            await lock_transaction(inside, self.lock)
            found = await self.differences(inside, wanted)
            more = sum(one.before is None for one in found)
            if more and await self.count(inside) + more > self.most:
                raise InvalidInput(f"There may be at most {self.most:,} {self.plural}.", "id")
            await inside.execute(
                f"INSERT INTO {self.name} (id, version, settings, changed_by, reason)"
                " SELECT id, version, settings, $4, $5 FROM unnest($1::text[], $2::integer[], $3::jsonb[])"
                " WITH ORDINALITY AS new (id, version, settings, place) ORDER BY place",
                [one.id for one in found],
                [one.version for one in found],
                [one.after for one in found],
                changed_by,
                reason,
            )
            return found

    async def differences(self, connection: Connection, wanted: Mapping[str, dict[str, Any]]) -> list[Difference]:
        """What these settings by id would change, in their order."""
        rows = await connection.fetch(
            f"SELECT DISTINCT ON (id) id, version, settings FROM {self.name} WHERE id = ANY($1)"
            " ORDER BY id, version DESC",
            list(wanted),
        )
        newest = {row["id"]: (row["settings"], row["version"]) for row in rows}
        found = list[Difference]()
        for id, after in wanted.items():
            before, version = newest.get(id, (None, 0))
            if before != after:
                found.append(Difference(id, before, after, version + 1))
        return found

    async def by_id(self, connection: Connection, id: str) -> StoredSettings | None:
        """The newest version; None when there never were settings."""
        row = await connection.fetchrow(
            f"SELECT {COLUMNS} FROM {self.name} WHERE id = $1 ORDER BY version DESC LIMIT 1", id
        )
        return row and StoredSettings(**row)

    async def version(self, connection: Connection, id: str, version: int) -> StoredSettings | None:
        """One version."""
        row = await connection.fetchrow(
            f"SELECT {COLUMNS} FROM {self.name} WHERE id = $1 AND version = $2", id, version
        )
        return row and StoredSettings(**row)

    async def listed(self, connection: Connection, first: int, after: str = "") -> list[StoredSettings]:
        """At most `first` newest versions with settings, by id, those above `after`."""
        rows = await connection.fetch(
            f"SELECT {COLUMNS} FROM ({self.newest}) AS newest WHERE settings IS NOT NULL AND id > $2"
            " ORDER BY id LIMIT $1",
            first,
            after,
        )
        return [StoredSettings(**row) for row in rows]

    async def changed_since(self, connection: Connection, change: int, first: int) -> dict[int, StoredSettings]:
        """At most `first` newest versions that were made after a change, by the number of theirs, oldest first."""
        rows = await connection.fetch(
            f"SELECT {COLUMNS}, change FROM (SELECT DISTINCT ON (id) {COLUMNS}, change FROM {self.name}"
            " WHERE change > $1 ORDER BY id, version DESC) AS newest ORDER BY change LIMIT $2",
            change,
            first,
        )
        return {row["change"]: StoredSettings(*tuple(row)[:-1]) for row in rows}

    async def versions(
        self, connection: Connection, id: str, first: int, before: int | None = None
    ) -> list[StoredSettings]:
        """At most `first` versions, newest first, those below `before`."""
        rows = await connection.fetch(
            f"SELECT {COLUMNS} FROM {self.name} WHERE id = $1 AND ($3::integer IS NULL OR version < $3)"
            " ORDER BY version DESC LIMIT $2",
            id,
            first,
            before,
        )
        return [StoredSettings(**row) for row in rows]

    async def count(self, connection: Connection) -> int:
        """How many have settings."""
        return int(await connection.fetchval(f"SELECT count(settings) FROM ({self.newest}) AS newest"))

    async def newest_change(self, connection: Connection) -> int:
        """The number of the newest change of any; 0 before the first."""
        return int(await connection.fetchval(f"SELECT coalesce(max(change), 0) FROM {self.name}"))
