"""Consent is asked once, and remembered for one person, client and scopes; who sees the question answers it."""

import pytest

from tests.api.oauth.people.conftest import BACK, SCOPE, Browser, Create, Open, query_of, read_form


@pytest.fixture
async def ready(account: Create, client: Create) -> None:
    """Two accounts and an app."""
    await account()
    await account("bert", "a long password", "bert")
    await client()


pytestmark = pytest.mark.usefixtures("ready")


async def allow(browser: Browser, **parameters: str) -> None:
    """Sign in and allow what the app asks for."""
    page = await browser.ask(**parameters)
    if page.request.url.path == "/login":
        page = await browser.sign_in(page)
    back = await browser.send(page, decision="allow")
    assert "code" in query_of(back.headers["location"])


async def test_consent_is_remembered(browser: Browser) -> None:
    await allow(browser)
    again = await browser.ask(scope="openid")
    assert "code" in query_of(again.headers["location"])


async def test_more_scopes_are_asked_for_again(browser: Browser) -> None:
    await allow(browser)
    page = await browser.ask(scope=f"{SCOPE} orders:write offline_access")
    assert "Tell us what you buy and return" in page.text and "Keep this access while you are away" in page.text
    await browser.send(page, decision="allow")
    assert "code" in query_of((await browser.ask(scope="orders:write openid")).headers["location"])


async def test_another_client_and_another_person_are_asked_too(
    browser: Browser, open_browser: Open, client: Create
) -> None:
    await allow(browser)
    await client("other", redirect_uris=[BACK], name=None)
    page = await browser.ask(client_id="other")
    assert page.request.url.path == "/oauth/consent" and "<strong>other</strong>" in page.text
    bert = open_browser()
    page = await bert.sign_in(await bert.ask(), "bert", "a long password")
    assert page.request.url.path == "/oauth/consent"


async def test_prompt_consent_asks_again(browser: Browser, client: Create) -> None:
    await allow(browser)
    assert (await browser.ask(prompt="consent")).request.url.path == "/oauth/consent"


async def test_the_shops_own_app_is_not_asked_about(browser: Browser, client: Create) -> None:
    await client("own", first_party=True)
    back = await browser.sign_in(await browser.ask(client_id="own"))
    assert back.status_code == 303 and "code" in query_of(back.headers["location"])
    assert (await browser.ask(client_id="own", prompt="consent")).request.url.path == "/oauth/consent"


@pytest.mark.parametrize("back", ["org.example.app:/back", "http://127.0.0.1:4000/back"])
async def test_an_address_that_any_app_may_claim_gets_no_code_without_a_page(
    browser: Browser, client: Create, back: str
) -> None:
    """RFC 8252, section 8.6: another app on the person's machine may send them, and take the answer."""
    registered = back.replace(":4000", "")
    await client("phone", first_party=True, redirect_uris=[registered, "https://app.example/claimed"])
    wanted = {"client_id": "phone", "redirect_uri": back}
    asked_for = await browser.sign_in(await browser.ask(**wanted))
    assert "code" in query_of(asked_for.headers["location"]), "the page to sign in named the app"
    question = await browser.ask(**wanted)
    assert question.request.url.path == "/oauth/consent"
    assert query_of((await browser.ask(**wanted, prompt="none")).headers["location"])["error"] == "consent_required"
    assert "code" in query_of((await browser.send(question, decision="allow")).headers["location"])
    assert (await browser.ask(**wanted)).request.url.path == "/oauth/consent", "a consent was for the real app"
    claimed = await browser.ask(client_id="phone", redirect_uri="https://app.example/claimed")
    assert "code" in query_of(claimed.headers["location"])


async def test_a_client_with_a_secret_gets_a_code_at_any_address(browser: Browser, client: Create) -> None:
    await client("desk", secret="a-secret-of-a-desk", first_party=True, redirect_uris=["http://127.0.0.1/back"])
    await browser.sign_in(await browser.get("/login"))
    silent = await browser.ask(client_id="desk", redirect_uri="http://127.0.0.1:4000/back", prompt="none")
    assert "code" in query_of(silent.headers["location"]), "nobody else can redeem it"


@pytest.mark.parametrize("decision", ["deny", "", "Allow"])
async def test_whoever_does_not_allow_denies(browser: Browser, decision: str) -> None:
    back = await browser.send(await browser.sign_in(await browser.ask()), decision=decision)
    answer = query_of(back.headers["location"])
    assert (answer["error"], answer["state"]) == ("access_denied", "a state") and "code" not in answer
    assert (await browser.ask()).request.url.path == "/oauth/consent"


async def test_the_sign_in_can_be_cancelled(browser: Browser) -> None:
    back = await browser.send(await browser.ask(), decision="cancel")
    assert back.headers["location"].startswith(BACK)
    assert query_of(back.headers["location"])["error"] == "access_denied"


async def test_the_question_says_where_it_leads_and_who_is_signed_in(browser: Browser, client: Create) -> None:
    await client("phone", redirect_uris=["org.example.app:/back"])
    page = await browser.sign_in(await browser.ask(client_id="phone", redirect_uri="org.example.app:/back"))
    text = read_form(page).text
    assert "You then go back to org.example.app:." in text and "You are signed in as Anna@Example.org." in text
    assert "form-action 'self' org.example.app:;" in page.headers["content-security-policy"]


async def test_another_account_can_be_used(browser: Browser) -> None:
    page = await browser.sign_in(await browser.ask())
    link = page.text.partition('<a href="')[2].partition('"')[0]
    page = await browser.sign_in(await browser.get(link), "bert", "a long password")
    assert "signed in as bert" in read_form(page).text


async def test_a_question_to_one_person_is_not_answered_by_another(browser: Browser) -> None:
    question = await browser.sign_in(await browser.ask())
    await browser.sign_in(await browser.ask(prompt="login"), "bert", "a long password")
    answer = await browser.send(question, decision="allow")
    assert answer.status_code == 400 and "too old" in answer.text


async def test_one_request_cannot_be_swapped_for_another(browser: Browser, open_browser: Open) -> None:
    question = await browser.sign_in(await browser.ask())
    more = await browser.ask(scope=f"{SCOPE} orders:write")
    stranger = open_browser("203.0.113.9")
    theirs = await stranger.sign_in(await stranger.ask(), "bert", "a long password")
    for sealed in (read_form(theirs).values["request"], read_form(question).values["request"][:-1], "", "x"):
        assert (await browser.send(question, request=sealed)).status_code == 400
    assert "orders:write" not in str(question.request.url) and read_form(more).values["request"]
