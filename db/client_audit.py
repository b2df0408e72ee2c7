"""What was done to clients and by whom, when they were used last, and how often they were refused.

No secrets and no addresses. A refusal is counted per client, day and reason; a change is a row of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, NamedTuple

from db.postgres import Connection

MOST_CHANGES = 1_000  # of one client; older ones are deleted
DAYS_OF_REFUSALS = 90


class AuditAction(Enum):
    """What happened to a client."""

    CREATED = "CREATED"
    SECRET_ROTATED = "SECRET_ROTATED"
    SCOPES_CHANGED = "SCOPES_CHANGED"
    DISABLED = "DISABLED"
    ENABLED = "ENABLED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change by `done_by`, or the refusals of one `day` with one `reason`. `at` is of the last one of `count`."""

    id: int
    at: datetime
    action: AuditAction
    done_by: str | None
    scopes_before: tuple[str, ...] | None
    scopes: tuple[str, ...] | None
    day: date | None
    reason: str | None
    count: int


async def record_change(
    connection: Connection,
    client_id: str,
    action: AuditAction,
    done_by: str,
    *,
    scopes_before: Sequence[str] | None = None,
    scopes: Sequence[str] | None = None,
) -> None:
    """Record a change of a client; only its newest 1,000 changes are kept. Call it in the change's transaction."""
    await connection.execute(
        """INSERT INTO oauth_client_audit (client_id, action, done_by, scopes_before, scopes)
           VALUES ($1, $2, $3, $4, $5)""",
        client_id,
        action.value,
        done_by,
        scopes_before,
        scopes,
    )
    await connection.execute(
        """DELETE FROM oauth_client_audit WHERE client_id = $1 AND day IS NULL AND id <= (
               SELECT id FROM oauth_client_audit WHERE client_id = $1 AND day IS NULL
               ORDER BY id DESC OFFSET $2 LIMIT 1)""",
        client_id,
        MOST_CHANGES,
    )


class TrailPart(NamedTuple):
    """The newest `limit` entries of a client, or those before the entry with the id `before`."""

    client_id: str
    limit: int
    before: int | None = None


async def list_audit(connection: Connection, client_id: str, limit: int, before: int | None = None) -> list[AuditEntry]:
    """The entries of a `TrailPart`, newest first."""
    part = TrailPart(client_id, limit, before)
    return (await list_audits(connection, [part])).get(part, [])


async def list_audits(connection: Connection, parts: Sequence[TrailPart]) -> dict[TrailPart, list[AuditEntry]]:
    """The entries of each part, newest first, in one query; a part without any is left out."""
    rows = await connection.fetch(
        """SELECT part, id, at, action, done_by, scopes_before, scopes, day, reason, count
           FROM unnest($1::text[], $2::bigint[], $3::bigint[])
               WITH ORDINALITY AS wanted (client_id, most, before, part)
           CROSS JOIN LATERAL (
               SELECT id, at, action, done_by, scopes_before, scopes, day, reason, count
               FROM oauth_client_audit AS audit
               WHERE audit.client_id = wanted.client_id AND (before IS NULL OR id < before)
               ORDER BY id DESC LIMIT most) AS found
           ORDER BY part, id DESC""",
        [part.client_id for part in parts],
        [part.limit for part in parts],
        [part.before for part in parts],
    )
    found: dict[TrailPart, list[AuditEntry]] = {}
    for row in rows:
        found.setdefault(parts[row["part"] - 1], []).append(_entry(row))
    return found


def _entry(row: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        at=row["at"],
        action=AuditAction(row["action"]),
        done_by=row["done_by"],
        scopes_before=row["scopes_before"] and tuple(row["scopes_before"]),
        scopes=row["scopes"] and tuple(row["scopes"]),
        day=row["day"],
        reason=row["reason"],
        count=row["count"],
    )


async def store_uses(connection: Connection, client_ids: Sequence[str]) -> None:
    """Note that these clients are used now. Ids of no client are left out."""
    await connection.execute(
        """INSERT INTO oauth_client_uses (client_id, used_at)
           SELECT id, now() FROM oauth_clients WHERE id = ANY($1) ORDER BY id
           ON CONFLICT (client_id) DO UPDATE SET used_at = greatest(oauth_client_uses.used_at, excluded.used_at)""",
        client_ids,
    )


async def store_refusals(connection: Connection, counts: Mapping[tuple[str, str], int]) -> None:
    """Add refusals by (client id, reason) to those of today. Ids of no client are left out; old days are deleted."""
    pairs = sorted(counts)  # in one order, so that two processes do not wait for each other in a ring
    await connection.execute(
        """INSERT INTO oauth_client_audit (client_id, action, day, reason, count)
           SELECT client_id, 'REFUSED', (now() AT TIME ZONE 'UTC')::date, reason, times
           FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS new (client_id, reason, times, place)
           WHERE EXISTS (SELECT FROM oauth_clients WHERE id = client_id) ORDER BY place
           ON CONFLICT (client_id, day, reason)
           DO UPDATE SET count = oauth_client_audit.count + excluded.count, at = now()""",
        [client_id for client_id, _ in pairs],
        [reason for _, reason in pairs],
        [counts[pair] for pair in pairs],
    )
    await connection.execute(
        "DELETE FROM oauth_client_audit WHERE day < (now() AT TIME ZONE 'UTC')::date - $1::integer", DAYS_OF_REFUSALS
    )
