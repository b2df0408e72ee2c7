"""`penchant clients`: registers, lists and disables clients, refuses wrong input, and never shows a stored secret."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from joserfc.jwk import ECKey
from typer.testing import Result

from db.client_audit import MOST_CHANGES, AuditAction, record_change
from db.clients import list_clients
from db.deprecated_uses import store_deprecated_uses
from db.postgres import Pool
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
    made = json.loads(run("rotate-secret", "shop", "--overlap", "3600", "--json").stdout)
    (client,) = stored()
    assert PasswordHasher().verify(client.secret_hash, made["client_secret"])
    assert PasswordHasher().verify(client.previous_hash, "the-first-secret")
    assert timedelta(minutes=59) < client.previous_until - datetime.now(UTC) < timedelta(minutes=61)
    assert json.loads(run("list", "--json").stdout)[0]["old_secret_valid_until"] == made["old_secret_valid_until"]
    again = run("rotate-secret", "shop", "--overlap", "0", "--secret-stdin", stdin="the-third-secret\n")
    assert again.exit_code == 0 and "the-third-secret" not in again.output
    (client,) = stored()
    assert PasswordHasher().verify(client.secret_hash, "the-third-secret")
    assert client.previous_hash is client.previous_until is None, "without an overlap the old secret ends at once"


def test_a_secret_can_be_changed_for_enabled_clients_only(stored: Any) -> None:
    run("create", "shop", *MACHINE)
    before = stored()
    assert run("rotate-secret", "nobody").exit_code == 1
    assert run("rotate-secret", "shop", "--secret-stdin", stdin="short\n").exit_code == 2
    assert stored() == before
    run("disable", "shop")
    assert run("rotate-secret", "shop").exit_code == 1


def test_a_disabled_client_shows_as_disabled(stored: Any) -> None:
    run("create", "shop", *MACHINE)
    assert run("disable", "shop").exit_code == 0
    assert json.loads(run("list", "--json").stdout)[0]["state"] == "disabled"
    assert "disabled" in run("list").stdout
    for client_id in ("shop", "nobody"):
        assert run("disable", client_id).exit_code == 1


def test_the_earlier_name_of_rotate_secret_says_that_it_is_deprecated(stored: Any) -> None:
    run("create", "shop", *MACHINE)
    result = run("rotate", "shop")
    assert result.exit_code == 0 and "rotate-secret" in result.stderr and "client_secret: " in result.stdout
    assert "rotate " not in run("--help").stdout


def test_an_app_is_registered_without_a_secret_and_a_partner_with_public_keys(stored: Any, folder: Path) -> None:
    back = ["--redirect-uri", "com.shop.app:/back", "--post-logout-uri", "https://shop.example/bye"]
    flow = [
        "--grant",
        "authorization_code",
        "--grant",
        "refresh_token",
        "--scope",
        "openid offline_access events:write",
    ]
    app = run("create", "app", "--public", *flow, *back, "--name", "The Shop", "--first-party", "--ttl", "5", "--json")
    assert (app.exit_code, json.loads(app.stdout)) == (0, {"client_id": "app"})
    (folder / "keys.json").write_text(json.dumps({"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}))
    partner = run("create", "partner", *MACHINE, "--jwks", "keys.json")
    assert (partner.exit_code, partner.stdout) == (0, "client_id: partner\n")
    first, second = stored()
    assert (first.public, first.name, first.first_party, first.access_ttl) == (True, "The Shop", True, 5)
    assert first.post_logout_redirect_uris == ("https://shop.example/bye",)
    assert (second.public, second.secret_hash, len(second.jwks["keys"])) == (False, None, 1)
    for wrong in (["--jwks", "none.json"], ["--jwks", "keys.json", "--public"], ["--public", "--secret-stdin"]):
        assert run("create", "third", *MACHINE, *wrong).exit_code == 2
    assert run("create", "third", "--public", *MACHINE).exit_code == 2, "a public client has no token of its own"


def audit(client_id: str) -> list[dict[str, Any]]:
    """The audit trail of a client, oldest first."""
    entries = json.loads(run("show", client_id, "--json").stdout)["audit"]
    return list(reversed(entries))


def test_the_audit_trail_says_what_was_done_to_a_client_and_by_whom(stored: Any) -> None:
    secret = json.loads(run("create", "shop", *MACHINE, "--json").stdout)["client_secret"]
    secret += json.loads(run("rotate-secret", "shop", "--json").stdout)["client_secret"]
    assert run("scopes", "shop", "--scope", "catalog:read events:write").exit_code == 0
    assert run("scopes", "shop", "--scope", "events:write catalog:read").exit_code == 0, "which changes nothing"
    for command in ("disable", "enable"):
        assert run(command, "shop").exit_code == 0
    trail = audit("shop")
    assert [entry["action"] for entry in trail] == [
        "CREATED", "SECRET_ROTATED", "SCOPES_CHANGED", "DISABLED", "ENABLED"
    ]  # fmt: skip
    for entry, command in zip(trail, ("create", "rotate-secret", "scopes", "disable", "enable"), strict=True):
        assert entry["by"].startswith(f"penchant clients {command}")
    assert (trail[2]["scopes_before"], trail[2]["scopes"]) == ("events:write", "catalog:read events:write")
    shown = run("show", "shop").stdout
    assert "SCOPES_CHANGED" in shown and "last_used_at: \n" in shown
    assert secret[:43] not in shown and "argon2" not in shown
    assert len(json.loads(run("show", "shop", "--last", "2", "--json").stdout)["audit"]) == 2


def test_what_is_refused_leaves_no_entry(stored: Any) -> None:
    run("create", "shop", *MACHINE)
    for refused in (["create", "shop", *MACHINE], ["enable", "shop"], ["show", "nobody"], ["scopes", "nobody"]):
        assert run(*refused).exit_code == 1
    for wrong in (["scopes", "shop", "--scope", "no:such"], ["rotate-secret", "shop", "--overlap", "-1"]):
        assert run(*wrong).exit_code == 2
    assert [entry["action"] for entry in audit("shop")] == ["CREATED"]
    assert run("scopes", "shop").stdout == "client_id: shop\nscope: events:write\n"


def test_the_oldest_changes_beyond_a_thousand_are_forgotten(stored: Any, on_database: OnDatabase) -> None:
    run("create", "shop", *MACHINE)

    async def many(pool: Pool) -> int:
        for _ in range(MOST_CHANGES + 5):
            await record_change(pool, "shop", AuditAction.DISABLED, "test")
        await record_change(pool, "other", AuditAction.CREATED, "test")
        kept: int = await pool.fetchval("SELECT count(*) FROM oauth_client_audit WHERE client_id = 'shop'")
        return kept

    assert on_database(many) == MOST_CHANGES
    assert audit("shop")[0]["action"] == "DISABLED"


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


def test_usage_shows_which_deprecated_parts_a_client_uses(on_database: OnDatabase) -> None:
    assert run("usage").stdout == "No client used anything deprecated in the last 90 days.\n"
    on_database(lambda pool: store_deprecated_uses(pool, {("web", "ItemInput.imageUrl"): 7, ("app", "A.b"): 1}))
    assert "ItemInput.imageUrl  web  7 operations  last " in run("usage").stdout
    (use,) = json.loads(run("usage", "web", "--days", "1", "--json").stdout)
    assert (use["part"], use["client_id"], use["operations"]) == ("ItemInput.imageUrl", "web", 7)
    assert use["since"] <= use["last_used_at"]
    assert json.loads(run("usage", "nobody", "--json").stdout) == []
