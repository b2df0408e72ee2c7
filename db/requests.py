"""Requests that people's own tokens made: the requester is recorded as "CLIENT for PERSON"."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from db.postgres import Connection


class RequestTable(NamedTuple):
    """A table of requests: `by` is the column of the requester, `at` of the time, `reason` of the reason."""

    kind: str
    table: str
    at: str
    reason: str
    by: str

    @property
    def before(self) -> str:
        """SQL: the number of characters before the person."""
        return f"position(' for ' IN {self.by}) + 4"

    def names(self, people: str) -> str:
        """SQL: whether the requester is one of these people."""
        return f"{self.by} LIKE '% for %' AND substring({self.by} FROM {self.before} + 1) = ANY({people}::text[])"


_TABLES: Final = (
    RequestTable("training", "training_jobs", "requested_at", "reason", "requested_by"),
    RequestTable("cancelled job", "training_jobs", "finished_at", "reason", "cancelled_by"),
    RequestTable("segment", "segments", "changed_at", "name", "changed_by"),
    RequestTable("version of a segment", "segment_versions", "changed_at", "coalesce(reason, '')", "changed_by"),
    RequestTable("placement", "placements", "changed_at", "reason", "changed_by"),
    RequestTable("rule", "rules", "changed_at", "reason", "changed_by"),
    RequestTable("decision", "decisions", "decided_at", "reason", "decided_by"),
    RequestTable("dead event", "dead_events", "decided_at", "coalesce(decision, '')", "decided_by"),
)


async def requests_of(connection: Connection, users: Sequence[str]) -> list[dict[str, Any]]:
    """The requests made with the own tokens of this person's user ids: what, when, why, and through which client."""
    found = " UNION ALL ".join(
        f"SELECT '{each.kind}' AS what, {each.at} AS at, {each.reason} AS reason, {each.by} AS by"
        f" FROM {each.table} WHERE {each.names('$1')}"
        for each in _TABLES
    )
    rows = await connection.fetch(f"{found} ORDER BY at", list(users))
    return [{**row, "at": row["at"].isoformat()} for row in rows]


async def anonymize_requests(connection: Connection, users: Sequence[str]) -> int:
    """Replace these people's ids where they are recorded as requesters; returns how many rows changed."""
    tags = [
        await connection.execute(
            f"UPDATE {each.table} SET {each.by} = left({each.by}, {each.before}) || 'an erased person'"
            f" WHERE {each.names('$1')}",
            users,
        )
        for each in _TABLES
    ]
    return sum(int(tag.rpartition(" ")[2]) for tag in tags)
