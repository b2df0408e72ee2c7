"""Access tokens that are refused before they expire."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from db.postgres import Connection

MOST_PER_CLIENT: Final = 2000  # revoked access tokens that have not expired
MOST_PER_PERSON: Final = 50  # the same, of one person's for one client
MOST: Final = 100_000  # the same, of all clients: every gateway keeps them
MOST_AT_ONCE: Final = 100  # expired rows deleted with each new one
PAGE: Final = 10_000  # ids in one read: two milliseconds of an event loop
KEPT: Final = timedelta(minutes=1)  # after the token has expired: clocks differ
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def revoked_tokens(connection: Connection) -> AsyncIterator[list[str]]:
    """The ids of access tokens that were revoked and have not expired, a page at a time."""
    async for page in _pages(
        connection,
        """SELECT jti AS id, expires_at AS ends FROM oauth_revocations
           WHERE (expires_at, jti) > (greatest($1::timestamptz, now()), $2) ORDER BY expires_at, jti LIMIT $3""",
    ):
        yield page


async def revoked_families(connection: Connection) -> AsyncIterator[list[str]]:
    """The ids of families whose every token is refused and one may not have expired, a page at a time."""
    async for page in _pages(
        connection,
        """SELECT id, tokens_until AS ends FROM oauth_families
           WHERE revoked_at IS NOT NULL AND (tokens_until, id) > (greatest($1::timestamptz, now()), $2)
           ORDER BY tokens_until, id LIMIT $3""",
    ):
        yield page


async def _pages(connection: Connection, statement: str) -> AsyncIterator[list[str]]:
    """One row with an array for each page: a row for each of many ids would hold the event loop."""
    ends, last = _LONG_AGO, ""
    while True:
        row = await connection.fetchrow(
            f"SELECT array_agg(id ORDER BY ends, id) AS ids, max(ends) AS ends FROM ({statement}) AS page",
            ends,
            last,
            PAGE,
        )
        if row["ids"] is None:
            return
        yield row["ids"]
        if len(row["ids"]) < PAGE:
            return
        ends, last = row["ends"], row["ids"][-1]


def revoke_token(
    connection: psycopg.Connection[Any], jti: str, client_id: str, family_id: str | None, life: timedelta
) -> bool:
    """Refuse an access token for the rest of its life. Blocks.

    False, changing nothing, when too many are revoked: of its person for this client, of the client, or of all. It also
    deletes rows of tokens that have expired.
    """
    connection.execute(
        """DELETE FROM oauth_revocations WHERE jti IN (
               SELECT jti FROM oauth_revocations WHERE expires_at < now() LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (MOST_AT_ONCE,),
    )
    added = connection.execute(
        """INSERT INTO oauth_revocations (jti, client_id, family_id, expires_at)
           SELECT %(jti)s, %(client)s, %(family)s::text, now() + %(life)s
           WHERE NOT EXISTS (
                   SELECT FROM oauth_revocations WHERE client_id = %(client)s AND expires_at > now()
                   OFFSET %(most_of_client)s - 1)
               AND NOT EXISTS (
                   SELECT FROM oauth_families AS theirs JOIN oauth_revocations AS r ON r.family_id = theirs.id
                   WHERE theirs.user_id = (SELECT user_id FROM oauth_families WHERE id = %(family)s::text)
                       AND theirs.client_id = %(client)s AND r.expires_at > now() OFFSET %(most_of_person)s - 1)
               AND NOT EXISTS (SELECT FROM oauth_revocations WHERE expires_at > now() OFFSET %(most)s - 1)
           ON CONFLICT (jti) DO UPDATE SET client_id = excluded.client_id RETURNING jti""",
        {
            "jti": jti,
            "client": client_id,
            "family": family_id,
            "life": life + KEPT,
            "most_of_client": MOST_PER_CLIENT,
            "most_of_person": MOST_PER_PERSON,
            "most": MOST,
        },
    )
    return added.fetchone() is not None


def is_refused(
    connection: psycopg.Connection[Any], jti: str, family_id: str | None, client_id: str, issued_at: int
) -> bool:
    """Whether this access token, or the family it came from, was revoked, or its client enabled again since. Blocks."""
    found = connection.execute(
        """SELECT EXISTS (SELECT FROM oauth_revocations WHERE jti = %(jti)s)
               OR EXISTS (SELECT FROM oauth_families WHERE id = %(family)s AND revoked_at IS NOT NULL)
               OR EXISTS (SELECT FROM oauth_clients
                          WHERE id = %(client)s AND floor(extract(epoch FROM enabled_at)) > %(issued_at)s)""",
        {"jti": jti, "family": family_id, "client": client_id, "issued_at": issued_at},
    ).fetchone()
    return bool(found and found[0])
