"""Access tokens that are refused before they expire."""

from dataclasses import dataclass

from db.postgres import Connection


@dataclass(frozen=True, slots=True)
class RefusedTokens:
    """Token ids that were revoked and have not expired, and clients whose every token is refused."""

    tokens: frozenset[str]
    clients: frozenset[str]


async def list_refused(connection: Connection) -> RefusedTokens:
    """Every refused token and client, in one statement: gateways run it every two seconds."""
    rows = await connection.fetch(
        """SELECT true AS is_token, jti AS id FROM oauth_revocations WHERE expires_at > now()
           UNION ALL SELECT false, id FROM oauth_clients WHERE disabled_at IS NOT NULL"""
    )
    return RefusedTokens(
        tokens=frozenset(row["id"] for row in rows if row["is_token"]),
        clients=frozenset(row["id"] for row in rows if not row["is_token"]),
    )
