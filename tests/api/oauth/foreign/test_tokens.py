"""Which tokens of a real second issuer are accepted, for which person and which scopes, and all that are refused."""

from datetime import timedelta
from typing import Any

import pytest

from api.oauth.clients.registration import register
from api.oauth.foreign.tokens import viewer_of
from api.oauth.grant_types import TOKEN_EXCHANGE
from api.oauth.tokens import verifier as verifying
from api.oauth.tokens.verifier import Verifier
from core import clock
from core.contract import Person
from core.errors import InvalidToken
from core.sources import namespace_of
from db.clients import create_client, disable_client
from db.postgres import Pool
from tests.api.oauth.foreign.conftest import OURS, SCOPE, Trust, refused
from tests.identity_provider import AUDIENCE, IdentityProvider


async def test_a_person_who_signed_in_there_is_a_person_here(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    viewer = await verifier.verify(provider.token_of("17850"))
    assert viewer.person == Person("user", "17850")
    assert viewer.scopes == set(SCOPE.split())
    assert viewer.client_id == provider.url
    assert 880 < viewer.expires_at - clock.now().timestamp() <= 900


async def test_an_issuer_that_is_not_registered_is_not_trusted(provider: IdentityProvider, verifier: Verifier) -> None:
    assert await refused(verifier, provider.token_of("u1"))
    assert provider.keys_read == 0, "an address never comes from a token"


async def test_the_id_token_and_the_token_of_a_program_are_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    assert await refused(verifier, provider.signed_in("u1")["id_token"])
    assert await refused(verifier, provider.robots_token())


async def test_an_id_token_for_the_right_audience_is_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust(audience="app")
    assert await refused(verifier, provider.signed_in("u1")["id_token"])


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "u1"},
        {"azp": "u1"},
        {"client_id": None, "azp": "robot", "sub": "robot@clients"},
        {"gty": "client-credentials"},
        {"idtyp": "app"},
    ],
)
async def test_a_subject_that_is_a_program_is_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, changed: dict[str, Any]
) -> None:
    await trust()
    assert await refused(verifier, provider.forged(provider.claims(**changed)))


async def test_the_registered_claim_names_the_person(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust(subject_claim="https://shop.example/user_id")
    assert await refused(verifier, provider.token_of("auth0|1"))
    provider.extra_claims = {"https://shop.example/user_id": "17850"}
    assert (await verifier.verify(provider.token_of("auth0|1"))).person == Person("user", "17850")


async def test_a_scope_claim_narrows_the_scopes_and_never_widens_them(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust(scope_claim="scp")
    every = ["recommendations:read", "orders:write", "catalog:write", 7]
    for listed, expected in (
        ("recommendations:read catalog:write", {"recommendations:read"}),
        (every, {"recommendations:read"}),
        ("", set()),
        ({"recommendations:read": 1}, set()),
        (None, set()),
    ):
        token = provider.forged(provider.claims(scp=listed))
        assert (await verifier.verify(token)).scopes == expected


async def test_money_is_reported_only_where_the_operator_said_so(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust(scope="orders:write events:write")
    assert (await verifier.verify(provider.token_of("u1"))).scopes == {"orders:write", "events:write"}


async def test_people_of_an_issuer_with_a_client_share_its_namespace_and_its_end(
    pool: Pool, provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    client = register("shop-app", "a-secret-of-the-client", grants=[TOKEN_EXCHANGE], scope=SCOPE)
    await create_client(pool, client)
    await trust(client=client)
    token = provider.token_of("u1")
    viewer = await verifier.verify(token)
    assert namespace_of(viewer.client_id, viewer.person) == namespace_of("shop-app", ("user", "u1"))
    await pool.execute("UPDATE oauth_clients SET scopes = '{events:write}'")
    assert (await verifier.verify(token)).scopes == {"events:write"}, "never more than the client has"
    await disable_client(pool, "shop-app")
    assert await refused(verifier, token)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://attacker.example"},
        {"iss": OURS},
        {"iss": None},
        {"iss": ["x"]},
        {"aud": "another-api"},
        {"aud": [AUDIENCE + "/"]},
        {"aud": {AUDIENCE: 1}},
        {"aud": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": 1e300},
        {"exp": 1},
        {"exp_in": 90_000},
        {"nbf_in": 60},
        {"iat_in": 60},
        {"nbf": "soon"},
        {"iat": None, "nbf": False},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": ["u1"]},
        {"sub": "a\u001fb"},
        {"sub": "\ud800"},
        {"sub": "x" * 129},
        {"sub": "urn:penchant:guest:g1"},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"cnf": {"jkt": "x"}},
    ],
)
async def test_claims_that_are_not_for_us_are_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, changed: dict[str, Any]
) -> None:
    await trust()
    now = int(clock.now().timestamp())
    changed = {
        name.removesuffix("_in"): now + value if name.endswith("_in") else value for name, value in changed.items()
    }
    right = provider.claims() | changed
    claims = {name: value for name, value in right.items() if value is not None}
    assert await refused(verifier, provider.forged(claims))
    assert not await refused(verifier, provider.forged())


async def test_the_verified_claims_count_not_those_that_chose_the_key(provider: IdentityProvider, trust: Trust) -> None:
    issuer = await trust()
    assert viewer_of(provider.claims(), issuer).person == Person("user", "u1")
    for other in (OURS, provider.url + "/", None):
        with pytest.raises(InvalidToken):
            viewer_of(provider.claims(iss=other), issuer)


async def test_an_audience_may_be_one_of_several_and_clocks_may_differ_a_little(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    now = int(clock.now().timestamp())
    for claims in (
        {"aud": ["another", AUDIENCE]},
        {"iat": now + 4, "nbf": now + 4},
        {"iat": None, "jti": None, "client_id": None},
        {"exp": now + 60.5},
    ):
        assert not await refused(verifier, provider.forged(provider.claims(**claims)))


async def test_claims_that_are_not_an_object_are_refused(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    for claims in (1, "x", [["iss", provider.url]]):
        assert await refused(verifier, provider.forged(claims))


async def test_a_registration_of_our_own_issuer_does_not_count(
    provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust(url=OURS, jwks_url="https://127.0.0.1:1/keys")
    claims = provider.claims(iss=OURS, aud=AUDIENCE)
    assert await refused(verifier, provider.forged(claims))


async def test_a_token_id_that_was_revoked_here_is_refused(
    pool: Pool, provider: IdentityProvider, trust: Trust, verifier: Verifier
) -> None:
    await trust()
    token = provider.forged(provider.claims(jti="j1"))
    assert not await refused(verifier, token)
    await pool.execute(
        "INSERT INTO oauth_revocations (jti, expires_at) VALUES ('j1', $1)", clock.now() + timedelta(hours=1)
    )
    assert await refused(verifier, token)


async def test_remembered_tokens_are_bounded(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    await trust()
    monkeypatch.setattr(verifying, "MAX_REMEMBERED", 3)
    for _ in range(6):
        await verifier.verify(provider.forged())
    assert len(verifier._remembered) == 3


AUTH0 = {
    "https://shop.example/user_id": "17850",
    "sub": "auth0|507f1f77bcf86cd799439020",
    "aud": [AUDIENCE, "https://shop.eu.auth0.com/userinfo"],
    "azp": "my-app-id",
    "scope": "openid profile recommendations:read",
    "gty": "refresh_token",
    "permissions": ["events:write"],
}
KEYCLOAK = {
    "typ": "Bearer",
    "sub": "a0b1c2d3-4e5f-6789-abcd-ef0123456789",
    "shop_id": "17850",
    "aud": [AUDIENCE, "account"],
    "azp": "shop-app",
    "sid": "c1c7dba4",
    "acr": "1",
    "allowed-origins": ["https://shop.example"],
    "realm_access": {"roles": ["offline_access", "default-roles-shop"]},
    "scope": "openid profile recommendations:read",
    "preferred_username": "anna",
}
ENTRA = {
    "aud": AUDIENCE,
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "oid": "17850",
    "tid": "3338040d-6c67-4c5b-b112-36a304b66dad",
    "azp": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
    "azpacr": "0",
    "scp": "recommendations:read",
    "ver": "2.0",
    "uti": "fqiBqXLPj0eQa82S-IYFAA",
    "rh": "0.ATEA",
}


@pytest.mark.parametrize(
    ("claims", "registered"),
    [
        (AUTH0, {"subject_claim": "https://shop.example/user_id", "scope_claim": "scope"}),
        (KEYCLOAK, {"subject_claim": "shop_id", "scope_claim": "scope"}),
        (ENTRA, {"subject_claim": "oid", "scope_claim": "scp"}),
    ],
    ids=["Auth0", "Keycloak", "Entra ID"],
)
async def test_tokens_as_known_providers_write_them_work_with_the_documented_settings(
    provider: IdentityProvider, trust: Trust, verifier: Verifier, claims: dict[str, Any], registered: dict[str, Any]
) -> None:
    await trust(**registered)
    token = provider.forged(provider.claims(client_id=None, **claims), typ="JWT", x5t="i6lGk3FZzxRcUb2C3nEQ7syHJlY")
    viewer = await verifier.verify(token)
    assert viewer.person == Person("user", "17850")
    assert viewer.scopes == {"recommendations:read"}
