"""What people's own tokens asked for: the record says "client for PERSON" where it names who asked."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from db.postgres import Connection


class Record(NamedTuple):
    """A table that names who asked in `by`, when in `at`, and why in `reason`."""

    what: str
    table: str
    at: str
    reason: str
    by: str

    @property
    def before(self) -> str:
        """SQL: how many characters stand before the person."""
        return f"position(' for ' IN {self.by}) + 4"

    def names(self, people: str) -> str:
        """SQL: that it was one of these people."""
        return f"{self.by} LIKE '% for %' AND substring({self.by} FROM {self.before} + 1) = ANY({people}::text[])"


_RECORDS: Final = (
    Record("training", "training_jobs", "requested_at", "reason", "requested_by"),
    Record("decision", "decisions", "decided_at", "reason", "decided_by"),
    Record("dead event", "dead_events", "decided_at", "coalesce(decision, '')", "decided_by"),
)


async def asked_by(connection: Connection, user_id: str) -> list[dict[str, Any]]:
    """Everything on record that this person's own token asked for: what, when, why, and by which client."""
    found = " UNION ALL ".join(
        f"SELECT '{each.what}' AS what, {each.at} AS at, {each.reason} AS reason, {each.by} AS by"
        f" FROM {each.table} WHERE {each.names('$1')}"
        for each in _RECORDS
    )
    rows = await connection.fetch(f"{found} ORDER BY at", [user_id])
    return [{**row, "at": row["at"].isoformat()} for row in rows]


async def forget_askers(connection: Connection, users: Sequence[str]) -> int:
    """Take these people's names out of the record; returns how often they stood there."""
    tags = [
        await connection.execute(
            f"UPDATE {each.table} SET {each.by} = left({each.by}, {each.before}) || 'an erased person'"
            f" WHERE {each.names('$1')}",
            users,
        )
        for each in _RECORDS
    ]
    return sum(int(tag.rpartition(" ")[2]) for tag in tags)
