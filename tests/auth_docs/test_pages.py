"""Every block of code on the pages about tokens that can run here does what the page says."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.postgres import Pool
from tests.auth_docs.pages import PRINTED_URL, Reader, blocks
from tests.commands import ROOT
from tests.people import Person, tokens_of
from tests.running import Running, environment, running_issuer

PAGES = ["auth.md", *sorted(f"auth/{page.name}" for page in (ROOT / "docs" / "auth").glob("*.md"))]
ELSEWHERE = {"swift", "kotlin"}  # languages that do not run here


@pytest.fixture
def gateway(stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path) -> Iterator[Running]:
    """A gateway without clients."""
    with running_issuer(stores, tmp_path / "gateway.log") as running:
        yield running


@pytest.fixture
def reader(gateway: Running, stores: Stores, tmp_path: Path) -> Reader:
    """A reader beside that gateway."""
    return Reader(gateway.url, tmp_path, environment(stores))


def remember_secret(reader: Reader, printed: str) -> None:
    """Set $SECRET to the secret that a command printed."""
    found = re.search(r"^client_secret: (\S+)$", printed, re.MULTILINE)
    assert found, printed
    reader.variables["SECRET"] = found[1]


def me(reader: Reader, token: str) -> dict[str, Any]:
    """The person of a token, as the gateway sees them."""
    headers = {"authorization": f"Bearer {token}"}
    answer = httpx.post(f"{reader.url}/graphql", json={"query": "{ me { id } }"}, headers=headers, timeout=30)
    return dict(answer.json()["data"]["me"])


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_only_blocks_that_a_test_runs_or_that_cannot_run_here(page: str) -> None:
    counted = {name: len(blocks(page, name)) for name in ("sh", "python", "js", *ELSEWHERE)}
    assert sum(counted.values()) == len(blocks(page)), "a block of another language"
    assert counted == {**dict.fromkeys(counted, 0), **EXPECTED[page]}, "add the new block to a test below"


EXPECTED: dict[str, dict[str, int]] = {
    "auth.md": {"sh": 4},
    "auth/accounts.md": {"sh": 1},
    "auth/mobile.md": {"sh": 1, "swift": 1, "kotlin": 1},
    "auth/own-provider.md": {},
    "auth/partner.md": {"sh": 3, "python": 3, "js": 2},
    "auth/web.md": {"sh": 2, "python": 1, "js": 2},
}


async def test_the_first_page_gets_a_token_in_two_minutes(reader: Reader, pool: Pool) -> None:
    await upsert_items(pool, [{"id": "milk", "title": "Milk", "updated_at": clock.now()}])
    register, ask, query, end = blocks("auth.md", "sh")
    remember_secret(reader, reader.sh(register))
    granted = json.loads(reader.sh(ask))
    assert granted["expires_in"] == 3600
    reader.variables["TOKEN"] = granted["access_token"]
    assert "errors" not in json.loads(reader.sh(query))
    introspect, revoke = end.splitlines()
    assert json.loads(reader.sh(introspect))["active"] is True
    assert json.loads(reader.sh(revoke)) == {}
    assert json.loads(reader.sh(introspect)) == {"active": False}


def test_a_web_shops_server_gets_a_token_of_one_person_in_python(reader: Reader) -> None:
    register = blocks("auth/web.md", "sh")[0]
    remember_secret(reader, reader.sh(register))
    (server,) = blocks("auth/web.md", "python")
    granted = ast.literal_eval(reader.python(server))
    assert granted["expires_in"] == 900
    assert me(reader, granted["access_token"]) == {"id": "17850"}


def test_people_sign_in_to_a_web_shop_whose_client_has_a_secret(reader: Reader) -> None:
    remember_secret(reader, reader.sh(blocks("auth/web.md", "sh")[1]))
    reader.sh(blocks("auth/accounts.md", "sh")[0])
    person, secret = Person("anna@shop.example", "correct horse battery"), reader.variables["SECRET"]
    got = tokens_of(
        person, reader.url, "web-login", "https://www.shop.example/signed-in", "openid recommendations:read", secret
    )
    assert me(reader, got["access_token"])["id"] == "17850"


@pytest.mark.node
def test_a_web_shops_server_and_page_get_lists_in_node(reader: Reader, clients_in_js: Path) -> None:
    register = blocks("auth/web.md", "sh")[0]
    remember_secret(reader, reader.sh(register))
    server, page = blocks("auth/web.md", "js")
    granted = json.loads(reader.js(server, clients_in_js))
    assert granted["expires_in"] == 900
    asked = f"{page}\nconsole.log(JSON.stringify(await recommendations({json.dumps(granted['access_token'])}, 3)));"
    assert json.loads(reader.js(asked, clients_in_js)) == []
    refused = f"{page}\nconsole.log(JSON.stringify(await recommendations('wrong', 3)));"
    assert json.loads(reader.js(refused, clients_in_js)) is None


def test_a_partner_uploads_in_python(reader: Reader) -> None:
    register, curl, _ = blocks("auth/partner.md", "sh")
    remember_secret(reader, reader.sh(register))
    assert json.loads(reader.sh(curl))["scope"] == "catalog:write"
    assert ast.literal_eval(reader.python(blocks("auth/partner.md", "python")[0]))["accepted"] == 1


@pytest.mark.node
def test_a_partner_uploads_in_node(reader: Reader, clients_in_js: Path) -> None:
    remember_secret(reader, reader.sh(blocks("auth/partner.md", "sh")[0]))
    assert json.loads(reader.js(blocks("auth/partner.md", "js")[0], clients_in_js))["accepted"] == 1


def test_a_partner_with_a_key_gets_a_token_in_python(reader: Reader) -> None:
    _, make_key, ask = blocks("auth/partner.md", "python")
    reader.python(make_key)
    assert "client_secret" not in reader.sh(blocks("auth/partner.md", "sh")[2])
    granted = ast.literal_eval(reader.python(ask))
    assert granted["scope"] == "catalog:write" and granted["expires_in"] == 3600


@pytest.mark.node
def test_a_partner_with_a_key_gets_a_token_in_node(reader: Reader, clients_in_js: Path) -> None:
    reader.python(blocks("auth/partner.md", "python")[1])
    reader.sh(blocks("auth/partner.md", "sh")[2])
    assert json.loads(reader.js(blocks("auth/partner.md", "js")[1], clients_in_js))["scope"] == "catalog:write"


def test_a_person_with_an_account_signs_in_to_the_app_with_the_settings_of_its_page(reader: Reader) -> None:
    """The settings table, the code for both systems, the metadata and the client that was registered agree."""
    table = dict(
        re.findall(r"^\| ([\w ]+) \| `([^`]+)`", (ROOT / "docs" / "auth" / "mobile.md").read_text(), re.MULTILINE)
    )
    metadata = httpx.get(f"{reader.url}/.well-known/openid-configuration", timeout=30).json()
    assert table["issuer"].replace(PRINTED_URL, reader.url) == metadata["issuer"]
    assert table["response type"] in metadata["response_types_supported"]
    assert table["PKCE"] in metadata["code_challenge_methods_supported"]
    assert table["token endpoint authentication"] in metadata["token_endpoint_auth_methods_supported"]
    assert set(table["scopes"].split()) <= set(metadata["scopes_supported"])
    assert {"authorization_endpoint", "revocation_endpoint", "end_session_endpoint"} <= metadata.keys()
    for code in (*blocks("auth/mobile.md", "swift"), *blocks("auth/mobile.md", "kotlin")):
        for setting in (table["issuer"], table["client id"], table["redirect URI"], *table["scopes"].split()):
            assert f'"{setting}"' in code

    assert "client_secret" not in reader.sh(blocks("auth/mobile.md", "sh")[0])
    assert "correct horse" not in reader.sh(blocks("auth/accounts.md", "sh")[0])
    person = Person("anna@shop.example", "correct horse battery")
    got = tokens_of(person, reader.url, table["client id"], table["redirect URI"], table["scopes"])
    assert person.pages == ["/login"], "the shop's own app needs no consent"
    assert got["scope"] == table["scopes"] and got["id_token"]
    assert me(reader, got["access_token"]) == {"id": "17850"}
    ended = {"id_token_hint": got["id_token"], "post_logout_redirect_uri": table["end of session"], "state": "s"}
    assert (
        person.visit(f"{metadata['end_session_endpoint']}?{urlencode(ended)}") == f"{table['end of session']}?state=s"
    )
