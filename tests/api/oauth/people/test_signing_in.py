"""People sign in and let an app act for them; a session is theirs alone, ends in time and opens no API."""

import re
from datetime import timedelta

import pytest
from starlette.types import ASGIApp

from api.oauth.clients.secrets import hash_secret
from core import clock
from db.accounts import change_password, disable_account, enable_account
from db.merged_users import merge_into
from db.postgres import Pool
from db.sessions import MOST_SESSIONS
from tests.api.oauth.people.conftest import (
    BACK,
    ISSUER,
    LOGIN,
    USER,
    Browser,
    Create,
    Open,
    browser_of,
    query_of,
    read_form,
)

COOKIE = "__Host-penchant"


@pytest.fixture
async def ready(account: Create, client: Create) -> None:
    """An account and an app."""
    await account()
    await client()


pytestmark = pytest.mark.usefixtures("ready")


async def test_a_person_signs_in_allows_the_app_and_comes_back_with_a_code(browser: Browser, pool: Pool) -> None:
    page = await browser.ask()
    assert page.status_code == 200 and page.request.url.path == "/login"
    before = clock.now()
    asked = await browser.sign_in(page)
    assert asked.request.url.path == "/oauth/consent"
    assert "See what we recommend to you" in asked.text and "app.example" in asked.text
    back = await browser.send(asked, decision="allow")
    assert back.status_code == 303 and back.headers["location"].startswith(BACK + "?")
    answer = query_of(back.headers["location"])
    assert answer.keys() == {"code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == ("a state", ISSUER)
    row = await pool.fetchrow("SELECT user_id, client_id, scopes, auth_time FROM oauth_families")
    assert (row["user_id"], row["client_id"]) == (USER, "app")
    assert set(row["scopes"]) == {"openid", "recommendations:read", "profiles:read"}
    assert before <= row["auth_time"] <= clock.now()


async def test_an_authorization_request_is_redirected_with_302(browser: Browser) -> None:
    answer = await browser.http.get("/oauth/authorize")
    assert answer.status_code == 400
    page = await browser.ask()
    assert page.status_code == 200
    first = await browser.http.get("/oauth/authorize?" + "client_id=app&response_type=token&redirect_uri=" + BACK)
    assert first.status_code == 302 and query_of(first.headers["location"])["error"] == "unsupported_response_type"


async def test_a_request_by_post_is_continued_as_a_get(browser: Browser) -> None:
    posted = await browser.http.post(
        "/oauth/authorize", data={"client_id": "app", "redirect_uri": BACK, "state": "é&="}
    )
    assert posted.status_code == 303
    assert posted.headers["location"].startswith("/oauth/authorize?client_id=app&")
    assert query_of(posted.headers["location"])["state"] == "é&="


async def test_the_cookie_is_for_this_host_and_scripts_cannot_read_it(browser: Browser) -> None:
    page = await browser.ask()
    form = read_form(page)
    answer = await browser.http.post(
        form.action, data=form.values | {"login": LOGIN, "password": "correct horse battery"}
    )
    (cookie,) = [text for text in answer.headers.get_list("set-cookie") if text.startswith(COOKIE + "=")]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= attributes
    assert not any(attribute.startswith("domain") for attribute in attributes)
    assert len(cookie.partition("=")[2].partition(";")[0]) == 43


async def test_names_are_compared_without_case_and_in_normal_form(open_browser: Open, account: Create) -> None:
    await account("\uff2aos\u00e9\u0301", "a long password", "jose")
    for name in ("Jos\u00e9\u0301", "JOSE\u0301\u0301", " jos\u00e9\u0301 "):
        browser = open_browser()
        page = await browser.sign_in(await browser.get("/login"), name, "a long password")
        assert "You are signed in" in page.text, name


async def test_a_password_counts_in_any_normal_form(open_browser: Open, account: Create) -> None:
    await account("bert", "\u00e9lan vital \u2126", "bert")
    browser = open_browser()
    page = await browser.sign_in(await browser.get("/login"), "bert", "e\u0301lan vital \u03a9")
    assert "You are signed in" in page.text


async def test_a_wrong_password_an_unknown_name_and_a_disabled_account_have_one_answer(
    browser: Browser, account: Create, pool: Pool
) -> None:
    await account("bert", "a long password", "bert")
    assert await disable_account(pool, "bert")
    answers = set()
    for login, password in ((LOGIN, "wrong password"), ("nobody", "wrong password"), ("bert", "a long password")):
        page = await browser.sign_in(await browser.ask(), login, password)
        assert page.status_code == 422 and "The name or the password is not right." in page.text
        assert 'role="alert"' in page.text and page.text.count('aria-invalid="true"') == 2
        answers.add(re.sub(r'value="[^"]*"', "", page.text))
    assert len(answers) == 1
    assert COOKIE not in browser.http.cookies


async def test_what_is_missing_is_said_at_its_field(browser: Browser) -> None:
    page = await browser.sign_in(await browser.ask(), "", "")
    assert page.status_code == 422
    for name, text in (("login", "Enter your email or user name."), ("password", "Enter your password.")):
        assert f'<p class="wrong" id="{name}-wrong">{text}</p>' in page.text
        assert re.search(f'<input id="{name}"[^>]*aria-invalid="true" aria-describedby="{name}-wrong"', page.text)
    again = await browser.sign_in(page)
    assert again.request.url.path == "/oauth/consent", "the form is whole and can be sent again"


async def test_signing_in_gives_a_new_session_and_ends_the_old_one(browser: Browser, open_browser: Open) -> None:
    browser.http.cookies.set(COOKIE, "f" * 43, domain="shop.example", path="/")
    await browser.sign_in(await browser.ask())
    first = _cookies(browser)[COOKIE]
    assert first != "f" * 43
    await browser.sign_in(await browser.ask(prompt="login"))
    assert _cookies(browser)[COOKIE] != first
    thief = open_browser()
    thief.http.cookies.set(COOKIE, first, domain="shop.example")
    assert (await thief.ask()).request.url.path == "/login"


async def test_a_session_opens_no_api(whole_app: ASGIApp) -> None:
    browser = browser_of(whole_app)
    await browser.sign_in(await browser.get("/login"))
    assert "You are signed in as" in (await browser.get("/login")).text
    query = {"query": "{ me { id } }"}
    answers = [
        await browser.http.post("/graphql", json=query),
        await browser.http.get("/graphql", params=query),
        *[await browser.http.post(path, json=[]) for path in ("/events", "/items", "/users")],
        *[await browser.http.post(path, data={"token": "t"}) for path in ("/oauth/token", "/oauth/revoke")],
    ]
    for answer in answers:
        assert answer.status_code in (400, 401, 404), answer.request.url
        assert USER not in answer.text
    assert [answer.status_code for answer in answers[:5]] == [401] * 5


@pytest.mark.parametrize("column", ["used_at", "auth_time"])
async def test_a_session_ends(browser: Browser, pool: Pool, column: str) -> None:
    await browser.sign_in(await browser.get("/login"))
    limit = {"used_at": 86_400, "auth_time": 1_209_600}[column]
    for seconds, is_signed_in in ((limit - 60, True), (limit + 60, False)):
        await pool.execute(f"UPDATE oauth_sessions SET {column} = $1", clock.now() - timedelta(seconds=seconds))
        assert ("You are signed in as" in (await browser.get("/login")).text) == is_signed_in


async def test_using_a_session_keeps_it(browser: Browser, pool: Pool) -> None:
    await browser.sign_in(await browser.get("/login"))
    await pool.execute("UPDATE oauth_sessions SET used_at = $1", clock.now() - timedelta(hours=23))
    before = clock.now()
    await browser.get("/login")
    assert await pool.fetchval("SELECT used_at FROM oauth_sessions") >= before


async def test_an_account_has_a_bounded_number_of_sessions(open_browser: Open, pool: Pool) -> None:
    browsers = [open_browser() for _ in range(MOST_SESSIONS + 2)]
    for one in browsers:
        await one.sign_in(await one.get("/login"))
    assert await pool.fetchval("SELECT count(*) FROM oauth_sessions") == MOST_SESSIONS
    still = ["You are signed in as" in (await one.get("/login")).text for one in browsers]
    assert still == [False, False] + [True] * MOST_SESSIONS


async def test_a_new_password_and_disabling_end_sessions_and_revoke_tokens(browser: Browser, pool: Pool) -> None:
    key = LOGIN.lower()
    await _get_a_code(browser, "correct horse battery")
    assert await change_password(pool, key, hash_secret("another password"))
    await _check_signed_out(browser, pool)
    await _get_a_code(browser, "another password")
    assert await disable_account(pool, key)
    await _check_signed_out(browser, pool)
    assert (await browser.sign_in(await browser.ask(), password="another password")).status_code == 422
    assert await enable_account(pool, key)
    assert (await browser.sign_in(await browser.ask(), password="another password")).status_code == 303


async def test_a_merged_user_signs_in_as_the_user_they_are_now(browser: Browser, pool: Pool) -> None:
    assert await merge_into(pool, USER, "anna-2", "test") == "anna-2"
    await browser.send(await browser.sign_in(await browser.ask()), decision="allow")
    assert await pool.fetchval("SELECT user_id FROM oauth_families") == "anna-2"
    assert await disable_account(pool, LOGIN.lower())
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL") == 0


async def _get_a_code(browser: Browser, password: str) -> None:
    page = await browser.sign_in(await browser.ask(), password=password)
    if page.request.url.path == "/oauth/consent":
        page = await browser.send(page, decision="allow")
    assert "code" in query_of(page.headers["location"])


async def _check_signed_out(browser: Browser, pool: Pool) -> None:
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL") == 0
    assert await pool.fetchval("SELECT count(*) FROM oauth_sessions") == 0
    assert (await browser.ask()).request.url.path == "/login"


def _cookies(browser: Browser) -> dict[str, str]:
    return {cookie.name: cookie.value or "" for cookie in browser.http.cookies.jar}
