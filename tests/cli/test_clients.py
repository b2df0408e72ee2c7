"""`penchant clients`: registers, lists and disables clients, refuses wrong input, and never shows a stored secret."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from typer.testing import Result

from db.clients import list_clients
from tests.cli.conftest import OnDatabase
from tests.commands import invoke

MACHINE = ["--grant", "client_credentials", "--scope", "events:write"]


pytestmark = pytest.mark.usefixtures("pool", "database")


def run(*arguments: str, stdin: str = "") -> Result:
    return invoke("clients", *arguments, stdin=stdin)


@pytest.fixture
def stored(on_database: OnDatabase) -> Any:
    """Reads all clients."""
    return lambda: on_database(list_clients)


def test_a_client_is_registered_with_every_option(stored: Any) -> None:
    result = run(
        *["create", "shop", "--secret-stdin", "--grant", "client_credentials", "--grant", "token-exchange"],
        *["--scope", "events:write recommendations:read", "--ttl", "120", "--origin", "https://Shop.example:443"],
        *["--origin", "http://localhost:3000", "--redirect-uri", "https://shop.example/back?a=1"],
        stdin="a-secret-from-stdin\n",
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "client_id: shop\n"
    (client,) = stored()
    assert client.grants == ("client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange")
    assert client.scopes == ("events:write", "recommendations:read")
    assert client.origins == ("https://shop.example", "http://localhost:3000")
    assert client.redirect_uris == ("https://shop.example/back?a=1",)
    assert client.access_ttl == 120
    assert PasswordHasher().verify(client.secret_hash, "a-secret-from-stdin")


def test_a_secret_is_made_and_shown_once(stored: Any) -> None:
    made = json.loads(run("create", "shop", *MACHINE, "--json").stdout)
    assert len(made["client_secret"]) >= 43
    (client,) = stored()
    assert PasswordHasher().verify(client.secret_hash, made["client_secret"])
    assert made["client_secret"] not in run("list").stdout + run("list", "--json").stdout
    assert "argon2" not in run("list", "--json").stdout


def test_a_client_id_can_be_registered_once(stored: Any) -> None:
    assert run("create", "shop", *MACHINE).exit_code == 0
    before = stored()
    again = run("create", "shop", *MACHINE, "--ttl", "60")
    assert again.exit_code == 1
    assert "already" in again.stderr
    assert stored() == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["create", "", *MACHINE], "client id"),
        (["create", "a b", *MACHINE], "client id"),
        (["create", "a:b", *MACHINE], "client id"),
        (["create", "a" * 129, *MACHINE], "client id"),
        (["create", "shop", "--grant", "password", "--scope", ""], "Unknown grant"),
        (["create", "shop", "--grant", "client_credentials", "--scope", "no:such"], "no:such"),
        (["create", "shop", *MACHINE, "--ttl", "4"], "5 to 86400"),
        (["create", "shop", *MACHINE, "--ttl", "86401"], "5 to 86400"),
        (["create", "shop", *MACHINE, "--origin", "*"], "origin"),
        (["create", "shop", *MACHINE, "--origin", "null"], "origin"),
        (["create", "shop", *MACHINE, "--origin", "https://*.shop.example"], "origin"),
        (["create", "shop", *MACHINE, "--origin", "https://shop.example/"], "origin"),
        (["create", "shop", *MACHINE, "--origin", "https://shop.example:99999"], "origin"),
        (["create", "shop", *MACHINE, "--origin", "https://a@shop.example"], "origin"),
        (["create", "shop", *MACHINE, "--origin", "https://[::1"], "origin"),
        (["create", "shop", *MACHINE, "--redirect-uri", "http://shop.example/back"], "redirect"),
        (["create", "shop", *MACHINE, "--redirect-uri", "javascript:alert(1)"], "redirect"),
        (["create", "shop", *MACHINE, "--redirect-uri", "https://shop.example/#x"], "redirect"),
        (["create", "shop", *MACHINE, "--redirect-uri", "https:///back"], "redirect"),
        (["create", "shop", *MACHINE, "--redirect-uri", "https://[::1/back"], "redirect"),
        (["create", "shop", *MACHINE, "--redirect-uri", "https://shop.example/a b"], "redirect"),
    ],
)
def test_a_client_that_could_never_work_is_refused(arguments: list[str], named: str, stored: Any) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert named in result.stderr
    assert stored() == []


@pytest.mark.parametrize("secret", ["", "short", "has a space in it", "x" * 257, "ümlaut-ümlaut-ümlaut"])
def test_a_weak_or_odd_secret_is_refused_and_not_repeated(secret: str, stored: Any) -> None:
    result = run("create", "shop", *MACHINE, "--secret-stdin", stdin=secret + "\n")
    assert result.exit_code == 2
    assert not secret or secret not in result.output
    assert stored() == []


def test_redirects_may_go_to_the_scheme_of_an_app_or_to_this_machine(stored: Any) -> None:
    for uri in ("com.shop.app:/back", "http://127.0.0.1:9000/back"):
        assert run("create", f"c{len(stored())}", *MACHINE, "--redirect-uri", uri).exit_code == 0


def test_a_new_secret_leaves_the_old_one_valid_for_the_overlap(stored: Any) -> None:
    run("create", "shop", *MACHINE, "--secret-stdin", stdin="the-first-secret\n")
    made = json.loads(run("rotate", "shop", "--overlap", "3600", "--json").stdout)
    (client,) = stored()
    assert PasswordHasher().verify(client.secret_hash, made["client_secret"])
    assert PasswordHasher().verify(client.previous_hash, "the-first-secret")
    assert timedelta(minutes=59) < client.previous_until - datetime.now(UTC) < timedelta(minutes=61)
    assert json.loads(run("list", "--json").stdout)[0]["old_secret_valid_until"] == made["old_secret_valid_until"]
    again = run("rotate", "shop", "--overlap", "0", "--secret-stdin", stdin="the-third-secret\n")
    assert again.exit_code == 0 and "the-third-secret" not in again.output
    (client,) = stored()
    assert PasswordHasher().verify(client.secret_hash, "the-third-secret")
    assert client.previous_hash is client.previous_until is None, "without an overlap the old secret ends at once"


def test_a_secret_can_be_changed_for_enabled_clients_only(stored: Any) -> None:
    run("create", "shop", *MACHINE)
    before = stored()
    assert run("rotate", "nobody").exit_code == 1
    assert run("rotate", "shop", "--secret-stdin", stdin="short\n").exit_code == 2
    assert stored() == before
    run("disable", "shop")
    assert run("rotate", "shop").exit_code == 1


def test_a_disabled_client_shows_as_disabled(stored: Any) -> None:
    run("create", "shop", *MACHINE)
    assert run("disable", "shop").exit_code == 0
    assert json.loads(run("list", "--json").stdout)[0]["state"] == "disabled"
    assert "disabled" in run("list").stdout
    for client_id in ("shop", "nobody"):
        assert run("disable", client_id).exit_code == 1


def test_the_database_of_the_demo_is_used_inside_its_checkout(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    monkeypatch.delenv("PENCHANT_POSTGRES_URL")
    (tmp_path / ".penchant").mkdir()
    (tmp_path / ".penchant" / "demo.json").write_text(json.dumps({"postgres_url": postgres_url}))
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert run("create", "shop", *MACHINE).exit_code == 0
    assert [client.id for client in stored()] == ["shop"]


def test_a_missing_or_unreachable_database_is_an_error_that_hides_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENCHANT_POSTGRES_URL")
    nowhere = run("list")
    assert nowhere.exit_code == 2
    assert "PENCHANT_POSTGRES_URL" in nowhere.stderr
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", "postgresql://me:hush-hush@127.0.0.1:1/x")
    closed = run("list")
    assert closed.exit_code == 3
    assert "hush-hush" not in closed.output
