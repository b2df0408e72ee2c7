"""Revocation and introspection: for the tokens of the client that asks, and silent about all others."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.oauth.authority import Authority
from core import clock
from core.errors import InvalidToken
from db import revocations
from db.postgres import Pool
from tests.approving import BACK, code_of, redemption

SECRET = "a-secret-of-the-client"
BASIC = ("shop", SECRET)
INACTIVE = {"active": False}

pytestmark = pytest.mark.usefixtures("app")


async def post(
    http: httpx.AsyncClient, path: str, form: dict[str, str], auth: tuple[str, str] | None = BASIC
) -> httpx.Response:
    return await http.post(path, data=form, auth=auth or httpx.USE_CLIENT_DEFAULT)


async def own_token(http: httpx.AsyncClient, auth: tuple[str, str] = BASIC) -> str:
    return str((await post(http, "/oauth/token", {"grant_type": "client_credentials"}, auth)).json()["access_token"])


async def sign_in(http: httpx.AsyncClient, authority: Authority, **more: Any) -> dict[str, Any]:
    answer = await post(http, "/oauth/token", redemption(code_of(authority, **more)), None)
    found: dict[str, Any] = answer.json()
    return found


async def introspect(http: httpx.AsyncClient, token: str, auth: tuple[str, str] | None = BASIC) -> dict[str, Any]:
    answer = await post(http, "/oauth/introspect", {"token": token}, auth)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


async def works(authority: Authority, token: str) -> bool:
    await authority.verifier._read_revocations()
    try:
        await authority.verifier.verify(token)
    except InvalidToken:
        return False
    return True


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "refresh_token"}])
async def test_a_client_revokes_an_access_token(
    http: httpx.AsyncClient, authority: Authority, registered: Any, hint: dict[str, str]
) -> None:
    await registered()
    token, other = await own_token(http), await own_token(http)
    for _ in range(2):
        assert (await post(http, "/oauth/revoke", {"token": token} | hint)).status_code == 200
    assert [await works(authority, each) for each in (token, other)] == [False, True]


async def test_a_public_client_revokes_its_own_tokens(http: httpx.AsyncClient, authority: Authority) -> None:
    first, second, other = [await sign_in(http, authority) for _ in range(3)]
    for token in (first["access_token"], second["refresh_token"]):
        answer = await post(http, "/oauth/revoke", {"token": token, "client_id": "app"}, None)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert [await works(authority, body["access_token"]) for body in (first, second, other)] == [False, False, True]
    form = {"grant_type": "refresh_token", "client_id": "app"}
    assert (await post(http, "/oauth/token", form | {"refresh_token": first["refresh_token"]}, None)).status_code == 200
    assert (
        await post(http, "/oauth/token", form | {"refresh_token": second["refresh_token"]}, None)
    ).status_code == 400


async def test_a_used_refresh_token_can_still_be_given_back(http: httpx.AsyncClient, authority: Authority) -> None:
    first = await sign_in(http, authority)
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": first["refresh_token"]}
    second = (await post(http, "/oauth/token", form, None)).json()
    form = {"token": first["refresh_token"], "client_id": "app"}
    assert (await post(http, "/oauth/revoke", form, None)).status_code == 200
    assert not await works(authority, second["access_token"])


async def test_tokens_of_others_and_unknown_texts_are_answered_alike_without_effect(
    http: httpx.AsyncClient, authority: Authority, registered: Any, pool: Pool
) -> None:
    await registered()
    await registered("other")
    body, token = await sign_in(http, authority), await own_token(http, ("other", SECRET))
    texts = [token, body["access_token"], body["refresh_token"], body["id_token"], "unknown", "a.b.c", "a.b", "é", "."]
    for text in texts:
        answer = await post(http, "/oauth/revoke", {"token": text})
        assert (answer.status_code, answer.content) == (200, b"{}"), text
        assert await introspect(http, text) == INACTIVE, text
    assert await works(authority, token)
    assert await works(authority, body["access_token"])
    assert await pool.fetchval("SELECT count(*) FROM oauth_revocations") == 0
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": body["refresh_token"]}
    assert (await post(http, "/oauth/token", form, None)).status_code == 200


@pytest.mark.parametrize("path", ["/oauth/revoke", "/oauth/introspect"])
async def test_whoever_does_not_authenticate_is_refused(http: httpx.AsyncClient, registered: Any, path: str) -> None:
    await registered()
    token = await own_token(http)
    for form, auth in (
        ({"token": token}, None),
        ({"token": token, "client_id": "shop"}, None),
        ({"token": token}, ("shop", "wrong-wrong-wrong")),
        ({"token": token, "client_id": "nobody"}, None),
    ):
        answer = await post(http, path, form, auth)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic ")
    for body in ({}, {"token": ""}):
        answer = await post(http, path, body)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    repeated = await http.post(
        path, content="token=a&token=b", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert (repeated.status_code, repeated.json()["error"]) == (400, "invalid_request")
    assert (await http.get(path)).status_code == 405


async def test_a_public_client_introspects_nothing(http: httpx.AsyncClient, authority: Authority) -> None:
    body = await sign_in(http, authority)
    answer = await post(http, "/oauth/introspect", {"token": body["access_token"], "client_id": "app"}, None)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_introspection_says_what_a_token_still_allows(
    http: httpx.AsyncClient, authority: Authority, registered: Any, pool: Pool
) -> None:
    grants = ["authorization_code", "refresh_token", "client_credentials"]
    await registered("web", grants=grants, scope="openid profiles:read", redirect_uris=[BACK])
    auth = ("web", SECRET)
    own = await introspect(http, await own_token(http, auth), auth)
    assert (own["active"], own["client_id"], own["sub"], own["token_type"]) == (True, "web", "web", "Bearer")
    assert own["exp"] - own["iat"] == 3600
    code = code_of(authority, "openid profiles:read", client_id="web")
    body = (await post(http, "/oauth/token", redemption(code, client_id="web"), auth)).json()
    access, refresh = [await introspect(http, body[name], auth) for name in ("access_token", "refresh_token")]
    assert (access["sub"], access["scope"]) == (refresh["sub"], refresh["scope"]) == ("u1", "openid profiles:read")
    assert access["iss"] == refresh["iss"] == "https://shop.example"
    assert refresh["exp"] - refresh["iat"] == 30 * 86_400
    assert await introspect(http, body["id_token"], auth) == INACTIVE
    await post(http, "/oauth/revoke", {"token": body["refresh_token"]}, auth)
    assert await introspect(http, body["refresh_token"], auth) == INACTIVE
    assert await introspect(http, body["access_token"], auth) == INACTIVE


async def test_used_revoked_and_expired_tokens_are_not_active(
    http: httpx.AsyncClient, registered: Any, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered()
    token, other = await own_token(http), await own_token(http)
    await post(http, "/oauth/revoke", {"token": token})
    assert await introspect(http, token) == INACTIVE
    assert (await introspect(http, other))["active"]
    later = clock.now() + timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert await introspect(http, other) == INACTIVE
    assert (await post(http, "/oauth/revoke", {"token": other})).status_code == 200
    assert await pool.fetchval("SELECT count(*) FROM oauth_revocations") == 1


async def test_the_table_of_revocations_is_bounded(
    http: httpx.AsyncClient, registered: Any, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MOST_PER_CLIENT", 2)
    await registered()
    await registered("other")
    for auth, statuses in ((BASIC, [200, 200, 503]), (("other", SECRET), [200])):
        answers = [await post(http, "/oauth/revoke", {"token": await own_token(http, auth)}, auth) for _ in statuses]
        assert [answer.status_code for answer in answers] == statuses
    assert answers[0].status_code == 200
    await pool.execute("UPDATE oauth_revocations SET expires_at = now() - interval '1 second'")
    assert (await post(http, "/oauth/revoke", {"token": await own_token(http)})).status_code == 200
    assert await pool.fetchval("SELECT count(*) FROM oauth_revocations") == 1


async def test_one_person_cannot_use_up_the_revocations_of_a_client(
    http: httpx.AsyncClient, authority: Authority, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MOST_PER_PERSON", 2)
    mine, other = [await sign_in(http, authority) for _ in range(4)], await sign_in(http, authority, user_id="u2")
    for body in mine:
        answer = await post(http, "/oauth/revoke", {"token": body["access_token"], "client_id": "app"}, None)
        assert answer.status_code == 200
    assert await pool.fetchval("SELECT count(*) FROM oauth_revocations") == 2
    assert [await works(authority, body["access_token"]) for body in (*mine, other)] == [False] * 4 + [True]
    form = {"grant_type": "refresh_token", "client_id": "app"}
    answers = [await post(http, "/oauth/token", form | {"refresh_token": body["refresh_token"]}, None) for body in mine]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 400], "beyond the bound the family ends"
    await post(http, "/oauth/revoke", {"token": other["access_token"], "client_id": "app"}, None)
    assert await pool.fetchval("SELECT count(*) FROM oauth_revocations") == 3, "the bound is each person's own"


async def test_when_a_client_has_too_many_the_sign_ins_of_people_end_instead(
    http: httpx.AsyncClient, authority: Authority, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MOST_PER_CLIENT", 1)
    for user in ("u1", "u2", "u3"):
        body = await sign_in(http, authority, user_id=user)
        answer = await post(http, "/oauth/revoke", {"token": body["access_token"], "client_id": "app"}, None)
        assert answer.status_code == 200
        assert not await works(authority, body["access_token"])
    assert await pool.fetchval("SELECT count(*) FROM oauth_revocations") == 1


async def test_all_revocations_together_are_bounded(
    http: httpx.AsyncClient, registered: Any, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations, "MOST", 2)
    for name in ("shop", "other", "third"):
        await registered(name)
        answer = await post(http, "/oauth/revoke", {"token": await own_token(http, (name, SECRET))}, (name, SECRET))
        assert answer.status_code == (503 if name == "third" else 200)
    assert await pool.fetchval("SELECT count(*) FROM oauth_revocations") == 2
