"""`penchant clients limits`: shows and sets the rate and the daily quota of one client."""

import json

import pytest
from typer.testing import Result

from db.postgres import Pool
from db.rate_limits import ClientLimits, client_limits
from tests.cli.conftest import OnDatabase
from tests.commands import invoke


@pytest.fixture(autouse=True)
def shop(pool: Pool, database: str) -> None:
    assert run("create", "shop", "--grant", "client_credentials", "--scope", "events:write").exit_code == 0


def run(*arguments: str) -> Result:
    return invoke("clients", *arguments)


def test_a_client_has_no_limits_of_its_own_until_it_is_given_some(on_database: OnDatabase) -> None:
    assert run("limits", "shop").stdout == "rate: default\ndaily quota: none\n"
    assert run("limits", "shop", "--rate", "600/minute").stdout == "rate: 600/minute\ndaily quota: none\n"
    shown = json.loads(run("limits", "shop", "--daily", "5000", "--json").stdout)
    assert shown == {"client_id": "shop", "rate": "600/minute", "daily_quota": 5000}
    assert on_database(lambda pool: client_limits(pool, "shop")) == ClientLimits("600/minute", 5000)
    assert run("limits", "shop", "--rate", "off", "--daily", "off").stdout == "rate: off\ndaily quota: none\n"
    assert run("limits", "shop", "--rate", "default").stdout == "rate: default\ndaily quota: none\n"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--rate", "fast"),
        ("--rate", "0/minute"),
        ("--rate", "-5/minute"),
        ("--rate", "5/minute; 6/hour"),
        ("--rate", "5/month"),
        ("--rate", "1000000001/minute"),
        ("--rate", "1" * 5_000 + "/minute"),
        ("--daily", "many"),
        ("--daily", "-1"),
        ("--daily", "9" * 13),
        ("--daily", "٣"),
    ],
)
def test_wrong_limits_are_refused_and_change_nothing(on_database: OnDatabase, wrong: tuple[str, str]) -> None:
    refused = run("limits", "shop", "--rate", "7/minute", *wrong)
    assert refused.exit_code == 2
    assert "off" in refused.stderr
    assert on_database(lambda pool: client_limits(pool, "shop")) == ClientLimits()


def test_an_unknown_client_is_named() -> None:
    unknown = run("limits", "nobody", "--rate", "5/minute")
    assert unknown.exit_code == 1
    assert "nobody" in unknown.stderr
