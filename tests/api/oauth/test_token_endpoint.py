"""The token endpoint: what it issues, and every way it refuses."""

import base64
from datetime import timedelta
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from api.oauth.authority import MAX_WAITING, Authority
from api.oauth.blocking_pool import BlockingPool
from api.oauth.grant_types import ACCESS_TOKEN, ANONYMOUS_ID, GRANTS, TOKEN_EXCHANGE, USER_ID
from core import clock
from core.contract import Person
from db.clients import disable_client
from db.postgres import Pool
from engine.scopes import SCOPES

Claims = dict[str, Any]
SECRET = "a-secret-of-the-client"
BASIC = ("shop", SECRET)
OWN = {"grant_type": "client_credentials"}
EXCHANGE = {"grant_type": TOKEN_EXCHANGE, "subject_token": "u1", "subject_token_type": USER_ID}


async def ask(http: httpx.AsyncClient, form: dict[str, str], auth: tuple[str, str] | None = BASIC) -> httpx.Response:
    return await http.post("/oauth/token", data=form, auth=auth or httpx.USE_CLIENT_DEFAULT)


async def claims_of(http: httpx.AsyncClient, answer: httpx.Response) -> tuple[Claims, Claims]:
    """Header and claims, checked as a third party would: by the published keys."""
    assert answer.status_code == 200, answer.text
    keys = KeySet.import_key_set((await http.get("/.well-known/jwks.json")).json())
    token = jwt.decode(answer.json()["access_token"], keys, algorithms=["RS256"])
    return token.header, token.claims


async def test_a_client_gets_a_token_of_its_own(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    answer = await ask(http, OWN | {"scope": "events:write profiles:read"})
    header, claims = await claims_of(http, answer)
    now = clock.now().timestamp()
    assert (header["typ"], header["alg"]) == ("at+jwt", "RS256")
    assert header.keys() == {"typ", "alg", "kid"}
    assert claims["iss"] == "https://shop.example"
    assert claims["aud"] == "https://shop.example/graphql"
    assert claims["sub"] == claims["client_id"] == "shop"
    assert claims["scope"] == answer.json()["scope"] == "events:write profiles:read"
    assert claims["exp"] - claims["iat"] == answer.json()["expires_in"] == 3600
    assert now - 5 <= claims["iat"] <= now
    assert len(claims["jti"]) >= 20
    assert "person_kind" not in claims
    assert answer.json()["token_type"] == "Bearer"
    assert "refresh_token" not in answer.json()


async def test_without_a_requested_scope_the_token_has_all_scopes_of_the_client(
    http: httpx.AsyncClient, registered: Any
) -> None:
    await registered(scope="models:read catalog:write")
    assert (await ask(http, OWN)).json()["scope"] == "models:read catalog:write"
    assert (await ask(http, OWN | {"scope": ""})).json()["scope"] == "models:read catalog:write"


async def test_every_token_has_its_own_id(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    ids = {(await claims_of(http, await ask(http, OWN)))[1]["jti"] for _ in range(3)}
    assert len(ids) == 3


async def test_answers_are_never_stored_by_caches(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    for answer in (await ask(http, OWN), await ask(http, OWN, ("shop", "wrong-wrong-wrong")), await ask(http, {})):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/json"


async def test_the_secret_may_come_in_the_form(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    answer = await ask(http, OWN | {"client_id": "shop", "client_secret": SECRET}, None)
    assert answer.status_code == 200


async def test_a_secret_in_basic_may_be_escaped_or_not(http: httpx.AsyncClient, registered: Any) -> None:
    await registered(secret="50%+plus/slash&=%41")
    for written in ("50%+plus/slash&=%41", "50%25%2Bplus%2Fslash%26%3D%2541"):
        assert (await ask(http, OWN, ("shop", written))).status_code == 200


async def test_a_users_token_has_the_user_as_subject(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    answer = await ask(http, EXCHANGE | {"subject_token": "Zoë 🛒 1", "scope": "recommendations:read"})
    _, claims = await claims_of(http, answer)
    assert claims["sub"] == "Zoë 🛒 1"
    assert (claims["client_id"], claims["person_kind"]) == ("shop", "user")
    assert claims["scope"] == "recommendations:read"
    assert claims["exp"] - claims["iat"] == answer.json()["expires_in"] == 900
    assert answer.json()["issued_token_type"] == ACCESS_TOKEN


async def test_a_guests_token_cannot_be_taken_for_a_users(
    http: httpx.AsyncClient, authority: Authority, registered: Any
) -> None:
    await registered()
    answer = await ask(http, EXCHANGE | {"subject_token": "u1", "subject_token_type": ANONYMOUS_ID})
    _, claims = await claims_of(http, answer)
    assert claims["sub"] == "urn:penchant:guest:u1"
    viewer = await authority.verifier.verify(answer.json()["access_token"])
    assert viewer.person == Person("guest", "u1")
    forged = await ask(http, EXCHANGE | {"subject_token": "urn:penchant:guest:u1"})
    assert (forged.status_code, forged.json()["error"]) == (400, "invalid_request")


async def test_a_user_named_like_the_client_is_still_a_user(
    http: httpx.AsyncClient, authority: Authority, registered: Any
) -> None:
    await registered()
    answer = await ask(http, EXCHANGE | {"subject_token": "shop"})
    assert (await authority.verifier.verify(answer.json()["access_token"])).person == Person("user", "shop")
    own = await ask(http, OWN)
    assert (await authority.verifier.verify(own.json()["access_token"])).person is None


async def test_a_clients_own_lifetime_shortens_the_tokens_of_persons_and_never_lengthens_them(
    http: httpx.AsyncClient, registered: Any
) -> None:
    await registered(ttl=60)
    await registered("slow", ttl=86_400)
    assert (await ask(http, OWN)).json()["expires_in"] == 60
    assert (await ask(http, EXCHANGE)).json()["expires_in"] == 60
    assert (await ask(http, OWN, ("slow", SECRET))).json()["expires_in"] == 86_400
    assert (await ask(http, EXCHANGE, ("slow", SECRET))).json()["expires_in"] == 900


async def test_a_request_may_name_our_own_audience(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    for form in (OWN, EXCHANGE):
        assert (await ask(http, form | {"resource": "https://shop.example/graphql"})).status_code == 200


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": 'é"\\'}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "x"}, "unauthorized_client"),
        (OWN | {"scope": "no:such"}, "invalid_scope"),
        (OWN | {"scope": "events:write no:such"}, "invalid_scope"),
        (OWN | {"scope": "models:write"}, "invalid_scope"),
        (OWN | {"scope": 'é"\\'}, "invalid_scope"),
        (OWN | {"resource": "https://shop.example/other"}, "invalid_target"),
        (OWN | {"audience": "https://elsewhere.example/graphql"}, "invalid_target"),
        (EXCHANGE | {"scope": "models:write"}, "invalid_scope"),
        (EXCHANGE | {"resource": "https://attacker.example/graphql"}, "invalid_target"),
        (EXCHANGE | {"subject_token": ""}, "invalid_request"),
        (EXCHANGE | {"subject_token_type": ""}, "invalid_request"),
        (EXCHANGE | {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request"),
        (EXCHANGE | {"subject_token": "x" * 129}, "invalid_request"),
        (EXCHANGE | {"subject_token": "a\x00b"}, "invalid_request"),
        (EXCHANGE | {"subject_token": "a\nb"}, "invalid_request"),
        (EXCHANGE | {"actor_token": "x", "actor_token_type": USER_ID}, "invalid_request"),
        (EXCHANGE | {"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        (OWN | {"client_id": "other"}, "invalid_request"),
        (OWN | {"client_secret": SECRET}, "invalid_request"),
    ],
)
async def test_a_bad_request_has_its_error_code(
    http: httpx.AsyncClient, registered: Any, form: dict[str, str], error: str
) -> None:
    await registered()
    answer = await ask(http, form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert_safe_text(answer.json().get("error_description", ""))


def assert_safe_text(text: str) -> None:
    """RFC 6749, section 5.2: printable ASCII without quote and backslash."""
    assert all(" " <= character <= "~" and character not in '"\\' for character in text)


async def test_a_grant_the_client_was_not_registered_for_is_unauthorized(
    http: httpx.AsyncClient, registered: Any
) -> None:
    await registered("server", grants=["client_credentials"])
    await registered("pages", grants=["token-exchange"])
    for client_id, form in (("server", EXCHANGE), ("pages", OWN)):
        answer = await ask(http, form, (client_id, SECRET))
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"shop").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"shop:").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"shop:wrong").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"nobody:" + SECRET.encode()).decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"sh\x00op:x").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"sh%00op:x").decode()},
        {"Authorization": "Bearer " + base64.b64encode(b"shop:" + SECRET.encode()).decode()},
    ],
)
async def test_a_client_that_cannot_prove_itself_is_challenged(
    http: httpx.AsyncClient, registered: Any, headers: dict[str, str]
) -> None:
    await registered()
    answer = await http.post("/oauth/token", data=OWN, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


async def test_wrong_credentials_in_the_form_are_challenged_too(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    for extra in ({"client_id": "shop"}, {"client_id": "shop", "client_secret": "wrong"}, {"client_secret": SECRET}):
        answer = await ask(http, OWN | extra, None)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_a_public_client_cannot_use_these_grants(http: httpx.AsyncClient, registered: Any, pool: Pool) -> None:
    await registered()
    await pool.execute("UPDATE oauth_clients SET secret_hash = NULL")
    for form in (OWN, EXCHANGE):
        answer = await ask(http, form | {"client_id": "shop"}, None)
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
        assert (await ask(http, form | {"client_id": "shop", "client_secret": SECRET}, None)).status_code == 401


async def test_a_disabled_client_is_refused_although_its_secret_was_good(
    http: httpx.AsyncClient, registered: Any, pool: Pool
) -> None:
    await registered()
    assert (await ask(http, OWN)).status_code == 200
    assert await disable_client(pool, "shop")
    assert (await ask(http, OWN)).json()["error"] == "invalid_client"


async def test_a_changed_secret_counts_at_once(http: httpx.AsyncClient, registered: Any, pool: Pool) -> None:
    await registered()
    assert (await ask(http, OWN)).status_code == 200
    await registered("other", secret="another-secret")
    await pool.execute(
        "UPDATE oauth_clients SET secret_hash = (SELECT secret_hash FROM oauth_clients WHERE id = 'other')"
    )
    assert (await ask(http, OWN)).status_code == 401
    assert (await ask(http, OWN, ("shop", "another-secret"))).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=client_credentials&grant_type=client_credentials",
        b"grant_type=client_credentials&scope=&scope=",
        b"grant_type=client_credentials&sc%6Fpe=a&scope=b",
        b"grant_type=client_credentials&resource=https://shop.example/graphql&resource=https://shop.example/graphql",
        b"grant_type=client_credentials&x=%zz",
        b"grant_type=client_credentials&x=%ff",
        b"grant_type=client_credentials&x=\xc3\xa9",
        b"grant_type=client_credentials&x=%00",
        b"&".join(b"p%d=1" % number for number in range(40)),
    ],
)
async def test_an_ambiguous_or_malformed_form_is_refused(http: httpx.AsyncClient, registered: Any, body: bytes) -> None:
    await registered()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await http.post("/oauth/token", content=body, headers=headers, auth=BASIC)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_only_small_plain_forms_are_read(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    body = b"grant_type=client_credentials"
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
    good = await http.post("/oauth/token", content=body, headers=form, auth=BASIC)
    json = await http.post("/oauth/token", json=OWN, auth=BASIC)
    zipped = await http.post("/oauth/token", content=body, headers=form | {"Content-Encoding": "gzip"}, auth=BASIC)
    large = await http.post("/oauth/token", content=body + b"&x=" + b"x" * 20_000, headers=form, auth=BASIC)
    assert [answer.status_code for answer in (good, json, zipped, large)] == [200, 400, 400, 413]
    assert {answer.json()["error"] for answer in (json, zipped, large)} == {"invalid_request"}


async def test_the_endpoint_accepts_only_post(http: httpx.AsyncClient) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await http.request(method, "/oauth/token")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_no_header_of_a_request_changes_the_issuer(http: httpx.AsyncClient, registered: Any) -> None:
    await registered()
    spoofed = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    answer = await http.post("/oauth/token", data=OWN, auth=BASIC, headers=spoofed)
    _, claims = await claims_of(http, answer)
    assert claims["iss"] == "https://shop.example"
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        assert "evil" not in (await http.get(path, headers=spoofed)).text


async def test_the_metadata_lists_what_exists(http: httpx.AsyncClient) -> None:
    plain = await http.get("/.well-known/oauth-authorization-server")
    document = plain.json()
    assert document == (await http.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == "https://shop.example"
    assert document["token_endpoint"] == "https://shop.example/oauth/token"
    assert document["jwks_uri"] == "https://shop.example/.well-known/jwks.json"
    paths = {"authorization": "authorize", "token": "token", "revocation": "revoke", "introspection": "introspect"}
    for name, path in (paths | {"end_session": "logout"}).items():
        assert document[f"{name}_endpoint"] == f"https://shop.example/oauth/{path}"
    every = ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
    signed = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"]
    for name, methods in (("token", every), ("revocation", every), ("introspection", every[1:])):
        assert document[f"{name}_endpoint_auth_methods_supported"] == methods
        assert document[f"{name}_endpoint_auth_signing_alg_values_supported"] == signed
    assert document["grant_types_supported"] == [
        "authorization_code", "client_credentials", "refresh_token", TOKEN_EXCHANGE
    ]  # fmt: skip
    assert document["scopes_supported"] == [*SCOPES, "openid", "profile", "offline_access"]
    assert (document["response_types_supported"], document["response_modes_supported"]) == (["code"], ["query"])
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert document["subject_types_supported"] == ["public"]
    assert {"en", "de", "pl"} <= set(document["ui_locales_supported"])
    assert document["request_parameter_supported"] is document["request_uri_parameter_supported"] is False


async def test_each_grant_of_the_metadata_is_answered_and_no_other(http: httpx.AsyncClient, registered: Any) -> None:
    await registered(grants=list(GRANTS), redirect_uris=["https://shop.example/back"])
    named = (await http.get("/.well-known/oauth-authorization-server")).json()["grant_types_supported"]
    for grant in GRANTS.values():
        answer = (await http.post("/oauth/token", data={"grant_type": grant}, auth=BASIC)).json()
        assert (answer.get("error") == "unsupported_grant_type") == (grant not in named), answer


async def test_the_published_keys_have_no_private_half(http: httpx.AsyncClient) -> None:
    (key,) = (await http.get("/.well-known/jwks.json")).json()["keys"]
    assert key.keys() == {"kty", "use", "alg", "kid", "n", "e"}
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")


async def test_without_postgres_the_client_is_asked_to_retry(
    http: httpx.AsyncClient, registered: Any, authority: Authority
) -> None:
    await registered()
    away = authority.server._pool = BlockingPool("postgresql://nobody@127.0.0.1:1/none", timeout=2.0, size=1)
    answer = await ask(http, OWN)
    away.close()
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_restart_of_postgres_under_an_idle_connection_fails_no_request(
    http: httpx.AsyncClient, registered: Any, pool: Pool
) -> None:
    await registered()
    assert (await ask(http, OWN)).status_code == 200
    killed = await pool.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'penchant-oauth' AND datname = current_database()"
    )
    assert killed
    assert (await ask(http, OWN)).status_code == 200


async def test_an_expired_token_is_refused(
    http: httpx.AsyncClient, registered: Any, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered(ttl=60)
    token = (await ask(http, OWN)).json()["access_token"]
    assert (await authority.verifier.verify(token)).client_id == "shop"
    later = clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(Exception, match="expired"):
        await authority.verifier.verify(token)


async def test_too_many_requests_at_once_are_refused_at_once(
    http: httpx.AsyncClient, registered: Any, authority: Authority
) -> None:
    await registered()
    for lane in (authority.unknown, authority.known):
        lane.taken = MAX_WAITING
        answer = await ask(http, OWN)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {"error": "temporarily_unavailable"}
        lane.taken = 0
    assert (await ask(http, OWN)).status_code == 200
