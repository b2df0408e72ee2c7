"""Authorization requests: what is refused, whether the browser may be sent back, and what the answer says."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from api.oauth.authority import Authority
from api.oauth.authorizing.requests import AuthorizationRequest, RefusedAuthorization, UnsafeRedirect
from api.oauth.tokens.claims import SignedIn
from core import clock
from core.errors import InvalidInput
from db.postgres import Pool

BACK = "https://shop.example/back?kept=a%20b"
APP = "com.example.shop:/back"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ASKED = {
    "response_type": "code",
    "client_id": "app",
    "redirect_uri": BACK,
    "scope": "openid recommendations:read",
    "state": "a state & more=é",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


@pytest.fixture
async def app(registered: Any) -> Any:
    """A public client with two redirect URIs, and one for loopback."""
    return await registered(
        "app",
        secret=None,
        grants=["authorization_code", "refresh_token"],
        scope="openid offline_access recommendations:read profiles:read orders:write",
        redirect_uris=[BACK, APP, "http://127.0.0.1/cb", "http://[::1]/cb", "http://localhost/cb"],
    )


@pytest.fixture
def read(authority: Authority, app: Any) -> Any:
    """Reads a request like ASKED, with changes; None leaves a parameter out."""

    def read_changed(repeated: tuple[str, ...] = (), **changes: str | None) -> AuthorizationRequest:
        parameters = {name: value for name, value in (ASKED | changes).items() if value is not None}
        return authority.server.read_authorization(parameters, repeated)

    return read_changed


def query_of(location: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True, strict_parsing=True))


async def test_a_valid_request_is_read(read: Any, app: Any) -> None:
    request = read(nonce="n-1", prompt="login consent", max_age="0", login_hint="jo", ui_locales="de-CH fr")
    assert (request.client.id, request.client.redirect_uris) == (app.id, app.redirect_uris)
    assert (request.redirect_uri, request.scopes) == (BACK, ("openid", "recommendations:read"))
    assert (request.state, request.nonce, request.code_challenge) == (ASKED["state"], "n-1", CHALLENGE)
    assert (request.prompt, request.max_age) == (frozenset({"login", "consent"}), 0)
    assert (request.login_hint, request.ui_locales) == ("jo", ("de-CH", "fr"))


async def test_without_scopes_it_asks_for_those_that_need_not_be_named(read: Any) -> None:
    for scope in (None, ""):
        assert read(scope=scope).scopes == ("openid", "recommendations:read", "profiles:read")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "nobody"},
        {"client_id": "a\x00b"},
        {"redirect_uri": None},
        {"redirect_uri": "https://shop.example/back"},
        {"redirect_uri": BACK + "/"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": 'https://evil.example/"\\é'},
        {"client_id": 'ap"\\é'},
        {"redirect_uri": "http://127.0.0.1:99999/cb"},
        {"redirect_uri": "http://127.0.0.1:80@evil.example/cb"},
        {"redirect_uri": "http://127.0.0.1:8080/other"},
        {"redirect_uri": "http://localhost:8080/cb"},
        {"redirect_uri": "https://127.0.0.1:8080/cb"},
        {"response_type": "token", "redirect_uri": "https://evil.example/"},
        {"repeated": ("client_id",)},
        {"repeated": ("redirect_uri", "state")},
    ],
)
async def test_nobody_is_sent_to_an_address_that_the_client_did_not_register(read: Any, changes: Any) -> None:
    with pytest.raises(UnsafeRedirect):
        read(**changes)


async def test_a_disabled_client_is_unknown(read: Any, pool: Pool) -> None:
    await pool.execute("UPDATE oauth_clients SET disabled_at = now()")
    with pytest.raises(UnsafeRedirect):
        read()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:8080/cb", "http://127.0.0.1/cb", "http://[::1]:1/cb", APP])
async def test_an_app_on_the_persons_machine_may_listen_on_any_port(read: Any, uri: str) -> None:
    assert read(redirect_uri=uri).redirect_uri == uri


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"response_type": '"\\é'}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": CHALLENGE[1:]}, "invalid_request"),
        ({"code_challenge": CHALLENGE[1:] + "."}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"scope": "no:such"}, "invalid_scope"),
        ({"scope": "openid  profile"}, "invalid_scope"),
        ({"scope": "events:write"}, "invalid_scope"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://evil.example/"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"nonce": "n" * 513}, "invalid_request"),
        ({"nonce": "a\x00"}, "invalid_request"),
        ({"resource": "https://elsewhere.example/"}, "invalid_target"),
        ({"audience": "https://elsewhere.example/"}, "invalid_target"),
        ({"repeated": ("scope",)}, "invalid_request"),
    ],
)
async def test_anything_else_wrong_is_told_to_the_client(read: Any, changes: Any, error: str) -> None:
    with pytest.raises(RefusedAuthorization) as refused:
        read(**changes)
    assert refused.value.location.startswith(BACK + "&")
    answer = query_of(refused.value.location)
    assert (answer["error"], answer["state"]) == (error, ASKED["state"])
    assert answer["iss"] == "https://shop.example"
    assert answer.keys() <= {"kept", "error", "error_description", "state", "iss"}
    assert not set(answer.get("error_description", "")) & set('"\\') and answer.get("error_description", "").isascii()


@pytest.mark.parametrize("changes", [{"state": "s" * 2049}, {"state": "a\x07"}, {"repeated": ("state",)}])
async def test_a_state_that_is_not_valid_is_not_echoed(read: Any, changes: Any) -> None:
    with pytest.raises(RefusedAuthorization) as refused:
        read(**changes)
    assert query_of(refused.value.location).keys() == {"kept", "error", "error_description", "iss"}


async def test_our_own_audience_may_be_named(read: Any) -> None:
    assert read(resource="https://shop.example/graphql").resource == "https://shop.example/graphql"


async def test_a_client_without_the_grant_sends_nobody_here(read: Any, pool: Pool) -> None:
    await pool.execute("UPDATE oauth_clients SET grants = '{client_credentials}'")
    for response_type in ("code", '"\\é'):
        with pytest.raises(RefusedAuthorization) as refused:
            read(response_type=response_type)
        assert query_of(refused.value.location)["error"] == "unauthorized_client"


async def test_an_id_token_of_ours_hints_at_its_user(read: Any, authority: Authority) -> None:
    user = SignedIn("u1", clock.now(), "f1")
    hint = authority.server.id_tokens.issue("app", user, "an-access-token", None)
    assert read(id_token_hint=hint).user_hint == "u1"
    for other in ("x", hint[:-4] + "AAAA"):
        assert read(id_token_hint=other).user_hint is None


async def test_an_approval_stores_the_hash_of_a_code_and_sends_the_browser_back(
    read: Any, authority: Authority, pool: Pool
) -> None:
    signed_in = clock.now() - timedelta(minutes=5)
    location = authority.server.approve(read(nonce="n-1"), "u1", signed_in, ("openid",))
    assert location.startswith(BACK + "&")
    answer = query_of(location)
    assert answer.keys() == {"kept", "code", "state", "iss"}
    assert (answer["state"], answer["iss"], len(answer["code"])) == (ASKED["state"], "https://shop.example", 43)
    (row,) = await pool.fetch("SELECT oauth_families::text AS text, * FROM oauth_families")
    assert answer["code"] not in row["text"]
    assert (row["client_id"], row["user_id"], row["scopes"]) == ("app", "u1", ["openid"])
    assert (row["auth_time"], row["nonce"], row["redirect_uri"]) == (signed_in, "n-1", BACK)
    assert row["code_expires_at"] - row["created_at"] == timedelta(seconds=60)


async def test_nobody_approves_what_was_not_asked(read: Any, authority: Authority) -> None:
    for scopes in ((), ("orders:write",)):
        with pytest.raises(ValueError, match="did not ask"):
            authority.server.approve(read(), "u1", clock.now(), scopes)
    with pytest.raises(InvalidInput):
        authority.server.approve(read(), "urn:penchant:guest:g1", clock.now(), ("openid",))


async def test_a_refusal_goes_back_with_state_and_issuer(read: Any, authority: Authority) -> None:
    location = authority.server.refuse_authorization(read(redirect_uri=APP, state=None), "access_denied")
    assert location == f"{APP}?error=access_denied&iss=https%3A%2F%2Fshop.example"
