"""Guessing passwords is slowed for a name, an address and both; nobody is locked out where they signed in before."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from api.oauth.clients import secrets
from api.oauth.people import guesses
from api.oauth.people.guesses import MAX_FAILURES
from core import clock
from db.postgres import Pool
from tests.api.oauth.people.conftest import LOGIN, PASSWORD, Browser, Create, Open

WRONG = "a wrong password"
HERE, ELSEWHERE = "203.0.113.1", "198.51.100.1"


@pytest.fixture
async def ready(account: Create) -> None:
    """An account."""
    await account()


pytestmark = pytest.mark.usefixtures("ready")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that reached argon2."""
    found: list[str] = []
    matches = secrets._matches

    def noted(stored: str, secret: str) -> bool:
        found.append(secret)
        return matches(stored, secret)

    monkeypatch.setattr(secrets, "_matches", noted)
    return found


async def attempt(browser: Browser, password: str = WRONG, login: str = LOGIN) -> httpx.Response:
    """Fill in the form once."""
    return await browser.sign_in(await browser.get("/login"), login, password)


async def fail(browser: Browser, times: int, login: str = LOGIN) -> list[int]:
    """The statuses of so many wrong attempts."""
    return [(await attempt(browser, login=login)).status_code for _ in range(times)]


@pytest.mark.parametrize("login", [LOGIN, "nobody"])
async def test_a_name_has_few_attempts_from_one_address(browser: Browser, hashed: list[str], login: str) -> None:
    assert await fail(browser, MAX_FAILURES + 3, login) == [422] * MAX_FAILURES + [429] * 3
    assert len(hashed) == MAX_FAILURES
    refused = await attempt(browser, login=login.upper())
    assert "There were too many attempts. Try again in 15 min." in refused.text
    assert 800 < int(refused.headers["retry-after"]) <= 900
    assert 'value="' + login.upper() in refused.text, "the form can be sent again"


async def test_attempts_at_once_are_bounded_too(browser: Browser, hashed: list[str]) -> None:
    page = await browser.get("/login")
    answers = await asyncio.gather(
        *(browser.sign_in(page, LOGIN, f"wrong password {n}") for n in range(3 * MAX_FAILURES))
    )
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(422) == len(hashed) <= MAX_FAILURES
    assert set(statuses) <= {422, 429, 503}


async def test_the_owner_signs_in_from_another_address_meanwhile(browser: Browser, open_browser: Open) -> None:
    await fail(browser, MAX_FAILURES)
    assert (await attempt(browser, PASSWORD)).status_code == 429
    assert "You are signed in" in (await attempt(open_browser(ELSEWHERE), PASSWORD)).text


async def test_the_owner_is_not_locked_out_where_they_signed_in_before(
    browser: Browser, open_browser: Open, monkeypatch: pytest.MonkeyPatch, account: Create
) -> None:
    monkeypatch.setattr(guesses, "MAX_FAILURES_OF_ACCOUNT", 12)
    monkeypatch.setattr(guesses, "MAX_FAILURES_OF_ADDRESS", 8)
    await account("bert", "a long password", "bert")
    assert (await attempt(browser, PASSWORD)).status_code == 200
    for number in range(4):  # from everywhere
        await fail(open_browser(f"192.0.2.{number}"), 4)
    assert (await attempt(open_browser(ELSEWHERE), PASSWORD)).status_code == 429, "the account is guessed at"
    assert (await attempt(open_browser(HERE), PASSWORD)).status_code == 200
    for number in range(10):  # and from the owner's own address, at other names
        await fail(open_browser(HERE), 1, f"nobody-{number}")
    assert (await attempt(open_browser(HERE), "a long password", "bert")).status_code == 429
    assert (await attempt(open_browser(HERE), PASSWORD)).status_code == 200


async def test_right_passwords_are_no_failures_and_a_window_ends(
    browser: Browser, open_browser: Open, pool: Pool
) -> None:
    for _ in range(MAX_FAILURES + 2):
        assert (await attempt(open_browser(), PASSWORD)).status_code == 200
    assert await pool.fetchval("SELECT coalesce(sum(failures), 0) FROM oauth_password_failures") == 0
    await fail(browser, MAX_FAILURES)
    assert (await attempt(browser)).status_code == 429
    await pool.execute("UPDATE oauth_password_failures SET since = $1", clock.now() - timedelta(minutes=16))
    assert (await attempt(browser)).status_code == 422


async def test_counts_name_nobody_and_are_swept(browser: Browser, pool: Pool) -> None:
    await fail(browser, 1)
    await attempt(browser, PASSWORD)
    for table in ("oauth_password_failures", "oauth_familiar_addresses"):
        rows = await pool.fetch(f"SELECT * FROM {table}")
        assert rows and not any("203.0.113" in str(row) or "anna" in str(row).lower() for row in rows)
    await pool.execute("UPDATE oauth_password_failures SET since = $1", clock.now() - timedelta(hours=2))
    await fail(browser, 1, "nobody")
    assert await pool.fetchval("SELECT count(*) FROM oauth_password_failures") == 3


async def test_addresses_of_one_network_are_one_caller(open_browser: Open) -> None:
    statuses = [(await attempt(open_browser(f"2001:db8::{n:x}"))).status_code for n in range(MAX_FAILURES + 1)]
    assert statuses[-1] == 429


async def test_an_unknown_name_costs_a_hash_like_a_known_one(browser: Browser, hashed: list[str]) -> None:
    await attempt(browser, login="nobody")
    await attempt(browser)
    assert hashed == [WRONG, WRONG]
    await attempt(browser, "x" * 257)  # no account has such a password
    await attempt(browser, login="x" * 257)
    assert len(hashed) == 2
