"""`prompt`, `max_age`, `login_hint` and `ui_locales`, as OpenID Connect Core 3.1.2.1 says."""

from datetime import timedelta

import pytest

from core import clock
from db.postgres import Pool
from tests.api.oauth.people.conftest import Browser, Create, query_of, read_form


@pytest.fixture
async def ready(account: Create, client: Create) -> None:
    """An account, an app, and the shop's own app."""
    await account()
    await client()
    await client("own", first_party=True)


pytestmark = pytest.mark.usefixtures("ready")


async def test_prompt_none_never_shows_a_page(browser: Browser) -> None:
    for client, error in (("app", "login_required"), ("own", "login_required")):
        answer = await browser.ask(client_id=client, prompt="none")
        assert answer.status_code == 302
        assert query_of(answer.headers["location"])["error"] == error
    await browser.sign_in(await browser.get("/login"))
    answer = await browser.ask(prompt="none")
    assert query_of(answer.headers["location"])["error"] == "consent_required"
    answer = await browser.ask(client_id="own", prompt="none")
    assert "code" in query_of(answer.headers["location"])
    answer = await browser.ask(client_id="own", prompt="none", max_age="0")
    assert query_of(answer.headers["location"])["error"] == "login_required"
    answer = await browser.ask(client_id="own", prompt="none login")
    assert query_of(answer.headers["location"])["error"] == "invalid_request"


@pytest.mark.parametrize("parameters", [{"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}])
async def test_the_person_signs_in_again_once(browser: Browser, pool: Pool, parameters: dict[str, str]) -> None:
    await browser.sign_in(await browser.get("/login"))
    first = await pool.fetchval("SELECT auth_time FROM oauth_sessions")
    page = await browser.ask(client_id="own", **parameters)
    assert page.request.url.path == "/login"
    back = await browser.sign_in(page)
    assert "code" in query_of(back.headers["location"])
    assert await pool.fetchval("SELECT auth_time FROM oauth_families") > first


async def test_max_age_counts_from_the_password(browser: Browser, pool: Pool) -> None:
    await browser.sign_in(await browser.get("/login"))
    await pool.execute("UPDATE oauth_sessions SET auth_time = $1", clock.now() - timedelta(seconds=100))
    assert "code" in query_of((await browser.ask(client_id="own", max_age="160")).headers["location"])
    assert (await browser.ask(client_id="own", max_age="90")).request.url.path == "/login"


async def test_all_prompts_together(browser: Browser) -> None:
    await browser.sign_in(await browser.get("/login"))
    page = await browser.sign_in(await browser.ask(client_id="own", prompt="login consent select_account"))
    assert page.request.url.path == "/oauth/consent"
    assert "code" in query_of((await browser.send(page, decision="allow")).headers["location"])


async def test_the_name_is_filled_in_and_safe(browser: Browser) -> None:
    page = await browser.ask(login_hint='"><script>alert(1)</script>')
    assert read_form(page).values["login"] == '"><script>alert(1)</script>'
    assert "<script" not in page.text
    assert 'id="password" name="password" type="password" value="" autocomplete="current-password"' in page.text


@pytest.mark.parametrize(
    ("ui_locales", "accepted", "language"),
    [
        (None, "en", "en"), ("de-CH en", "en", "de"), ("xx pl", "en", "pl"), ("xx", "fr-CA;q=0.8, nl;q=0.9", "nl"),
        (None, "it;q=0, pt-BR;q=0.1, *", "pt"), (None, "es;q=wrong,de", "de"), (None, "", "en"),
        (None, "x" * 5000, "en"),
    ],
)  # fmt: skip
async def test_the_pages_speak_the_persons_language(
    browser: Browser, ui_locales: str | None, accepted: str, language: str
) -> None:
    browser.http.headers["accept-language"] = accepted
    assert f'<html lang="{language}">' in (await browser.ask(ui_locales=ui_locales)).text
