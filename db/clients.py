"""Registered OAuth clients. `find_client` is for psycopg: authlib's grants run in threads, not on the loop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from db.postgres import Connection


@dataclass(frozen=True, slots=True)
class Client:
    """A client as stored. `access_ttl` (seconds) is None for the default lifetime.

    It authenticates with a secret (`secret_hash`), with a key of `jwks`, its public keys, or not at all: then it is
    public. `previous_hash` is of the secret before, while it is still valid: until `previous_until`. `name` is what
    people see. `first_party` is the shop's own app, for which people are not asked for consent.
    """

    id: str
    secret_hash: str | None
    grants: tuple[str, ...]
    scopes: tuple[str, ...]
    redirect_uris: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    access_ttl: int | None = None
    created_at: datetime | None = None
    disabled_at: datetime | None = None
    previous_hash: str | None = None
    previous_until: datetime | None = None
    name: str | None = None
    first_party: bool = False
    post_logout_redirect_uris: tuple[str, ...] = ()
    jwks: dict[str, Any] | None = None

    @property
    def public(self) -> bool:
        """Whether it has nothing to authenticate with."""
        return self.secret_hash is None and self.jwks is None


PAGE: Final = 500  # clients in one read of many

_COLUMNS: Final = """id, secret_hash, grants, scopes, redirect_uris, origins,
    coalesce(token_ttl, access_ttl) AS access_ttl, created_at, disabled_at, name, first_party,
    post_logout_redirect_uris, jwks,
    CASE WHEN previous_until > now() THEN previous_hash END AS previous_hash,
    CASE WHEN previous_until > now() THEN previous_until END AS previous_until"""


async def create_client(connection: Connection, client: Client) -> bool:
    """Store a new client; False, changing nothing, when its id is taken."""
    status = await connection.execute(
        """INSERT INTO oauth_clients (id, secret_hash, grants, scopes, redirect_uris, origins, token_ttl, access_ttl,
               name, first_party, post_logout_redirect_uris, jwks)
           VALUES ($1, $2, $3, $4, $5, $6, $7::integer,
               CASE WHEN $7 < 60 THEN 60 ELSE $7 END, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING""",
        client.id,
        client.secret_hash,
        list(client.grants),
        list(client.scopes),
        list(client.redirect_uris),
        list(client.origins),
        client.access_ttl,  # the release before reads `access_ttl`, which cannot be below 60
        client.name,
        client.first_party,
        list(client.post_logout_redirect_uris),
        client.jwks,
    )
    return status == "INSERT 0 1"


async def list_clients(connection: Connection) -> list[Client]:
    """All clients, by id, disabled ones too."""
    return [_client(row) for row in await connection.fetch(f"SELECT {_COLUMNS} FROM oauth_clients ORDER BY id")]


async def rotate_secret(
    connection: Connection, client_id: str, secret_hash: str, overlap: timedelta
) -> datetime | None:
    """Give an enabled confidential client a new secret; the one it has stays valid for `overlap`.

    Returns until when. None, changing nothing, when there is no such client. A secret from before the last one ends.
    """
    until: datetime | None = await connection.fetchval(
        """UPDATE oauth_clients SET previous_hash = secret_hash, previous_until = now() + $3::interval, secret_hash = $2
           WHERE id = $1 AND disabled_at IS NULL AND secret_hash IS NOT NULL RETURNING previous_until""",
        client_id,
        secret_hash,
        overlap,
    )
    return until


async def disable_client(connection: Connection, client_id: str) -> bool:
    """Refuse the client and all its tokens from now on; False when it does not exist or is disabled already."""
    status = await connection.execute(
        "UPDATE oauth_clients SET disabled_at = now() WHERE id = $1 AND disabled_at IS NULL", client_id
    )
    return status == "UPDATE 1"


async def enable_client(connection: Connection, client_id: str) -> bool:
    """Accept a disabled client again, but not its tokens from before; False when it does not exist or is enabled."""
    status = await connection.execute(
        "UPDATE oauth_clients SET disabled_at = NULL, enabled_at = now() WHERE id = $1 AND disabled_at IS NOT NULL",
        client_id,
    )
    return status == "UPDATE 1"


async def set_client_scopes(connection: Connection, client_id: str, scopes: Sequence[str]) -> None:
    """Change what a client may ask for. Its tokens lose what it loses, see `list_changed`."""
    await connection.execute(
        "UPDATE oauth_clients SET scopes = $2, scopes_changed_at = now() WHERE id = $1", client_id, list(scopes)
    )


async def client_by_id(connection: Connection, client_id: str, *, lock: bool = False) -> Client | None:
    """The client of that id, disabled or not; with `lock`, nobody else changes it before the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM oauth_clients WHERE id = $1{' FOR UPDATE' if lock else ''}", client_id
    )
    return _client(row) if row else None


async def clients_by_ids(connection: Connection, ids: Sequence[str]) -> dict[str, Client]:
    """The clients with these ids, disabled or not, by id; those that are not there are left out."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM oauth_clients WHERE id = ANY($1::text[])", list(ids))
    return {row["id"]: _client(row) for row in rows}


async def list_client_page(connection: Connection, limit: int, after: str = "") -> list[Client]:
    """The first `limit` clients by id after the id `after`, disabled ones too."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM oauth_clients WHERE id > $2 ORDER BY id LIMIT $1", limit, after
    )
    return [_client(row) for row in rows]


async def count_clients(connection: Connection) -> int:
    """How many clients there are, disabled ones too."""
    count: int = await connection.fetchval("SELECT count(*) FROM oauth_clients")
    return count


async def last_uses(connection: Connection, client_ids: Sequence[str]) -> dict[str, datetime]:
    """When each of these clients was used last, to the minute; those that never were are left out."""
    rows = await connection.fetch(
        "SELECT client_id, used_at FROM oauth_client_uses WHERE client_id = ANY($1)", list(client_ids)
    )
    return {row["client_id"]: row["used_at"] for row in rows}


@dataclass(frozen=True, slots=True)
class ChangedClient:
    """What its older tokens must not outlive: the scopes it has now, when it was enabled again, that it is disabled."""

    scopes: frozenset[str]
    enabled_at: datetime | None
    disabled: bool


async def list_changed(connection: Connection, within: timedelta) -> dict[str, ChangedClient]:
    """The clients by id that are disabled, and those whose tokens from before are refused or have fewer scopes.

    Of these, the ones whose scopes were changed, or that were enabled, within that time. A page at a time: many of them
    do not hold the event loop.
    """
    found: dict[str, ChangedClient] = {}
    last = ""
    while True:
        rows = await connection.fetch(
            """SELECT id, scopes, enabled_at, disabled_at IS NOT NULL AS disabled FROM oauth_clients
               WHERE id > $2 AND (disabled_at IS NOT NULL
                   OR scopes_changed_at > now() - $1::interval OR enabled_at > now() - $1::interval)
               ORDER BY id LIMIT $3""",
            within,
            last,
            PAGE,
        )
        for row in rows:
            found[row["id"]] = ChangedClient(frozenset(row["scopes"]), row["enabled_at"], row["disabled"])
        if len(rows) < PAGE:
            return found
        last = rows[-1]["id"]


async def allowed_origins(connection: Connection) -> frozenset[str]:
    """The web origins of all enabled clients, as one array: a row for each would hold the event loop."""
    found: list[str] = await connection.fetchval(
        "SELECT ARRAY(SELECT DISTINCT unnest(origins) FROM oauth_clients WHERE disabled_at IS NULL)"
    )
    return frozenset(found)


def find_client(connection: psycopg.Connection[Any], client_id: str) -> Client | None:
    """The enabled client of that id. Blocks: for the threads that run grants."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(f"SELECT {_COLUMNS} FROM oauth_clients WHERE id = %s AND disabled_at IS NULL", (client_id,))
        row = cursor.fetchone()
    return _client(row) if row else None


def _client(row: Mapping[str, Any]) -> Client:
    return Client(
        id=row["id"],
        secret_hash=row["secret_hash"],
        grants=tuple(row["grants"]),
        scopes=tuple(row["scopes"]),
        redirect_uris=tuple(row["redirect_uris"]),
        origins=tuple(row["origins"]),
        access_ttl=row["access_ttl"],
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        previous_hash=row["previous_hash"],
        previous_until=row["previous_until"],
        name=row["name"],
        first_party=row["first_party"],
        post_logout_redirect_uris=tuple(row["post_logout_redirect_uris"]),
        jwks=row["jwks"],
    )
