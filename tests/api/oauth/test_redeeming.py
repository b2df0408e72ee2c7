"""Codes: what a client gets for one, and every way in which it gets nothing."""

import asyncio
import hashlib
import logging
from base64 import urlsafe_b64encode
from datetime import timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from api.oauth.authority import Authority
from core import clock
from core.contract import Person
from core.errors import InvalidToken
from db.authorizations import erase_families, revoke_families
from db.clients import disable_client
from db.postgres import Pool
from tests.approving import BACK, VERIFIER, code_of, redemption

SECRET = "a-secret-of-the-client"

pytestmark = pytest.mark.usefixtures("app")


async def redeem(
    http: httpx.AsyncClient, code: str, auth: tuple[str, str] | None = None, /, **changes: str
) -> httpx.Response:
    form = {name: value for name, value in redemption(code, **changes).items() if value != "left out"}
    return await http.post("/oauth/token", data=form, auth=auth or httpx.USE_CLIENT_DEFAULT)


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def is_revoked(authority: Authority, answer: httpx.Response) -> bool:
    """Whether the access token of this answer is refused, once revocations were read again."""
    await authority.verifier._read_revocations()
    try:
        await authority.verifier.verify(answer.json()["access_token"])
    except InvalidToken:
        return True
    return False


async def claims_of(http: httpx.AsyncClient, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = KeySet.import_key_set((await http.get("/.well-known/jwks.json")).json())
    opened = jwt.decode(token, keys, algorithms=["RS256"])
    return opened.header, opened.claims


async def test_a_code_becomes_tokens_of_the_user(http: httpx.AsyncClient, authority: Authority) -> None:
    signed_in = clock.now() - timedelta(minutes=3)
    code = code_of(authority, "openid recommendations:read", auth_time=signed_in, nonce="n-1")
    answer = await redeem(http, code)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"access_token", "refresh_token", "id_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, "openid recommendations:read")
    assert answer.headers["cache-control"] == "no-store"
    header, access = await claims_of(http, body["access_token"])
    assert header["typ"] == "at+jwt"
    assert (access["sub"], access["client_id"], access["person_kind"]) == ("u1", "app", "user")
    assert access["auth_time"] == int(signed_in.timestamp())
    viewer = await authority.verifier.verify(body["access_token"])
    assert (viewer.person, viewer.client_id) == (Person("user", "u1"), "app")
    assert viewer.scopes == {"recommendations:read"}  # openid allows no field


async def test_an_id_token_says_who_signed_in_when_and_for_which_client(
    http: httpx.AsyncClient, authority: Authority
) -> None:
    signed_in = clock.now() - timedelta(minutes=3)
    body = (await redeem(http, code_of(authority, "openid", auth_time=signed_in, nonce="n é"))).json()
    header, claims = await claims_of(http, body["id_token"])
    assert (header["typ"], header["alg"]) == ("JWT", "RS256")
    assert (claims["iss"], claims["aud"], claims["sub"]) == ("https://shop.example", "app", "u1")
    assert (claims["nonce"], claims["auth_time"]) == ("n é", int(signed_in.timestamp()))
    half = hashlib.sha256(body["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == urlsafe_b64encode(half).rstrip(b"=").decode()
    assert claims["exp"] - claims["iat"] == 600
    with pytest.raises(InvalidToken):
        await authority.verifier.verify(body["id_token"])


async def test_without_openid_there_is_no_id_token(http: httpx.AsyncClient, authority: Authority) -> None:
    assert "id_token" not in (await redeem(http, code_of(authority, "profiles:read"))).json()


async def test_a_client_without_the_grant_gets_no_refresh_token(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    await pool.execute("UPDATE oauth_clients SET grants = '{authorization_code}'")
    assert "refresh_token" not in (await redeem(http, code_of(authority))).json()


async def test_a_replayed_code_ends_all_that_came_of_it(http: httpx.AsyncClient, authority: Authority) -> None:
    code, other = code_of(authority), code_of(authority)
    first, untouched = await redeem(http, code), await redeem(http, other)
    assert not await is_revoked(authority, first)
    assert refused(await redeem(http, code)) == (400, "invalid_grant")
    assert await is_revoked(authority, first)
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": first.json()["refresh_token"]}
    assert refused(await http.post("/oauth/token", data=form)) == (400, "invalid_grant")
    assert not await is_revoked(authority, untouched)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "y" * 52}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": "é" * 52}, "invalid_grant"),
        ({"code_verifier": "left out"}, "invalid_request"),
        ({"redirect_uri": BACK + "/"}, "invalid_grant"),
        ({"redirect_uri": "left out"}, "invalid_request"),
        ({"code": "left out"}, "invalid_request"),
        ({"code": "x" * 43}, "invalid_grant"),
        ({"code": "é\U0001f600"}, "invalid_grant"),
        ({"client_id": "stranger"}, "invalid_grant"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": "left out"}, "invalid_client"),
        ({"resource": "https://elsewhere.example"}, "invalid_target"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, "unauthorized_client"),
    ],
)
async def test_a_wrong_redemption_is_refused_and_leaves_the_code_to_its_owner(
    http: httpx.AsyncClient, authority: Authority, registered: Any, changes: dict[str, str], error: str
) -> None:
    await registered("stranger", secret=None, grants=["authorization_code"], scope="openid", redirect_uris=[BACK])
    code = code_of(authority)
    answer = await redeem(http, code, **changes)
    assert refused(answer) == (401 if error == "invalid_client" else 400, error)
    assert (answer.headers.get("www-authenticate") is not None) == (error == "invalid_client")
    first = await redeem(http, code)
    assert first.status_code == 200
    await redeem(http, code, **changes)
    assert not await is_revoked(authority, first)


async def test_a_confidential_client_must_authenticate_to_use_its_code(
    http: httpx.AsyncClient, authority: Authority, registered: Any
) -> None:
    await registered("web", grants=["authorization_code"], scope="openid profiles:read", redirect_uris=[BACK])
    code = code_of(authority, "profiles:read", client_id="web")
    assert refused(await redeem(http, code, client_id="web")) == (401, "invalid_client")
    assert refused(await redeem(http, code, ("web", "wrong-wrong-wrong"), client_id="web")) == (401, "invalid_client")
    missing = await redeem(http, code, ("web", SECRET), client_id="web", code_verifier="left out")
    assert refused(missing) == (400, "invalid_request")
    assert (await redeem(http, code, ("web", SECRET), client_id="web")).status_code == 200


async def test_a_code_expires_after_a_minute(http: httpx.AsyncClient, authority: Authority, pool: Pool) -> None:
    code = code_of(authority)
    await pool.execute("UPDATE oauth_families SET code_expires_at = code_expires_at - interval '60 seconds'")
    assert refused(await redeem(http, code)) == (400, "invalid_grant")


async def test_a_disabled_client_and_one_that_lost_its_scopes_get_nothing(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    codes = [code_of(authority), code_of(authority), code_of(authority)]
    await pool.execute("UPDATE oauth_clients SET scopes = '{openid,profiles:read}'")
    assert (await redeem(http, codes[0])).json()["scope"] == "openid profiles:read"
    await pool.execute("UPDATE oauth_clients SET scopes = '{events:write}'")
    assert refused(await redeem(http, codes[1])) == (400, "invalid_grant")
    await disable_client(pool, "app")
    assert refused(await redeem(http, codes[2])) == (401, "invalid_client")


async def test_of_many_redemptions_at_once_one_succeeds_and_its_family_ends(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    for _ in range(5):
        code = code_of(authority)
        answers = await asyncio.gather(*(redeem(http, code) for _ in range(12)))
        (success,) = [answer for answer in answers if answer.status_code == 200]
        assert {refused(answer) for answer in answers if answer is not success} == {(400, "invalid_grant")}
        assert await is_revoked(authority, success)


async def test_no_secret_is_stored(http: httpx.AsyncClient, authority: Authority, pool: Pool) -> None:
    code = code_of(authority)
    refresh = (await redeem(http, code)).json()["refresh_token"]
    stored = await pool.fetchval("SELECT oauth_families::text FROM oauth_families")
    assert not any(text in stored for text in (code, refresh, *refresh.split("."), VERIFIER))


async def test_no_token_is_logged_at_any_level(
    http: httpx.AsyncClient, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    code = code_of(authority)
    first = (await redeem(http, code)).json()
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": first["refresh_token"]}
    second = (await http.post("/oauth/token", data=form)).json()
    assert caplog.records
    tokens = [body[name] for body in (first, second) for name in ("access_token", "refresh_token", "id_token")]
    assert not [text for text in [code, VERIFIER, *tokens] if text in caplog.text]


async def test_families_of_a_user_are_revoked_and_erased(
    http: httpx.AsyncClient, authority: Authority, pool: Pool
) -> None:
    stays = await redeem(http, code_of(authority, user_id="u2"))
    offline = await redeem(http, code_of(authority, "openid offline_access"))
    online = await redeem(http, code_of(authority))
    waiting = code_of(authority)
    assert await revoke_families(pool, ["u1"], client_id="other") == 0
    assert await revoke_families(pool, ["u1"], client_id="app", keep_offline=True) == 2
    assert [await is_revoked(authority, answer) for answer in (stays, offline, online)] == [False, False, True]
    assert refused(await redeem(http, waiting)) == (400, "invalid_grant")
    assert await erase_families(pool, ["u1"]) == 3
    assert [await is_revoked(authority, answer) for answer in (stays, offline)] == [False, True]
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE user_id = 'u1'") == 0
