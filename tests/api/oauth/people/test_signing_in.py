"""People sign in and let an app act for them; nobody else can, and nothing wrong ends in a traceback."""

import re

import httpx

from db.postgres import Pool
from tests.api.oauth.people.conftest import (
    BACK,
    ISSUER,
    LOGIN,
    PASSWORD,
    USER,
    Browser,
    Create,
    Open,
    query_of,
    read_form,
)


async def test_a_person_signs_in_allows_the_app_and_comes_back_with_a_code(
    browser: Browser, account: Create, client: Create, pool: Pool
) -> None:
    await account()
    await client()
    page = await browser.ask()
    assert page.status_code == 200 and page.request.url.path == "/login"
    asked = await browser.sign_in(page)
    assert asked.request.url.path == "/oauth/consent"
    assert "See what we recommend to you" in asked.text and "Shop &lt;App&gt;" in asked.text
    assert "app.example" in asked.text
    back = await browser.send(asked, decision="allow")
    assert back.status_code == 303 and back.headers["location"].startswith(BACK + "?")
    answer = query_of(back.headers["location"])
    assert answer.keys() == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == ("a state", ISSUER)
    row = await pool.fetchrow("SELECT user_id, client_id, scopes, auth_time FROM oauth_families")
    assert (row["user_id"], row["client_id"]) == (USER, "app")
