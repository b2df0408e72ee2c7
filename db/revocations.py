"""Access tokens that are refused before they expire."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg

from db.postgres import Connection

MOST_PER_CLIENT: Final = 2000  # revoked access tokens that have not expired; every gateway reads them all
MOST_AT_ONCE: Final = 100  # expired rows deleted with each new one
KEPT: Final = timedelta(minutes=1)  # after the token has expired: clocks differ


@dataclass(frozen=True, slots=True)
class RefusedTokens:
    """Token ids that were revoked and have not expired; clients, and families, whose every token is refused."""

    tokens: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()


async def list_refused(connection: Connection) -> RefusedTokens:
    """Every refused token, client and family, in one statement: gateways run it every two seconds.

    One row with arrays: a row for each of 100,000 tokens would hold the event loop for a tenth of a second.
    """
    row = await connection.fetchrow(
        """SELECT ARRAY(SELECT jti FROM oauth_revocations WHERE expires_at > now()) AS tokens,
               ARRAY(SELECT id FROM oauth_clients WHERE disabled_at IS NOT NULL) AS clients,
               ARRAY(SELECT id FROM oauth_families WHERE revoked_at IS NOT NULL AND tokens_until > now()) AS families"""
    )
    return RefusedTokens(frozenset(row["tokens"]), frozenset(row["clients"]), frozenset(row["families"]))


def revoke_token(connection: psycopg.Connection[Any], jti: str, client_id: str, life: timedelta) -> bool:
    """Refuse an access token for the rest of its life; False when too many of the client's are revoked. Blocks.

    It also deletes rows of tokens that have expired.
    """
    connection.execute(
        """DELETE FROM oauth_revocations WHERE jti IN (
               SELECT jti FROM oauth_revocations WHERE expires_at < now() LIMIT %s FOR UPDATE SKIP LOCKED)""",
        (MOST_AT_ONCE,),
    )
    added = connection.execute(
        """WITH counted AS (
               SELECT count(*) AS revoked FROM oauth_revocations WHERE client_id = %(client)s AND expires_at > now())
           INSERT INTO oauth_revocations (jti, client_id, expires_at)
           SELECT %(jti)s, %(client)s, now() + %(life)s FROM counted WHERE revoked < %(most)s
           ON CONFLICT (jti) DO UPDATE SET client_id = excluded.client_id RETURNING jti""",
        {"jti": jti, "client": client_id, "life": life + KEPT, "most": MOST_PER_CLIENT},
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
