"""The scopes of a token: how a list is read, and what a person or a guest can never have."""

from typing import Any

import httpx
import pytest
from authlib.oauth2.rfc6749.errors import InvalidScopeError

from api.oauth.authority import Authority
from api.oauth.clients.clients import RegisteredClient
from api.oauth.grant_types import ANONYMOUS_ID, TOKEN_EXCHANGE, USER_ID
from core.contract import Person
from core.errors import InvalidInput
from db.postgres import Pool
from engine.scopes import PEOPLE, RETIRED, SCOPES

OWN = {"grant_type": "client_credentials"}
EXCHANGE = {"grant_type": TOKEN_EXCHANGE, "subject_token": "u1", "subject_token_type": USER_ID}


async def ask(http: httpx.AsyncClient, form: dict[str, str]) -> httpx.Response:
    return await http.post("/oauth/token", data=form, auth=("shop", "a-secret-of-the-client"))


async def test_a_persons_token_has_the_clients_scopes_for_people_and_money_only_when_named(
    http: httpx.AsyncClient, registered: Any
) -> None:
    await registered(scope=" ".join([*SCOPES, "openid", "profile"]))
    default = {"recommendations:read", "profiles:read", "events:write", "openid"}
    for form in (EXCHANGE, EXCHANGE | {"scope": ""}, EXCHANGE | {"subject_token_type": ANONYMOUS_ID}):
        assert set((await ask(http, form)).json()["scope"].split(" ")) == default
    named = await ask(http, EXCHANGE | {"scope": "events:write orders:write"})
    assert named.json()["scope"] == "events:write orders:write"


@pytest.mark.parametrize("scope", sorted(set(SCOPES) - PEOPLE))
async def test_no_token_of_a_person_or_guest_has_another_scope(
    http: httpx.AsyncClient, registered: Any, scope: str
) -> None:
    await registered(scope=" ".join(SCOPES))
    for kind in (USER_ID, ANONYMOUS_ID):
        for asked in (scope, f"events:write {scope}"):
            answer = await ask(http, EXCHANGE | {"subject_token_type": kind, "scope": asked})
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_a_client_without_scopes_for_people_gets_no_token_of_a_person(
    http: httpx.AsyncClient, registered: Any
) -> None:
    await registered(scope="catalog:write orders:write profiles:erase")
    answer = await ask(http, EXCHANGE)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert "no scopes" in answer.json()["error_description"]
    assert (await ask(http, EXCHANGE | {"scope": "orders:write"})).json()["scope"] == "orders:write"


async def test_a_grant_that_forgets_the_rule_cannot_issue_a_person_another_scope(
    registered: Any, authority: Authority
) -> None:
    client = RegisteredClient(await registered(scope=" ".join(SCOPES)))
    for scope in (None, "models:write", "events:write models:write"):
        with pytest.raises(InvalidScopeError):
            authority.server.generate_token(TOKEN_EXCHANGE, client, user=Person("user", "u1"), scope=scope)


async def test_a_stored_client_with_scopes_of_an_earlier_release_keeps_working(
    http: httpx.AsyncClient, registered: Any, pool: Pool
) -> None:
    await registered(scope="recommendations:read events:write")
    stored = ["recommendations:read", "events:write", *sorted(RETIRED)]
    await pool.execute("UPDATE oauth_clients SET scopes = $1", stored)
    answer = await ask(http, OWN)
    assert (answer.status_code, set(answer.json()["scope"].split(" "))) == (200, set(stored))
    for scope in RETIRED:
        answer = await ask(http, OWN | {"scope": f"{scope} events:write"})
        assert (answer.status_code, answer.json()["scope"]) == (200, f"{scope} events:write")
    assert set((await ask(http, EXCHANGE)).json()["scope"].split(" ")) == {"recommendations:read", "events:write"}
    for scope in RETIRED:
        assert (await ask(http, EXCHANGE | {"scope": scope})).json()["error"] == "invalid_scope"


@pytest.mark.parametrize("scope", sorted(RETIRED))
async def test_no_new_client_gets_a_scope_of_an_earlier_release(
    http: httpx.AsyncClient, registered: Any, scope: str
) -> None:
    with pytest.raises(InvalidInput, match=f"Unknown scopes: {scope}. Known scopes: recommendations:read"):
        await registered(scope=f"events:write {scope}")
    await registered(scope="events:write")
    assert (await ask(http, OWN | {"scope": scope})).json()["error"] == "invalid_scope"


MALFORMED = [
    " ", "  ", " events:write", "events:write ", "events:write  profiles:read", "\x00", "events:write\x00",
    "events:write\x00profiles:read", "\t", "events:write\tprofiles:read", "\r\n", "events:write\r\nprofiles:read",
    "\x0b", "\x0c", "\x1c", "\x85", "\u00a0", "events:write\u00a0profiles:read", "\u1680", "\u2003", "\u2028", "\u3000",
    "events:write\u3000profiles:read", "\u200b", "\ufeff", "events:write events:write", "events:write,profiles:read",
    '"events:write"', "events:write\\", "EVENTS:WRITE", "events:write " * 5000, "x" * 10_000,
    " ".join(f"a{number}" for number in range(1000)),
]  # fmt: skip


@pytest.mark.parametrize("scope", MALFORMED)
async def test_a_malformed_list_of_scopes_is_invalid(http: httpx.AsyncClient, registered: Any, scope: str) -> None:
    await registered(scope=" ".join(SCOPES))
    for form in (OWN, EXCHANGE):
        answer = await ask(http, form | {"scope": scope[:12_000]})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope"), answer.text


@pytest.mark.parametrize(
    ("scope", "description"),
    [
        ("catalog:write models:write", "scope not allowed: models:write"),
        ("segments:read", "scope not allowed: segments:read"),
        ("no:such", "unknown scope"),
        ("models:write<script>", "unknown scope"),
        ("catalog:write  models:write", "Scopes are separated by one space, and none is repeated."),
        ("x" * 2000, "Scopes are separated by one space, and none is repeated."),
        ('"\\', "Scopes are separated by one space, and none is repeated."),
    ],
)
async def test_the_error_names_the_scope_that_is_not_allowed_and_repeats_nothing_else(
    http: httpx.AsyncClient, registered: Any, scope: str, description: str
) -> None:
    await registered()
    answer = await ask(http, OWN | {"scope": scope})
    assert answer.json() == {"error": "invalid_scope", "error_description": description}


async def test_the_scopes_that_a_persons_token_cannot_have_are_named_too(
    http: httpx.AsyncClient, registered: Any
) -> None:
    await registered()
    answer = await ask(http, EXCHANGE | {"scope": "events:write catalog:write"})
    assert answer.json()["error_description"] == "scope not allowed: catalog:write"
