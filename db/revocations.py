"""Access tokens that are refused before they expire."""

from dataclasses import dataclass
from datetime import datetime

from db.postgres import Connection


@dataclass(frozen=True, slots=True)
class Refused:
    """Token ids that were revoked and have not expired, and clients whose every token is refused."""

    tokens: frozenset[str]
    clients: frozenset[str]


async def revoke_token(connection: Connection, jti: str, expires_at: datetime) -> None:
    """Refuse the token with this id from now on, in every process within three seconds."""
    await connection.execute(
        "INSERT INTO oauth_revocations (jti, expires_at) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING", jti, expires_at
    )


async def list_refused(connection: Connection) -> Refused:
    """Everything that is refused now, in one statement: gateways ask every two seconds."""
    rows = await connection.fetch(
        """SELECT true AS is_token, jti AS id FROM oauth_revocations WHERE expires_at > now()
           UNION ALL SELECT false, id FROM oauth_clients WHERE disabled_at IS NOT NULL"""
    )
    return Refused(
        tokens=frozenset(row["id"] for row in rows if row["is_token"]),
        clients=frozenset(row["id"] for row in rows if not row["is_token"]),
    )
