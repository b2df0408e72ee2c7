"""Foreign issuers: identity providers of the shop whose access tokens are accepted."""

from dataclasses import dataclass
from datetime import datetime

from db.postgres import Connection


@dataclass(frozen=True, slots=True)
class Issuer:
    """A foreign issuer as stored: `url` is its name, `subject_claim` the claim with the shop's user id.

    `scopes` are what its tokens give, at most what the client has when there is one. With `scope_claim`, a token gives
    only those of them that it lists in that claim. Without `jwks_url`, the issuer's metadata says where its keys are.
    """

    url: str
    audience: str
    subject_claim: str
    scopes: tuple[str, ...]
    algorithms: tuple[str, ...]
    scope_claim: str | None = None
    jwks_url: str | None = None
    client_id: str | None = None
    created_at: datetime | None = None
    disabled_at: datetime | None = None


async def add_issuer(connection: Connection, issuer: Issuer) -> bool:
    """Store a new issuer; False, changing nothing, when its URL is taken."""
    status = await connection.execute(
        """INSERT INTO oauth_issuers
               (url, audience, subject_claim, scopes, algorithms, scope_claim, jwks_url, client_id)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (url) DO NOTHING""",
        issuer.url,
        issuer.audience,
        issuer.subject_claim,
        list(issuer.scopes),
        list(issuer.algorithms),
        issuer.scope_claim,
        issuer.jwks_url,
        issuer.client_id,
    )
    return status == "INSERT 0 1"


async def list_issuers(connection: Connection) -> list[Issuer]:
    """All issuers, by URL, disabled ones too. Their scopes are those that their client has now."""
    rows = await connection.fetch(
        """SELECT url, audience, subject_claim, algorithms, scope_claim, jwks_url, client_id, i.created_at,
               i.disabled_at, ARRAY(
                   SELECT scope FROM unnest(i.scopes) WITH ORDINALITY AS given (scope, place)
                   WHERE client_id IS NULL OR scope = ANY (c.scopes) ORDER BY place
               ) AS scopes
           FROM oauth_issuers i LEFT JOIN oauth_clients c ON c.id = client_id ORDER BY url"""
    )
    return [Issuer(**{**row, "scopes": tuple(row["scopes"]), "algorithms": tuple(row["algorithms"])}) for row in rows]


async def enable_issuer(connection: Connection, url: str) -> bool:
    """Accept the issuer's tokens again; False when it does not exist or is enabled already."""
    status = await connection.execute(
        "UPDATE oauth_issuers SET disabled_at = NULL WHERE url = $1 AND disabled_at IS NOT NULL", url
    )
    return status == "UPDATE 1"


async def disable_issuer(connection: Connection, url: str) -> bool:
    """Refuse all tokens of the issuer from now on; False when it does not exist or is disabled already."""
    status = await connection.execute(
        "UPDATE oauth_issuers SET disabled_at = now() WHERE url = $1 AND disabled_at IS NULL", url
    )
    return status == "UPDATE 1"


async def remove_issuer(connection: Connection, url: str) -> bool:
    """Delete the issuer; False when it does not exist."""
    return await connection.execute("DELETE FROM oauth_issuers WHERE url = $1", url) == "DELETE 1"
