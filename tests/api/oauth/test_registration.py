"""Registration: which clients are accepted, of each of the three kinds."""

from typing import Any

import pytest

from api.oauth.clients.registration import LONGEST_NAME, MAX_URIS, register
from core.errors import InvalidInput
from db.clients import Client, create_client, list_clients
from db.postgres import Pool

SECRET = "a-secret-of-the-client"
BACK = "https://shop.example/back"
CODE: dict[str, Any] = {
    "grants": ["authorization_code", "refresh_token"],
    "scope": "openid profiles:read",
    "redirect_uris": [BACK],
}
OWN: dict[str, Any] = {"grants": ["client_credentials"], "scope": "events:write"}


def refused_field(secret: str | None, wanted: dict[str, Any]) -> Any:
    with pytest.raises(InvalidInput) as refused:
        register("shop", secret, **wanted)
    return refused.value.field


@pytest.mark.parametrize(
    ("secret", "wanted", "field"),
    [
        (None, OWN, "grant"),
        (None, CODE | {"grants": ["authorization_code", "token-exchange"]}, "grant"),
        (None, CODE | {"scope": "openid models:read"}, "scope"),
        (None, CODE | {"grants": ["refresh_token"]}, "grant"),
        (SECRET, OWN | {"grants": ["client_credentials", "refresh_token"]}, "grant"),
        (SECRET, CODE | {"redirect_uris": []}, "redirect-uri"),
        (SECRET, CODE | {"redirect_uris": [f"{BACK}/{number}" for number in range(MAX_URIS + 1)]}, "redirect-uri"),
        (SECRET, CODE | {"redirect_uris": [BACK + "x" * 2000]}, "redirect-uri"),
        (SECRET, CODE | {"grants": ["authorization_code"], "scope": "openid offline_access"}, "scope"),
        (SECRET, CODE | {"post_logout_redirect_uris": ["http://shop.example/"]}, "post-logout-uri"),
        (SECRET, CODE | {"name": " "}, "name"),
        (SECRET, CODE | {"name": "a\nb"}, "name"),
        (SECRET, CODE | {"name": "n" * (LONGEST_NAME + 1)}, "name"),
        (SECRET, CODE | {"ttl": 4}, "ttl"),
        (SECRET, CODE | {"ttl": 86_401}, "ttl"),
        (SECRET, CODE | {"jwks": "{}"}, "jwks"),
    ],
)
def test_what_could_never_work_or_would_be_unsafe_is_refused(
    secret: str | None, wanted: dict[str, Any], field: str
) -> None:
    assert refused_field(secret, wanted) == field


async def test_every_option_is_stored(pool: Pool) -> None:
    client = register(
        "app",
        **CODE,
        ttl=5,
        name="Zoë's shop",
        first_party=True,
        post_logout_redirect_uris=["com.example.shop:/bye", BACK],
    )
    assert client.public
    assert await create_client(pool, client)
    (stored,) = await list_clients(pool)
    for name in Client.__slots__:
        assert name == "created_at" or getattr(stored, name) == getattr(client, name), name
    row = await pool.fetchrow("SELECT access_ttl, token_ttl FROM oauth_clients")
    assert (row["access_ttl"], row["token_ttl"]) == (60, 5)  # a gateway of the release before reads the first


async def test_the_lifetime_of_a_client_from_the_release_before_is_read(pool: Pool) -> None:
    assert await create_client(pool, register("shop", SECRET, **OWN))
    await pool.execute("UPDATE oauth_clients SET access_ttl = 120")
    assert [client.access_ttl for client in await list_clients(pool)] == [120]
