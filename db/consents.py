"""Consents: what people let a client do."""

from collections.abc import Sequence

from db.postgres import Connection


async def allowed_scopes(connection: Connection, account: int, client_id: str) -> frozenset[str]:
    """The scopes that this person let the client have."""
    scopes = await connection.fetchval(
        "SELECT scopes FROM oauth_consents WHERE account = $1 AND client_id = $2", account, client_id
    )
    return frozenset(scopes or ())


async def allow_scopes(connection: Connection, account: int, client_id: str, scopes: Sequence[str]) -> None:
    """Remember that this person lets the client have these scopes, beside those of earlier consents."""
    await connection.execute(
        """INSERT INTO oauth_consents (account, client_id, scopes) VALUES ($1, $2, $3)
           ON CONFLICT (account, client_id) DO UPDATE SET given_at = now(),
               scopes = ARRAY(SELECT DISTINCT unnest(oauth_consents.scopes || EXCLUDED.scopes) ORDER BY 1)""",
        account,
        client_id,
        list(scopes),
    )
