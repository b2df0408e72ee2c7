"""Whoever ends a person's sign-ins ends all of them: those under old ids, and those that are just being approved."""

import asyncio
from typing import Any

import psycopg
import pytest

from core import clock
from db.accounts import disable_account
from db.authorizations import Approval, sha256, store_code
from db.erasures import begin_erasure
from db.merged_users import merge_into
from db.postgres import Pool
from tests.api.oauth.people.conftest import BACK, CHALLENGE, LOGIN, USER, Browser, Create, query_of
from tests.faults import eventually


@pytest.fixture
async def ready(account: Create, client: Create) -> None:
    """An account and an app."""
    await account()
    await client()


pytestmark = pytest.mark.usefixtures("ready")


async def test_tokens_from_before_two_merges_end_with_the_account(browser: Browser, pool: Pool) -> None:
    await merge_into(pool, USER, "anna-2", "test")
    await browser.send(await browser.sign_in(await browser.ask()), decision="allow")
    await merge_into(pool, "anna-2", "anna-3", "test")
    assert await disable_account(pool, LOGIN.lower())
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL") == 0


async def test_a_session_that_ended_meanwhile_approves_nothing(
    browser: Browser, pool: Pool, people: dict[str, Any]
) -> None:
    await browser.sign_in(await browser.get("/login"))
    session = await pool.fetchval("SELECT id_hash FROM oauth_sessions")
    server = people["authority"].server
    asked = {
        "client_id": "app",
        "redirect_uri": BACK,
        "response_type": "code",
        "scope": "openid",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    wanted = server.read_authorization(asked)
    approve = (wanted, USER, clock.now(), wanted.scopes, session)
    assert "code" in query_of(await asyncio.to_thread(server.approve, *approve))
    assert await disable_account(pool, LOGIN.lower())
    assert query_of(await asyncio.to_thread(server.approve, *approve))["error"] == "login_required"
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL") == 0


@pytest.mark.parametrize("erased", [False, True])
async def test_what_is_approved_at_that_moment_is_revoked(
    browser: Browser, pool: Pool, postgres_url: str, erased: bool
) -> None:
    await browser.sign_in(await browser.get("/login"))
    session = await pool.fetchval("SELECT id_hash FROM oauth_sessions")
    approval = Approval("app", USER, ("openid",), clock.now(), BACK, CHALLENGE, None, session)
    async with asyncio.TaskGroup() as tasks:
        with psycopg.connect(postgres_url) as approving:
            assert store_code(approving, "f1", approval, sha256("code"), clock.now() - clock.now())
            ending = begin_erasure(pool, USER, "test", clock.now()) if erased else disable_account(pool, LOGIN.lower())
            tasks.create_task(ending)
            await eventually(lambda: _is_waiting(pool))
    (family,) = await pool.fetch("SELECT user_id, revoked_at FROM oauth_families")
    assert family["revoked_at"] is not None and family["user_id"] == (None if erased else USER)


async def _is_waiting(pool: Pool) -> bool:
    waiting: bool = await pool.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return waiting
