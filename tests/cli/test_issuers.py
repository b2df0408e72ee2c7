"""`penchant issuers`: registers, checks, disables and removes identity providers, and refuses what could not work."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import Result

from api.oauth.foreign.registration import MOST_ISSUERS
from db.issuers import list_issuers
from tests.cli.conftest import OnDatabase
from tests.commands import ROOT, invoke
from tests.identity_provider import AUDIENCE, IdentityProvider, identity_provider

URL = "https://id.shop.example/realms/shop"
RIGHT = ["--audience", AUDIENCE, "--scope", "recommendations:read events:write"]

pytestmark = pytest.mark.usefixtures("pool", "database")


def run(*arguments: str) -> Result:
    return invoke("issuers", *arguments)


@pytest.fixture
def stored(on_database: OnDatabase) -> Any:
    """Reads all issuers."""
    return lambda: on_database(list_issuers)


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as started:
        yield started


def test_an_issuer_is_registered_with_every_option(stored: Any) -> None:
    invoke("clients", "create", "shop", "--grant", "client_credentials", "--scope", "events:write orders:write")
    result = run(
        *["add", URL, "--audience", AUDIENCE, "--subject-claim", "https://shop.example/id", "--client", "shop"],
        *["--scope", "events:write orders:write", "--scope-claim", "scp", "--jwks-url", URL + "/certs?v=1"],
        *["--algorithm", "ES256", "--algorithm", "RS256", "--algorithm", "ES256"],
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"penchant issuers check {URL}" in result.stdout
    (issuer,) = stored()
    assert (issuer.url, issuer.audience, issuer.client_id) == (URL, AUDIENCE, "shop")
    assert (issuer.subject_claim, issuer.scope_claim) == ("https://shop.example/id", "scp")
    assert (issuer.scopes, issuer.algorithms) == (("events:write", "orders:write"), ("ES256", "RS256"))
    assert issuer.jwks_url == URL + "/certs?v=1"
    assert json.loads(run("list", "--json").stdout)[0]["scope_claim"] == "scp"


def test_what_is_left_out_has_plain_defaults(stored: Any) -> None:
    shown = json.loads(run("add", URL, *RIGHT, "--json").stdout)
    (issuer,) = stored()
    assert (issuer.subject_claim, issuer.algorithms) == ("sub", ("RS256",))
    assert issuer.scope_claim is issuer.jwks_url is issuer.client_id is None
    assert shown == json.loads(run("list", "--json").stdout)[0]
    assert run("list").stdout == f"{URL}  enabled  {AUDIENCE}  recommendations:read events:write\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["http://id.shop.example", *RIGHT], "url"),
        (["ftp://127.0.0.1", *RIGHT], "url"),
        (["id.shop.example", *RIGHT], "url"),
        (["https://", *RIGHT], "url"),
        (["https://id.shop.example:99999", *RIGHT], "url"),
        (["https://[::1", *RIGHT], "url"),
        (["https://user:word@id.shop.example", *RIGHT], "url"),
        (["https://id.shop.example?a=1", *RIGHT], "query"),
        (["https://id.shop.example?", *RIGHT], "query"),
        (["https://id.shop.example#a", *RIGHT], "url"),
        (["https://id.shop.example/a b", *RIGHT], "url"),
        (["https://id.shop.example\\@attacker.example", *RIGHT], "url"),
        (["https://id.shop.example/" + "x" * 500, *RIGHT], "url"),
        (["https://id.shop.example/" + "x" * 128, *RIGHT], "--client"),
        ([URL, "--audience", "", "--scope", "events:write"], "audience"),
        ([URL, "--audience", "a b", "--scope", "events:write"], "audience"),
        ([URL, "--audience", "x" * 513, "--scope", "events:write"], "audience"),
        ([URL, "--audience", AUDIENCE, "--scope", ""], "at least one scope"),
        ([URL, "--audience", AUDIENCE, "--scope", "catalog:write"], "catalog:write"),
        ([URL, "--audience", AUDIENCE, "--scope", "events:write no:such"], "no:such"),
        ([URL, "--audience", AUDIENCE, "--scope", "events:write  events:write"], "Scopes"),
        ([URL, *RIGHT, "--subject-claim", ""], "claim"),
        ([URL, *RIGHT, "--subject-claim", "a b"], "claim"),
        ([URL, *RIGHT, "--subject-claim", "client_id"], "no person"),
        ([URL, *RIGHT, "--scope-claim", "x" * 129], "claim"),
        ([URL, *RIGHT, "--algorithm", "HS256"], "algorithm"),
        ([URL, *RIGHT, "--algorithm", "none"], "algorithm"),
        ([URL, *RIGHT, "--jwks-url", "http://id.shop.example/keys"], "jwks-url"),
        ([URL, *RIGHT, "--jwks-url", "http://127.0.0.1/keys"], "https"),
        ([URL, *RIGHT, "--jwks-url", "file:///etc/passwd"], "jwks-url"),
        ([URL, *RIGHT, "--client", "nobody"], "nobody"),
    ],
)
def test_an_issuer_that_would_be_unsafe_or_could_not_work_is_refused(
    arguments: list[str], named: str, stored: Any
) -> None:
    result = run("add", *arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert stored() == []


def test_an_issuer_gives_no_scope_that_its_client_lacks(stored: Any) -> None:
    invoke("clients", "create", "shop", "--grant", "client_credentials", "--scope", "events:write")
    result = run("add", URL, *RIGHT, "--client", "shop")
    assert result.exit_code == 2 and "recommendations:read" in result.stderr
    invoke("clients", "disable", "shop")
    assert run("add", URL, "--audience", "a", "--scope", "events:write", "--client", "shop").exit_code == 2
    assert stored() == []


def test_an_issuer_is_registered_once_and_there_are_not_too_many(stored: Any) -> None:
    assert run("add", URL, *RIGHT).exit_code == 0
    again = run("add", URL, "--audience", "another", "--scope", "events:write")
    assert again.exit_code == 1 and "already" in again.stderr
    assert stored()[0].audience == AUDIENCE
    for number in range(MOST_ISSUERS - 1):
        assert run("add", f"https://id{number}.example", *RIGHT).exit_code == 0
    full = run("add", "https://one-more.example", *RIGHT)
    assert full.exit_code == 1 and str(MOST_ISSUERS) in full.stderr


def test_an_issuer_is_disabled_enabled_and_removed(stored: Any) -> None:
    run("add", URL, *RIGHT)
    for command, state in (("disable", "disabled"), ("enable", "enabled")):
        assert run(command, URL).exit_code == 0
        assert json.loads(run("list", "--json").stdout)[0]["state"] == state
        assert run(command, URL).exit_code == 1
    assert run("remove", URL).exit_code == 0
    assert stored() == []
    for command in ("disable", "enable", "remove", "check"):
        assert run(command, URL).exit_code == 1


def test_check_reads_the_keys_and_shows_them(provider: IdentityProvider) -> None:
    run("add", provider.url, *RIGHT)
    provider.cache_control = "max-age=1200"
    shown = json.loads(run("check", provider.url, "--json").stdout)
    assert shown["keys"] == [{"kid": "k1", "algorithm": "RS256"}]
    assert (shown["keys_from"], shown["read_again_after"], shown["unusable"]) == (f"{provider.url}/keys", 1200, [])
    text = run("check", provider.url).stdout
    assert "k1  RS256" in text and f"{provider.url}/keys" in text


def test_the_commands_and_options_of_the_documentation_exist(stored: Any) -> None:
    page = (ROOT / "docs" / "auth" / "own-provider.md").read_text()
    block = page.split("```")[1].replace("\\\n", " ")
    add, check = (shlex.split(line)[2:] for line in block.strip().splitlines())
    assert run(*add).exit_code == 0
    assert stored()[0].url == check[1]
    documented = set(re.findall(r"^\| `(--[a-z-]+)`", page, re.MULTILINE))
    shown = run("add", "--help").stdout
    assert documented == set(re.findall(r"--[a-z]+(?:-[a-z]+)*", shown)) - {"--json", "--help"}


def test_check_says_what_is_wrong(provider: IdentityProvider) -> None:
    run("add", provider.url + "/", *RIGHT)
    wrong_name = run("check", provider.url + "/")
    assert wrong_name.exit_code == 1 and f"Its `issuer` is not {provider.url}/" in wrong_name.stderr
    run("add", provider.url, *RIGHT, "--algorithm", "ES256")
    no_key = run("check", provider.url)
    assert no_key.exit_code == 1 and "k1: It is not for ES256" in no_key.stderr
    provider.stop()
    away = run("check", provider.url)
    assert away.exit_code == 1 and "ConnectError" in away.stderr
