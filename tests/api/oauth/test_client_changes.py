"""A client's change counts for the tokens it has, in every process; what it does is noted beside the requests."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest

from api.oauth.authority import Authority
from api.oauth.clients import activity as activity_module
from api.oauth.clients.activity import MAX_REFUSED, ClientActivity
from api.oauth.grant_types import TOKEN_EXCHANGE, USER_ID
from api.oauth.tokens.verifier import LONGEST_LIFE, Verifier
from core import clock
from core.contract import Person
from core.errors import InvalidToken, StoreUnavailable
from db.client_audit import list_audit
from db.clients import last_uses, list_changed
from db.postgres import Pool
from engine.clients import changing

SECRET = "a-secret-of-the-client"
OWN = {"grant_type": "client_credentials"}
EXCHANGE = {"grant_type": TOKEN_EXCHANGE, "subject_token": "u1", "subject_token_type": USER_ID}

GetToken = Callable[..., Awaitable[str]]


@pytest.fixture
def token(http: httpx.AsyncClient) -> GetToken:
    """A token of the client `shop`."""

    async def get(**form: str) -> str:
        answer = await http.post("/oauth/token", data=OWN | form, auth=("shop", SECRET))
        return str(answer.json()["access_token"])

    return get


def other_process(authority: Authority, pool: Pool) -> Verifier:
    """The verifier of another process, which reads at every request."""
    return Verifier(pool, authority.keys, authority.issuer, poll=0.0)


async def introspected(http: httpx.AsyncClient, token: str) -> dict[str, Any]:
    answer = await http.post("/oauth/introspect", data={"token": token}, auth=("shop", SECRET))
    found: dict[str, Any] = answer.json()
    return found


async def test_introspection_knows_what_the_verifier_knows(
    http: httpx.AsyncClient, pool: Pool, registered: Any, token: GetToken
) -> None:
    await registered(scope="events:write catalog:read")
    issued = await token(scope="events:write catalog:read")
    await changing.set_scopes(pool, "shop", ["catalog:read"], "test", lambda *_: None)
    assert (await introspected(http, issued))["scope"] == "catalog:read"
    await changing.disable(pool, "shop", "test")
    await changing.enable(pool, "shop", "test")
    await pool.execute("UPDATE oauth_clients SET enabled_at = now() + interval '2 seconds'")
    assert await introspected(http, issued) == {"active": False}


async def test_a_token_loses_what_its_client_loses_and_gets_nothing_new(
    authority: Authority, pool: Pool, registered: Any, token: GetToken
) -> None:
    await registered(scope="events:write catalog:read profiles:read")
    own, persons = await token(scope="events:write catalog:read"), await token(**EXCHANGE)
    verifier = other_process(authority, pool)
    assert (await verifier.verify(own)).scopes == {"events:write", "catalog:read"}

    async def change(scope: str) -> None:
        await changing.set_scopes(pool, "shop", scope.split(), "test", lambda *_: None)

    await change("catalog:read models:read profiles:read")
    assert (await verifier.verify(own)).scopes == {"catalog:read"}
    assert (await other_process(authority, pool).verify(own)).scopes == {"catalog:read"}, "also where it is new"
    viewer = await verifier.verify(persons)
    assert viewer.scopes == {"profiles:read"} and viewer.person == Person("user", "u1")
    await change("events:write")
    assert (await verifier.verify(own)).scopes == {"events:write"}
    assert (await verifier.verify(persons)).scopes == {"events:write"}


async def test_clients_whose_scopes_changed_before_every_living_token_was_issued_are_not_read(
    pool: Pool, registered: Any
) -> None:
    await registered(scope="events:write")
    assert await list_changed(pool, LONGEST_LIFE) == {}
    await changing.set_scopes(pool, "shop", ["catalog:read"], "test", lambda *_: None)
    assert list(await list_changed(pool, LONGEST_LIFE)) == ["shop"]
    await pool.execute("UPDATE oauth_clients SET scopes_changed_at = now() - $1::interval", timedelta(days=2))
    assert await list_changed(pool, LONGEST_LIFE) == {}


async def test_a_client_that_is_enabled_again_needs_new_tokens(
    authority: Authority, pool: Pool, registered: Any, token: GetToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered()
    verifier = other_process(authority, pool)
    with monkeypatch.context() as earlier:
        moment = clock.now() - timedelta(seconds=5)
        earlier.setattr(clock, "now", lambda: moment)
        before = await token()
    assert (await verifier.verify(before)).client_id == "shop"
    await changing.disable(pool, "shop", "test")
    with pytest.raises(InvalidToken, match="revoked"):
        await verifier.verify(before)
    await changing.enable(pool, "shop", "test")
    with pytest.raises(InvalidToken, match="revoked"):
        await verifier.verify(before)
    assert (await verifier.verify(await token())).client_id == "shop"


async def trail(authority: Authority, pool: Pool, client_id: str = "shop") -> dict[str | None, int]:
    """How often the client was refused, by reason."""
    await authority.activity.write(pool)
    return {entry.reason: entry.count for entry in await list_audit(pool, client_id, 100)}


async def test_refused_token_requests_are_counted_by_reason(
    authority: Authority, http: httpx.AsyncClient, pool: Pool, registered: Any
) -> None:
    await registered(grants=["client_credentials"])
    for form, secret in (
        (OWN, "a-wrong-secret"),
        (OWN, "a-wrong-secret"),
        (OWN | {"scope": "models:write"}, SECRET),
        (EXCHANGE, SECRET),
        ({"grant_type": "password"}, SECRET),
        (OWN, SECRET),
    ):
        await http.post("/oauth/token", data=form, auth=("shop", secret))
    await http.post("/oauth/token", data=OWN, auth=("nobody", SECRET))
    await http.post("/oauth/token", data=OWN | {"client_id": "shop"})
    await http.post("/oauth/token", content=b"{}", headers={"content-type": "application/json"})
    counts = {"invalid_client": 3, "invalid_scope": 1, "unauthorized_client": 1, "unsupported_grant_type": 1}
    assert await trail(authority, pool) == counts
    assert await trail(authority, pool) == counts, "each is counted once"
    assert await trail(authority, pool, "nobody") == {}


async def test_refused_tokens_are_counted_and_uses_are_noted(
    authority: Authority, pool: Pool, registered: Any, token: GetToken
) -> None:
    await registered()
    assert await last_uses(pool, ["shop"]) == {}
    sent = await token()
    await authority.activity.write(pool)
    (used,) = (await last_uses(pool, ["shop", "nobody"])).values()
    assert abs(used - clock.now()) < timedelta(minutes=1)
    await changing.disable(pool, "shop", "test")
    verifier = Verifier(pool, authority.keys, authority.issuer, activity=authority.activity, poll=0.0)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await verifier.verify(sent)
    with pytest.raises(InvalidToken):
        await verifier.verify("not.a.token")
    assert await trail(authority, pool) == {None: 1, "token_revoked": 2}


async def test_a_use_is_written_once_a_minute(pool: Pool, registered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await registered()
    activity = ClientActivity()
    now = 1000.0
    monkeypatch.setattr(activity_module, "monotonic", lambda: now)

    async def written() -> int:
        activity.note_use("shop")
        await activity.write(pool)
        count: int = await pool.fetchval("SELECT count(*) FROM oauth_client_uses")
        await pool.execute("DELETE FROM oauth_client_uses")
        return count

    assert await written() == 1
    now += 59
    assert await written() == 0
    now += 2
    assert await written() == 1
    now += 61
    await activity.write(pool)
    assert await pool.fetchval("SELECT count(*) FROM oauth_client_uses") == 0, "what was written once is not new"


class Away:
    """A Postgres that does not answer."""

    async def execute(self, *_: Any) -> str:
        raise StoreUnavailable("postgres", "away")


async def test_what_cannot_be_written_is_written_later_and_is_bounded(pool: Pool, registered: Any) -> None:
    await registered()
    activity, away = ClientActivity(), Away()
    activity.note_use("shop")
    activity.note_refusal("shop", "invalid_client")
    for number in range(MAX_REFUSED + 10):
        activity.note_refusal(f"client-{number}", "invalid_client")
    activity.note_refusal("shop", "invalid_client")
    await activity.write(cast(Any, away))
    await activity.write(pool)
    assert "shop" in await last_uses(pool, ["shop"])
    (entry,) = await list_audit(pool, "shop", 10)
    assert (entry.reason, entry.count) == ("invalid_client", 2)
    assert len(activity._refused) == 0
