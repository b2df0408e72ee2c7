"""`penchant keys`: lists, rotates and revokes the keys that sign access tokens."""

import json
from typing import Any

import pytest
from typer.testing import Result

from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from tests.cli.conftest import OnDatabase
from tests.commands import invoke

SECRET = "k" * 32

pytestmark = pytest.mark.usefixtures("pool", "database")


def run(*arguments: str) -> Result:
    return invoke("keys", *arguments)


def states() -> dict[str, str]:
    return {key["kid"]: key["state"] for key in json.loads(run("list", "--json").stdout)}


@pytest.fixture
def first(on_database: OnDatabase, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kid of the key with which a gateway signs."""
    monkeypatch.setenv("PENCHANT_SECRET", SECRET)
    keys = SigningKeys(Sealer(SECRET))
    on_database(keys.start)
    return str(keys.signing.kid)


def test_a_new_key_waits_until_everybody_knows_it(first: str) -> None:
    assert states() == {first: "signs"}
    made: dict[str, Any] = json.loads(run("rotate", "--json").stdout)
    assert made["state"] == "next"
    assert states() == {made["kid"]: "next", first: "signs"}
    assert json.loads(run("rotate", "--json").stdout) == made, "the same key waits"
    sooner = json.loads(run("rotate", "--now", "--json").stdout)
    assert sooner["kid"] == made["kid"] and sooner["signs_from"] < made["signs_from"]
    new, old = run("list").stdout.splitlines()
    assert new.endswith("until further notice") and f"{first}  (signs)" in old and ", verifies until 20" in old


def test_a_revoked_key_is_listed_and_another_one_signs(first: str) -> None:
    result = run("rotate", "--revoke", first)
    assert result.exit_code == 0
    (signing,) = (kid for kid, state in states().items() if state == "signs")
    assert signing != first and signing in result.stdout
    assert states()[first] == "revoked"
    assert run("rotate", "--revoke", first).exit_code == 1
    assert run("rotate", "--revoke", "nothing").exit_code == 1
    assert run("rotate", "--revoke", signing, "--now").exit_code == 2


def test_a_command_with_another_secret_changes_nothing(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_SECRET", "q" * 32)
    result = run("rotate")
    assert result.exit_code == 1 and "PENCHANT_SECRET" in result.stderr
    assert states() == {first: "signs"}
    monkeypatch.delenv("PENCHANT_SECRET")
    assert run("rotate").exit_code != 0


def test_no_private_part_is_shown(first: str) -> None:
    shown = run("list").stdout + run("list", "--json").stdout + run("rotate", "--json").stdout
    assert not {"sealed", '"d"', "eyJ"} & set(shown.split()) and "eyJ" not in shown
