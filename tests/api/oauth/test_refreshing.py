"""Refresh tokens: rotated at each use, within limits; used twice, they end their family."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc6749.errors import InvalidGrantError
from joserfc import jwt
from joserfc.jwk import KeySet

from api.oauth.authority import Authority
from core import clock
from core.errors import InvalidToken
from db.authorizations import delete_ended_families
from db.clients import disable_client, enable_client
from db.postgres import Pool
from tests.approving import BACK, code_of, redemption

SECRET = "a-secret-of-the-client"
APPROVED = "openid offline_access recommendations:read profiles:read"

pytestmark = pytest.mark.usefixtures("app")


async def sign_in(http: httpx.AsyncClient, authority: Authority, scope: str = APPROVED, **more: Any) -> dict[str, Any]:
    answer = await http.post("/oauth/token", data=redemption(code_of(authority, scope, **more)))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refresh(
    http: httpx.AsyncClient, token: str, auth: tuple[str, str] | None = None, /, **changes: str
) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "app"} | changes
    kept = {name: value for name, value in form.items() if value != "left out"}
    return await http.post("/oauth/token", data=kept, auth=auth or httpx.USE_CLIENT_DEFAULT)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def claims_of(http: httpx.AsyncClient, token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set((await http.get("/.well-known/jwks.json")).json())
    return dict(jwt.decode(token, keys, algorithms=["RS256"]).claims)


async def works(authority: Authority, body: dict[str, Any]) -> bool:
    await authority.verifier._read_revocations()
    try:
        await authority.verifier.verify(body["access_token"])
    except InvalidToken:
        return False
    return True


async def test_the_oldest_sign_ins_of_a_person_to_a_client_end(
    http: httpx.AsyncClient, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.authorizations.MOST_OF_PERSON", 2)
    oldest, older, newest = [await sign_in(http, authority) for _ in range(3)]
    assert refused(await refresh(http, oldest["refresh_token"])) == (400, "invalid_grant")
    assert [await works(authority, body) for body in (oldest, older, newest)] == [False, True, True]
    assert (await refresh(http, older["refresh_token"])).status_code == 200


async def test_each_refresh_gives_new_tokens_and_the_same_sign_in(
    http: httpx.AsyncClient, authority: Authority
) -> None:
    before = await sign_in(http, authority, nonce="n-1")
    seen = {before["refresh_token"]}
    for _ in range(3):
        answer = await refresh(http, before["refresh_token"])
        assert answer.status_code == 200, answer.text
        after = answer.json()
        old, new = [await claims_of(http, body["access_token"]) for body in (before, after)]
        assert (new["sub"], new["scope"], new["auth_time"], new["sid"]) == (
            "u1",
            APPROVED,
            old["auth_time"],
            old["sid"],
        )
        assert new["jti"] != old["jti"]
        identity = await claims_of(http, after["id_token"])
        assert (identity["sub"], identity["aud"], identity["auth_time"]) == ("u1", "app", old["auth_time"])
        assert "nonce" not in identity
        assert after["refresh_token"] not in seen
        seen.add(after["refresh_token"])
        before = after
    assert await works(authority, before)


async def test_any_refresh_token_used_before_ends_the_family(http: httpx.AsyncClient, authority: Authority) -> None:
    for replayed in range(3):
        other = await sign_in(http, authority)
        bodies = [await sign_in(http, authority)]
        for _ in range(3):
            bodies.append((await refresh(http, bodies[-1]["refresh_token"])).json())
        assert refused(await refresh(http, bodies[replayed]["refresh_token"])) == (400, "invalid_grant")
        assert refused(await refresh(http, bodies[-1]["refresh_token"])) == (400, "invalid_grant")
        assert [await works(authority, body) for body in [*bodies, other]] == [False] * 4 + [True]


async def test_of_many_refreshes_at_once_one_succeeds_and_the_family_ends(
    http: httpx.AsyncClient, authority: Authority
) -> None:
    for _ in range(5):
        token = (await sign_in(http, authority))["refresh_token"]
        answers = await asyncio.gather(*(refresh(http, token) for _ in range(12)))
        (success,) = [answer for answer in answers if answer.status_code == 200]
        assert {refused(answer) for answer in answers if answer is not success} == {(400, "invalid_grant")}
        assert not await works(authority, success.json())
        assert refused(await refresh(http, success.json()["refresh_token"])) == (400, "invalid_grant")


async def test_two_requests_that_read_the_same_token_or_code_do_not_both_use_it(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    families, token = authority.server.families, (await sign_in(http, authority))["refresh_token"]
    family = families.of_refresh_token(token)
    assert family is not None
    families.rotate(family, token, access_ttl=900)
    with pytest.raises(InvalidGrantError):
        families.rotate(family, token, access_ttl=900)
    waiting = families.of_code(code_of(authority))
    assert waiting is not None
    families.redeem(waiting, refreshable=True, access_ttl=900)
    with pytest.raises(InvalidGrantError):
        families.redeem(waiting, refreshable=True, access_ttl=900)
    left = await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL")
    assert left == 0


async def test_fewer_scopes_may_be_asked_and_more_later_again(http: httpx.AsyncClient, authority: Authority) -> None:
    token = (await sign_in(http, authority))["refresh_token"]
    narrow = (await refresh(http, token, scope="profiles:read")).json()
    assert narrow["scope"] == "profiles:read"
    assert "id_token" not in narrow
    assert (await refresh(http, narrow["refresh_token"])).json()["scope"] == APPROVED


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "profiles:read events:write"}, "invalid_scope"),
        ({"scope": "no:such"}, "invalid_scope"),
        ({"scope": "profiles:read  openid"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"client_id": "stranger"}, "invalid_grant"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"refresh_token": "left out"}, "invalid_request"),
        ({"refresh_token": "unknown.token"}, "invalid_grant"),
        ({"refresh_token": "unknown"}, "invalid_grant"),
        ({"refresh_token": "é."}, "invalid_grant"),
    ],
)
async def test_a_wrong_refresh_is_refused_and_uses_nothing_up(
    http: httpx.AsyncClient, authority: Authority, registered: Any, changes: dict[str, str], error: str
) -> None:
    both = ["authorization_code", "refresh_token"]
    await registered("stranger", secret=None, grants=both, scope="openid", redirect_uris=[BACK])
    body = await sign_in(http, authority)
    answer = await refresh(http, body["refresh_token"], **changes)
    assert refused(answer) == (401 if error == "invalid_client" else 400, error)
    assert (await refresh(http, body["refresh_token"])).status_code == 200


async def test_a_stranger_ends_nobodys_family(http: httpx.AsyncClient, authority: Authority, registered: Any) -> None:
    both = ["authorization_code", "refresh_token"]
    await registered("web", grants=both, scope="openid profiles:read", redirect_uris=[BACK])
    code = code_of(authority, "profiles:read", client_id="web")
    body = (await http.post("/oauth/token", data=redemption(code, client_id="web"), auth=("web", SECRET))).json()
    used = body["refresh_token"]
    body = (await refresh(http, used, ("web", SECRET), client_id="web")).json()
    assert refused(await refresh(http, used, client_id="web")) == (401, "invalid_client")
    assert refused(await refresh(http, used, client_id="app")) == (400, "invalid_grant")
    sid = (await claims_of(http, body["access_token"]))["sid"]
    assert refused(await refresh(http, f"{sid}.guessed", ("web", SECRET), client_id="web")) == (400, "invalid_grant")
    assert (await refresh(http, body["refresh_token"], ("web", SECRET), client_id="web")).status_code == 200


@pytest.mark.parametrize(("limit", "days"), [("refresh_idle_at", 30), ("refresh_ends_at", 90)])
async def test_a_token_ends_when_it_is_not_used_and_a_family_ends_in_any_case(
    http: httpx.AsyncClient, authority: Authority, pool: Pool, limit: str, days: int
) -> None:
    body = await sign_in(http, authority)
    life = await pool.fetchval(f"SELECT {limit} - code_used_at FROM oauth_families")
    assert life == timedelta(days=days)
    body = (await refresh(http, body["refresh_token"])).json()
    moved = await pool.fetchval(f"SELECT {limit} - code_used_at FROM oauth_families") > life
    assert moved == (limit == "refresh_idle_at")  # a use begins the idle time anew, and only that
    await pool.execute(f"UPDATE oauth_families SET {limit} = now()")
    assert refused(await refresh(http, body["refresh_token"])) == (400, "invalid_grant")
    assert await works(authority, body)  # it expired: that is no sign of a thief


async def test_a_client_that_lost_scopes_the_grant_or_its_registration(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    token = (await sign_in(http, authority))["refresh_token"]
    await pool.execute("UPDATE oauth_clients SET scopes = '{profiles:read}'")
    body = (await refresh(http, token)).json()
    assert body["scope"] == "profiles:read"
    await pool.execute("UPDATE oauth_clients SET grants = '{authorization_code}'")
    assert refused(await refresh(http, body["refresh_token"])) == (400, "unauthorized_client")
    await disable_client(pool, "app")
    assert refused(await refresh(http, body["refresh_token"])) == (401, "invalid_client")


async def test_a_scope_that_the_client_lost_long_ago_cannot_be_asked_for(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    token = (await sign_in(http, authority))["refresh_token"]
    await pool.execute(
        "UPDATE oauth_clients SET scopes = '{profiles:read}', scopes_changed_at = now() - interval '9 d'"
    )
    assert refused(await refresh(http, token, scope="recommendations:read")) == (400, "invalid_scope")
    body = (await refresh(http, token, scope="profiles:read")).json()
    assert (await authority.verifier.verify(body["access_token"])).scopes == {"profiles:read"}, "nothing was used up"


async def test_ended_families_are_deleted_and_others_kept(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    await sign_in(http, authority)
    code_of(authority)
    await pool.execute("UPDATE oauth_families SET kept_until = kept_until - interval '62 minutes'")
    assert await delete_ended_families(pool) == 1  # the code that nobody redeemed
    kept = await pool.fetchval("SELECT kept_until FROM oauth_families")
    assert kept > clock.now() + timedelta(days=89)
    await pool.execute("UPDATE oauth_families SET revoked_at = now(), kept_until = now() - interval '1 second'")
    assert await delete_ended_families(pool) == 1


async def test_after_a_client_was_disabled_and_enabled_people_are_still_signed_in(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    token = (await sign_in(http, authority))["refresh_token"]
    await disable_client(pool, "app")
    assert refused(await refresh(http, token)) == (401, "invalid_client")
    await enable_client(pool, "app")
    assert (await refresh(http, token)).status_code == 200
