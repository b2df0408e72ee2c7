"""Certified and widely used OAuth clients in JavaScript get through every flow against a real gateway."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from api.oauth.clients.registration import register
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from tests.commands import ROOT
from tests.fixtures.node import TIMEOUT, start_node
from tests.people import LOGIN, PASSWORD, USER, Person, create_person
from tests.running import SECRET, Running, reserved_port, running_issuer

pytestmark = pytest.mark.node

SCOPE = "openid offline_access recommendations:read"
BROWSER = f"""#!{sys.executable}
import sys
import httpx
sys.path.insert(0, {str(ROOT)!r})
from tests.people import Person
httpx.get(Person().visit(sys.argv[1]), timeout=30)
"""


@pytest.fixture
def issuer(stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path) -> Iterator[Running]:
    """A gateway with the account of one person."""
    with running_issuer(stores, tmp_path / "gateway.log") as gateway:
        yield gateway


def result(process: Any) -> dict[str, Any]:
    """What a script printed last, as JSON."""
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output[-2_000:] + errors
    return dict(json.loads(output.splitlines()[-1]))


async def test_appauth_signs_a_person_in_and_refreshes_and_revokes(
    issuer: Running, pool: Pool, clients_in_js: Path, tmp_path: Path
) -> None:
    await create_person(pool)
    app = register(
        "app",
        grants=["authorization_code", "refresh_token"],
        scope=SCOPE,
        redirect_uris=["http://127.0.0.1"],  # any port
    )
    assert await create_client(pool, app)
    opener = tmp_path / "bin" / "xdg-open"  # what AppAuth opens a browser with
    opener.parent.mkdir()
    opener.write_text(BROWSER)
    opener.chmod(0o755)
    with reserved_port() as port:
        script = clients_in_js / "appauth.mjs"
        got = result(start_node(script, issuer.url, "app", str(port), SCOPE, path=opener.parent))
    assert got["stateKept"] and got["revoked"]
    assert got["first"]["refreshToken"] != got["second"]["refreshToken"]
    assert got["first"]["idToken"]
    assert got["first"]["scope"].split() == SCOPE.split()


async def test_openid_client_does_all_that_the_metadata_offers(
    issuer: Running, pool: Pool, clients_in_js: Path
) -> None:
    await create_person(pool)
    redirect_uri = "https://shop.example/signed-in"
    grants = ["authorization_code", "refresh_token", "client_credentials"]
    scope = f"{SCOPE} catalog:read"
    assert await create_client(
        pool, register("web", SECRET, grants=grants, scope=scope, redirect_uris=[redirect_uri], first_party=True)
    )
    key = RSAKey.generate_key(2048, {"alg": "RS256", "use": "sig"})
    key.ensure_kid()
    jwks = json.dumps({"keys": [key.as_dict(private=False)]})
    assert await create_client(
        pool, register("partner", grants=["client_credentials"], scope="catalog:read", jwks=jwks)
    )
    task = {
        "issuer": issuer.url,
        "web": {"id": "web", "secret": SECRET, "redirectUri": redirect_uri, "scope": SCOPE, "ownScope": "catalog:read"},
        "partner": {"id": "partner", "key": key.as_dict(private=True), "scope": "catalog:read"},
    }
    process = start_node(clients_in_js / "openid_client.mjs")
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    address = process.stdout.readline()
    assert address.startswith(f"{issuer.url}/oauth/authorize?"), process.communicate(timeout=TIMEOUT)
    person = Person(LOGIN, PASSWORD)
    process.stdin.write(person.visit(address.strip()) + "\n")
    process.stdin.flush()
    got = result(process)
    assert person.pages == ["/login"], "the shop's own client needs no consent"
    assert got["first"]["claims"]["sub"] == USER
    assert got["second"]["refresh_token"] != got["first"]["refresh_token"]
    assert got["seen"]["active"] and got["seen"]["sub"] == USER and got["seen"]["client_id"] == "web"
    assert got["afterwards"] == {"active": False}
    assert got["byKey"]["scope"] == got["bySecret"]["scope"] == "catalog:read"
    assert got["endSession"] == f"{issuer.url}/oauth/logout"
