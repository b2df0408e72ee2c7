"""OAuth clients over GraphQL: created, changed and shown by a client with clients:admin, which gains nothing by it."""

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from argon2 import PasswordHasher

from api.gateway import Gateway
from api.oauth.clients.registration import register
from core.contract import Person
from db.client_audit import store_refusals, store_uses
from db.clients import Client, client_by_id, create_client
from db.postgres import Pool
from engine.scopes import SCOPES
from tests.fixtures.gateway import Ask

ADMIN = ("clients:admin", "events:write", "catalog:read")
ERRORS = "userErrors { code field message }"
CREATE = f"""mutation ($input: CreateClientInput!) {{ createClient(input: $input) {{
  clientSecret client {{ id enabled public grants scopes tokenLifetime createdAt lastUsedAt }} {ERRORS} }} }}"""
ROTATE = f"""mutation ($id: ID!, $overlap: Int! = 60) {{ rotateClientSecret(id: $id, overlap: $overlap) {{
  clientSecret oldSecretValidUntil {ERRORS} }} }}"""
DISABLE = f"""mutation ($id: ID!, $force: Boolean! = false) {{ disableClient(id: $id, force: $force) {{
  client {{ id enabled disabledAt }} {ERRORS} }} }}"""
ENABLE = f"mutation ($id: ID!) {{ enableClient(id: $id) {{ client {{ id enabled disabledAt }} {ERRORS} }} }}"
SET_SCOPES = f"""mutation ($id: ID!, $scopes: [String!]!, $force: Boolean! = false) {{
  setClientScopes(id: $id, scopes: $scopes, force: $force) {{ client {{ scopes }} {ERRORS} }} }}"""
AUDIT = """query ($id: ID!, $first: Int! = 20, $after: String) { client(id: $id) { lastUsedAt
  audit(first: $first, after: $after) { nodes { at action by scopesBefore scopes reason day count }
  pageInfo { hasNextPage endCursor } } } }"""
SHOP = {"id": "shop", "grants": ["client_credentials"], "scopes": ["events:write"]}


@pytest.fixture
def administer(ask: Ask) -> Any:
    """Run an operation as the client `tests`, whose token has `ADMIN`; the value of its one field."""

    async def run(query: str, token: Sequence[str] = ADMIN, **variables: Any) -> Any:
        answer = await ask(query, variables, scopes=token)
        assert answer.codes == [], answer.messages
        (value,) = answer.data.values()
        return value

    return run


async def make(pool: Pool, id: str, *scopes: str) -> Client:
    client = register(id, "a-secret-of-the-client", grants=["client_credentials"], scope=" ".join(scopes))
    assert await create_client(pool, client)
    return client


def codes(payload: Any) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


async def test_a_client_is_created_with_a_secret_that_is_shown_once(administer: Any, gateway: Gateway) -> None:
    made = await administer(CREATE, input={**SHOP, "tokenLifetime": 60, "name": "The Shop"})
    assert codes(made) == []
    client = made["client"]
    assert (client["id"], client["enabled"], client["public"], client["tokenLifetime"]) == ("shop", True, False, 60)
    assert client["scopes"] == ["events:write"] and client["createdAt"] and client["lastUsedAt"] is None
    stored = await client_by_id(gateway.pool, "shop")
    assert stored is not None and stored.secret_hash is not None and not stored.first_party
    assert PasswordHasher().verify(stored.secret_hash, made["clientSecret"])
    shown = await administer(
        "{ clients { nodes { id name scopes redirectUris audit { nodes { action by scopes } } } } }"
    )
    assert made["clientSecret"] not in json.dumps(shown)
    (entry,) = shown["nodes"][0]["audit"]["nodes"]
    assert entry == {"action": "CREATED", "by": "tests", "scopes": ["events:write"]}
    for row in await gateway.pool.fetch("SELECT audit::text FROM oauth_client_audit AS audit"):
        assert made["clientSecret"] not in row["audit"]


async def test_an_app_and_a_partner_with_keys_get_no_secret(administer: Any) -> None:
    app = {
        "id": "app", "public": True, "grants": ["authorization_code"], "scopes": ["openid", "events:write"],
        "redirectUris": ["com.shop.app:/back"],
    }  # fmt: skip
    made = await administer(CREATE, input=app)
    assert (codes(made), made["clientSecret"], made["client"]["public"]) == ([], None, True)
    wrong = await administer(CREATE, input={**SHOP, "jwks": "{}"})
    assert (codes(wrong), wrong["userErrors"][0]["field"], wrong["clientSecret"]) == (
        ["BAD_USER_INPUT"],
        ["jwks"],
        None,
    )


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"scopes": ["models:write"]}, "BEYOND_OWN_SCOPES", ["scopes"]),
        ({"scopes": ["no:such"]}, "BAD_USER_INPUT", ["scopes"]),
        ({"scopes": ["x" * 2000]}, "BAD_USER_INPUT", ["scopes"]),
        ({"id": "tests"}, "CONFLICT", ["id"]),
        ({"id": "a b"}, "BAD_USER_INPUT", ["id"]),
        ({"grants": ["password"]}, "BAD_USER_INPUT", ["grants"]),
        ({"tokenLifetime": 4}, "BAD_USER_INPUT", ["tokenLifetime"]),
        ({"origins": ["*"]}, "BAD_USER_INPUT", ["origins"]),
    ],
)
async def test_a_wrong_client_is_refused_with_its_field(
    administer: Any, gateway: Gateway, change: dict[str, Any], code: str, field: list[str]
) -> None:
    await make(gateway.pool, "tests", *ADMIN)
    made = await administer(CREATE, input=SHOP | change)
    assert (codes(made), made["userErrors"][0]["field"]) == ([code], field)
    assert made["client"] is made["clientSecret"] is None
    assert await gateway.pool.fetchval("SELECT count(*) FROM oauth_clients") == 1
    assert await gateway.pool.fetchval("SELECT count(*) FROM oauth_client_audit") == 0


async def test_nobody_gets_scopes_through_another_client(administer: Any, gateway: Gateway) -> None:
    await make(gateway.pool, "mighty", "models:write", "events:write")
    await make(gateway.pool, "shop", "events:write")
    refused = await administer(ROTATE, id="mighty")
    assert (codes(refused), refused["clientSecret"]) == (["BEYOND_OWN_SCOPES"], None)
    refused = await administer(SET_SCOPES, id="shop", scopes=["events:write", "models:write"])
    assert codes(refused) == ["BEYOND_OWN_SCOPES"]
    assert codes(await administer(DISABLE, id="mighty")) == []
    refused = await administer(ENABLE, id="mighty")
    assert (codes(refused), refused["client"]) == (["BEYOND_OWN_SCOPES"], None)
    kept = await administer(SET_SCOPES, id="mighty", scopes=["models:write", "catalog:read"])
    assert kept["client"]["scopes"] == ["models:write", "catalog:read"], "it keeps what it has, and gets what is ours"
    narrow = await administer(CREATE, token=("clients:admin",), input=SHOP)
    assert codes(narrow) == ["BEYOND_OWN_SCOPES"], "what counts is the token, not the client"


async def test_a_secret_is_changed_and_the_one_before_ends_after_the_overlap(administer: Any, gateway: Gateway) -> None:
    before = await make(gateway.pool, "shop", "events:write")
    made = await administer(ROTATE, id="shop")
    client = await client_by_id(gateway.pool, "shop")
    assert client is not None and client.secret_hash is not None
    assert PasswordHasher().verify(client.secret_hash, made["clientSecret"])
    assert client.previous_hash == before.secret_hash and made["oldSecretValidUntil"]
    for id, overlap, code in (
        ("nobody", 60, "NOT_FOUND"),
        ("shop", -1, "BAD_USER_INPUT"),
        ("shop", 2_592_001, "BAD_USER_INPUT"),
    ):
        assert codes(await administer(ROTATE, id=id, overlap=overlap)) == [code]


async def test_a_client_does_not_lock_itself_out_by_mistake(administer: Any, gateway: Gateway) -> None:
    await make(gateway.pool, "tests", *ADMIN)
    await make(gateway.pool, "shop", "events:write")
    assert codes(await administer(DISABLE, id="tests")) == ["OWN_CLIENT"]
    assert codes(await administer(SET_SCOPES, id="tests", scopes=["events:write"])) == ["OWN_CLIENT"]
    assert (await administer(DISABLE, id="shop"))["client"]["enabled"] is False
    assert codes(await administer(DISABLE, id="shop")) == ["NOT_FOUND"]
    assert (await administer(ENABLE, id="shop"))["client"] == {"id": "shop", "enabled": True, "disabledAt": None}
    assert codes(await administer(ENABLE, id="shop")) == ["NOT_FOUND"]
    assert codes(await administer(SET_SCOPES, id="tests", scopes=["events:write"], force=True)) == []
    assert (await administer(DISABLE, id="tests", force=True))["client"]["enabled"] is False


async def test_the_audit_trail_has_changes_and_counts_of_refusals_in_pages(administer: Any, gateway: Gateway) -> None:
    await make(gateway.pool, "shop", "events:write")
    await administer(SET_SCOPES, id="shop", scopes=["catalog:read"])
    for _ in range(2):
        await store_refusals(gateway.pool, {("shop", "invalid_client"): 3, ("nobody", "invalid_client"): 5})
    await administer(DISABLE, id="shop")
    await store_uses(gateway.pool, ["shop", "nobody"])
    first = await administer(AUDIT, id="shop", first=2)
    assert first["lastUsedAt"] is not None
    disabled, refused = first["audit"]["nodes"]
    assert (disabled["action"], disabled["by"]) == ("DISABLED", "tests")
    assert (refused["action"], refused["reason"], refused["count"], refused["by"]) == (
        "REFUSED",
        "invalid_client",
        6,
        None,
    )
    assert first["audit"]["pageInfo"]["hasNextPage"]
    rest = await administer(AUDIT, id="shop", after=first["audit"]["pageInfo"]["endCursor"])
    (changed,) = rest["audit"]["nodes"]
    assert (changed["scopesBefore"], changed["scopes"], changed["count"]) == (["events:write"], ["catalog:read"], None)
    assert await gateway.pool.fetchval("SELECT count(*) FROM oauth_client_audit WHERE client_id = 'nobody'") == 0
    assert await gateway.pool.fetchval("SELECT count(*) FROM oauth_client_uses") == 1


async def test_the_trails_of_many_clients_are_one_query(administer: Any, gateway: Gateway) -> None:
    for number in range(3):
        await administer(CREATE, input=SHOP | {"id": f"client-{number}"})
        await administer(DISABLE, id=f"client-{number}")
    reads: list[str] = []

    def note(record: Any) -> None:
        reads.append(record.query)

    query = "{ clients { nodes { id lastUsedAt audit(first: 1) { nodes { action } pageInfo { hasNextPage } } } } }"
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(gateway.pool.acquire()) for _ in range(gateway.pool.get_max_size())]
        for connection in held:
            connection.raw._con.add_query_logger(note)
    shown = await administer(query)
    assert {node["id"]: node["audit"]["nodes"] for node in shown["nodes"]} == {
        f"client-{number}": [{"action": "DISABLED"}] for number in range(3)
    }
    assert all(node["audit"]["pageInfo"]["hasNextPage"] for node in shown["nodes"])
    for table in ("FROM oauth_clients", "FROM oauth_client_uses", "FROM oauth_client_audit"):
        assert len([read for read in reads if table in read]) == 1, table


async def test_a_cursor_of_one_audit_trail_is_not_one_of_another(administer: Any, ask: Ask, gateway: Gateway) -> None:
    for id in ("shop", "other"):
        await administer(CREATE, input=SHOP | {"id": id})
    after = (await administer(AUDIT, id="shop"))["audit"]["pageInfo"]["endCursor"]
    assert (await ask(AUDIT, {"id": "other", "after": after}, scopes=ADMIN)).codes == ["BAD_USER_INPUT"]


async def test_clients_are_listed_in_pages(administer: Any, gateway: Gateway) -> None:
    for id in ("c", "a", "b"):
        await make(gateway.pool, id, "events:write")
    query = "query ($after: String) { clients(first: 2, after: $after) { nodes { id } pageInfo { endCursor } } }"
    first = await administer(query)
    rest = await administer(query, after=first["pageInfo"]["endCursor"])
    assert [node["id"] for page in (first, rest) for node in page["nodes"]] == ["a", "b", "c"]
    assert await administer("query ($id: ID!) { client(id: $id) { id } }", id="nobody") is None


@pytest.mark.parametrize("id", ["", "a" * 129, "\x00", "a\nb"])
async def test_what_can_be_no_id_is_refused_before_postgres_sees_it(administer: Any, ask: Ask, id: str) -> None:
    for query, more in ((ROTATE, {}), (DISABLE, {}), (ENABLE, {}), (SET_SCOPES, {"scopes": ["events:write"]})):
        assert codes(await administer(query, id=id, **more)) == ["BAD_USER_INPUT"]
    assert codes(await administer(CREATE, input=SHOP | {"id": id})) == ["BAD_USER_INPUT"]
    assert (await ask(AUDIT, {"id": id}, scopes=ADMIN)).codes == ["BAD_USER_INPUT"]


OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("{ clients { nodes { id } } }", {}),
    (AUDIT, {"id": "shop"}),
    (CREATE, {"input": SHOP}),
    (ROTATE, {"id": "shop"}),
    (DISABLE, {"id": "shop"}),
    (ENABLE, {"id": "shop"}),
    (SET_SCOPES, {"id": "shop", "scopes": ["events:write"]}),
]


@pytest.mark.parametrize(("query", "variables"), OPERATIONS)
async def test_persons_and_clients_without_the_scope_are_refused(
    ask: Ask, gateway: Gateway, query: str, variables: dict[str, Any]
) -> None:
    before = await make(gateway.pool, "shop", "events:write")
    others = [scope for scope in SCOPES if scope != "clients:admin"]
    assert (await ask(query, variables, scopes=others)).codes == ["FORBIDDEN"]
    anna = Person("user", "anna")
    assert (await ask(query, variables, person=anna, scopes=list(SCOPES))).codes == ["FORBIDDEN"]
    after = await client_by_id(gateway.pool, "shop")
    assert after is not None and (after.secret_hash, after.disabled_at) == (before.secret_hash, None)
