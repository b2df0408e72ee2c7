"""Signing out, by the person and at the request of a client (OpenID Connect RP-Initiated Logout)."""

import pytest

from db.postgres import Pool
from tests.api.oauth.people.conftest import (
    BACK,
    SCOPE,
    SIGNED_OUT,
    VERIFIER,
    Browser,
    Create,
    Open,
    query_of,
    read_form,
)

OUT = "You are signed out"


@pytest.fixture
async def ready(account: Create, client: Create) -> None:
    """An account and the shop's own apps."""
    await account()
    await client("app", first_party=True)
    await client("other", first_party=True, post_logout_redirect_uris=["https://other.example/bye"])


pytestmark = pytest.mark.usefixtures("ready")


async def id_token(browser: Browser, scope: str = SCOPE) -> str:
    """Sign in for the app; the ID token that it gets."""
    page = await browser.ask(scope=scope)
    if page.request.url.path == "/login":
        page = await browser.sign_in(page)
    form = {
        "grant_type": "authorization_code",
        "code": query_of(page.headers["location"])["code"],
        "client_id": "app",
        "redirect_uri": BACK,
        "code_verifier": VERIFIER,
    }
    answer = await browser.http.post("/oauth/token", data=form)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["id_token"]
    return token


async def leave(browser: Browser, **parameters: str) -> tuple[int, str, str]:
    """Where a client's request to sign out leads: status, location, text."""
    answer = await browser.http.get("/oauth/logout", params=parameters)
    return answer.status_code, answer.headers.get("location", ""), answer.text


async def is_signed_in(browser: Browser) -> bool:
    """Whether the browser has a session."""
    return "You are signed in as" in (await browser.get("/login")).text


async def test_the_person_signs_out(browser: Browser) -> None:
    page = await browser.sign_in(await browser.get("/login"))
    left = await browser.send(page, decision="sign_out")
    assert left.status_code == 200 and OUT in left.text
    assert not await is_signed_in(browser)
    assert not any(cookie.name == "__Host-penchant" for cookie in browser.http.cookies.jar)


async def test_a_client_that_shows_its_id_token_signs_out_at_once(browser: Browser, pool: Pool) -> None:
    token = await id_token(browser)
    status, location, _ = await leave(
        browser, id_token_hint=token, post_logout_redirect_uri=SIGNED_OUT, state="a b", client_id="app"
    )
    assert (status, location) == (302, SIGNED_OUT + "?state=a+b")
    assert not await is_signed_in(browser)
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL") == 0


async def test_grants_for_offline_use_outlast_the_sign_out(browser: Browser, pool: Pool) -> None:
    token = await id_token(browser, f"{SCOPE} offline_access")
    assert (await leave(browser, id_token_hint=token))[0] == 200
    assert not await is_signed_in(browser)
    assert await pool.fetchval("SELECT count(*) FROM oauth_families WHERE revoked_at IS NULL") == 1


async def test_without_a_valid_hint_the_person_is_asked(browser: Browser, open_browser: Open) -> None:
    token = await id_token(browser)
    for hint in ({}, {"id_token_hint": "x.y.z"}, {"id_token_hint": token[:-4] + "AAAA"}):
        page = await browser.get("/oauth/logout")
        answer = await browser.http.get(
            "/oauth/logout", params=hint | {"client_id": "app", "post_logout_redirect_uri": SIGNED_OUT, "state": "s"}
        )
        assert answer.status_code == 200 and "Do you want to sign out of" in answer.text
        assert await is_signed_in(browser)
    left = await browser.send(answer, decision="sign_out")
    assert left.headers["location"] == SIGNED_OUT + "?state=s"
    assert not await is_signed_in(browser)
    assert (await browser.send(page, decision="sign_out")).status_code == 200, "twice is harmless"


async def test_another_persons_id_token_is_no_permission(browser: Browser, open_browser: Open, account: Create) -> None:
    await account("bert", "a long password", "bert")
    bert = open_browser()
    await bert.sign_in(await bert.get("/login"), "bert", "a long password")
    token = await id_token(browser)
    status, _, text = await leave(bert, id_token_hint=token, post_logout_redirect_uri=SIGNED_OUT)
    assert status == 200 and "Do you want to sign out of" in text
    assert await is_signed_in(bert)


@pytest.mark.parametrize(
    "wrong",
    [{"client_id": "app", "post_logout_redirect_uri": "https://evil.example"},
     {"client_id": "other", "post_logout_redirect_uri": SIGNED_OUT},
     {"client_id": "nobody", "post_logout_redirect_uri": SIGNED_OUT},
     {"client_id": "a\0", "post_logout_redirect_uri": SIGNED_OUT},
     {"post_logout_redirect_uri": SIGNED_OUT}],
)  # fmt: skip
async def test_nobody_is_sent_to_an_address_that_the_client_did_not_register(
    browser: Browser, wrong: dict[str, str]
) -> None:
    token = await id_token(browser)
    for hint in ({}, {"id_token_hint": token}) if "client_id" in wrong else ({},):
        status, location, text = await leave(browser, **wrong, **hint)
        assert (status, location) == (400, "") and "That did not work" in text
        assert await is_signed_in(browser)


async def test_without_a_session_the_browser_goes_back_at_once(browser: Browser) -> None:
    wanted = {"client_id": "app", "post_logout_redirect_uri": SIGNED_OUT}
    assert (await leave(browser, **wanted))[:2] == (302, SIGNED_OUT)
    assert OUT in (await leave(browser))[2]


async def test_a_clients_post_is_continued_as_a_get(browser: Browser) -> None:
    answer = await browser.http.post("/oauth/logout", data={"client_id": "app", "state": "a&b"})
    assert answer.status_code == 303 and answer.headers["location"] == "/oauth/logout?client_id=app&state=a%26b"


async def test_the_form_of_signing_out_needs_its_token(browser: Browser) -> None:
    page = await browser.sign_in(await browser.get("/login"))
    for token in ("x", read_form(await browser.ask(prompt="login")).values["csrf"]):
        assert (await browser.send(page, csrf=token)).status_code == 400
    assert await is_signed_in(browser)


async def test_the_hint_of_an_authorization_request_names_who_may_be_signed_in(
    browser: Browser, account: Create
) -> None:
    await account("bert", "a long password", "bert")
    token = await id_token(browser)
    assert "code" in query_of((await browser.ask(id_token_hint=token, prompt="none")).headers["location"])
    await browser.sign_in(await browser.ask(prompt="login"), "bert", "a long password")
    silent = await browser.ask(id_token_hint=token, prompt="none")
    assert query_of(silent.headers["location"])["error"] == "login_required"
    page = await browser.ask(id_token_hint=token)
    assert page.request.url.path == "/login"
    other = await browser.sign_in(page, "bert", "a long password")
    assert query_of(other.headers["location"])["error"] == "login_required"
    page = await browser.ask(id_token_hint=token)
    assert "code" in query_of((await browser.sign_in(page)).headers["location"])


async def test_the_last_page_has_the_language_of_the_request(browser: Browser) -> None:
    await id_token(browser)
    asked = await browser.get("/oauth/logout?ui_locales=de")
    assert "Abmelden?" in asked.text
    assert '<html lang="de">' in (await browser.send(asked)).text
