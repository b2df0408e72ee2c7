"""`penchant accounts`: creates, lists, disables accounts, sets passwords, and never shows a stored one."""

import json
from typing import Any

import pytest
from argon2 import PasswordHasher
from typer.testing import Result

from db.accounts import list_accounts
from tests.cli.conftest import OnDatabase
from tests.commands import invoke

pytestmark = pytest.mark.usefixtures("pool", "database")


def run(*arguments: str, stdin: str = "") -> Result:
    return invoke("accounts", *arguments, stdin=stdin)


@pytest.fixture
def stored(on_database: OnDatabase) -> Any:
    """Reads all accounts."""
    return lambda: on_database(list_accounts)


def test_an_account_is_created_with_a_given_password(stored: Any) -> None:
    result = run("create", " Anna@Example.org ", "--user", "anna", "--password-stdin", stdin="caf\u00e9 au lait\n")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "login: Anna@Example.org\nuser_id: anna\n"
    (account,) = stored()
    assert (account.login_key, account.user_id, account.disabled_at) == ("anna@example.org", "anna", None)
    assert PasswordHasher().verify(account.password_hash, "caf\u00e9 au lait")
    assert account.password_hash.startswith("$argon2id$")


def test_a_password_is_made_and_shown_once(stored: Any) -> None:
    made = json.loads(run("create", "anna", "--user", "u-1", "--json").stdout)
    assert made.keys() == {"login", "user_id", "password"} and len(made["password"]) >= 24
    (account,) = stored()
    assert PasswordHasher().verify(account.password_hash, made["password"])
    listed = json.loads(run("list", "--json").stdout)
    assert [(one["login"], one["user_id"], one["state"]) for one in listed] == [("anna", "u-1", "enabled")]
    assert "argon2" not in run("list", "--json").stdout + run("list").stdout
    changed = json.loads(run("set-password", "ANNA", "--json").stdout)
    assert changed["password"] != made["password"]
    assert PasswordHasher().verify(stored()[0].password_hash, changed["password"])


def test_an_account_is_disabled_and_enabled(stored: Any) -> None:
    run("create", "anna", "--user", "u-1")
    for command, state in (("disable", "disabled"), ("enable", "enabled")):
        assert json.loads(run(command, "Anna", "--json").stdout)["state"] == state
        assert f"anna  {state}  u-1" in run("list").stdout
        again = run(command, "anna")
        assert again.exit_code == 1 and "There is no" in again.stderr


def test_a_name_and_a_user_have_one_account(stored: Any) -> None:
    assert run("create", "anna", "--user", "u-1").exit_code == 0
    for name, user in (("ANNA", "u-2"), ("other", "u-1")):
        again = run("create", name, "--user", user)
        assert again.exit_code == 1 and "already" in again.stderr
    assert len(stored()) == 1
    assert run("set-password", "nobody").exit_code == 1


@pytest.mark.parametrize(
    ("name", "user", "password", "named"),
    [
        ("", "u", "a long password", "login name"), ("x" * 257, "u", "a long password", "login name"),
        ("\ufdfa" * 200, "u", "a long password", "login name"), ("a\tb", "u", "a long password", "login name"),
        ("anna", "", "a long password", "user"), ("anna", "urn:penchant:x", "a long password", "user"),
        ("anna", "u", "1234567", "8 to 256"), ("anna", "u", "x" * 257, "8 to 256"),
        ("anna", "u", "a\u0301" * 4, "8 to 256"),
        ("anna-anna", "u", "ANNA-anna", "login name"), ("anna", "user-number-1", "User-Number-1", "id"),
        ("anna", "u", "with a tab\t", "control"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(name: str, user: str, password: str, named: str, stored: Any) -> None:
    result = run("create", name, "--user", user, "--password-stdin", stdin=password + "\n")
    assert result.exit_code == 2 and named in result.stderr
    assert stored() == []
