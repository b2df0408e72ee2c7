"""Whatever is wrong, the answer is a page or a redirect: forged cookies and forms, huge and strange input."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from core import clock
from tests.api.oauth.people.conftest import BACK, ISSUER, Browser, Create, Open, query_of, read_form


@pytest.fixture
async def ready(account: Create, client: Create) -> None:
    """An account and an app."""
    await account()
    await client()


pytestmark = pytest.mark.usefixtures("ready")
FORM = {"content-type": "application/x-www-form-urlencoded"}


def check_page(answer: httpx.Response, status: int, text: str = "") -> None:
    """A page of ours, with all its protections."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8" and text in answer.text
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "wrong",
    [{"client_id": "nobody"}, {"client_id": None}, {"client_id": "a\0b"}, {"redirect_uri": BACK + "/"},
     {"redirect_uri": "https://evil.example"}, {"redirect_uri": "javascript:alert(1)"}],
)  # fmt: skip
async def test_nobody_is_sent_to_an_address_that_is_not_registered(browser: Browser, wrong: dict[str, Any]) -> None:
    check_page(await browser.ask(**wrong), 400, "We do not know the app")
    check_page(await browser.ask(**wrong, ui_locales="de"), 400, '<html lang="de">')


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"response_type": "token"}, "unsupported_response_type"), ({"scope": "no:such"}, "invalid_scope"),
     ({"code_challenge": None}, "invalid_request"), ({"code_challenge_method": "plain"}, "invalid_request"),
     ({"prompt": "x"}, "invalid_request"), ({"max_age": "-1"}, "invalid_request"), ({"nonce": "\0"}, "invalid_request"),
     ({"resource": "https://other.example"}, "invalid_target")],
)  # fmt: skip
async def test_everything_else_goes_back_to_the_client(browser: Browser, wrong: dict[str, Any], error: str) -> None:
    answer = await browser.ask(**wrong)
    assert answer.status_code == 302 and answer.headers["location"].startswith(BACK + "?")
    told = query_of(answer.headers["location"])
    assert (told["error"], told["state"], told["iss"]) == (error, "a state", ISSUER)


async def test_a_repeated_parameter_goes_back_too(browser: Browser) -> None:
    query = f"client_id=app&redirect_uri={BACK}&response_type=code&state=s&nonce=a&nonce=b"
    answer = await browser.get(f"/oauth/authorize?{query}")
    assert query_of(answer.headers["location"])["error"] == "invalid_request"
    check_page(await browser.get(f"/oauth/authorize?{query}&client_id=other"), 400)


@pytest.mark.parametrize("path", ["/oauth/authorize", "/login", "/oauth/consent", "/oauth/logout"])
async def test_strange_input_gets_a_page(browser: Browser, path: str) -> None:
    many = "&".join(f"p{number}=1" for number in range(500))
    for query in (many, "%ff=%fe", "%zz", "request=%00", "request=" + "x" * 20_000, "a=" + "%" * 9000, "request=é"):
        answer = await browser.http.get(f"{path}?{query}")
        assert answer.status_code in (200, 400) and answer.headers["content-type"].startswith("text/html"), query
    for body, status in (
        (many.encode(), 400), (b"%ff=%fe", 400), (b"login=%00", 400), (b"\xff\xfe", 400), (b"a=" + b"x" * 20_000, 413),
        (b"csrf=a&csrf=b", 400), (b"", 400), (b"csrf=%C3%A9", 400),
    ):  # fmt: skip
        answer = await browser.http.post(path, content=body, headers=FORM)
        if path == "/oauth/logout" and body in (b"", b"csrf=%C3%A9"):
            assert answer.status_code in (200, 303)
        elif path == "/oauth/authorize":
            assert answer.status_code in (303, 400), body
        else:
            check_page(answer, status)
    for headers in ({}, {"content-type": "application/json"}, {"content-type": "multipart/form-data; boundary=x"}):
        check_page(await browser.http.post(path, content=b"{}", headers=headers), 400)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"])
async def test_other_methods_are_refused(browser: Browser, method: str) -> None:
    for path in ("/oauth/authorize", "/login", "/oauth/consent", "/oauth/logout"):
        answer = await browser.http.request(method, path)
        assert answer.status_code == 405 and {"GET", "POST"} <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize("value", ["x", "f" * 43, "%00", "é".encode().decode("latin-1"), "a" * 4000, '"', "=;,"])
async def test_a_forged_cookie_is_no_session(browser: Browser, value: str) -> None:
    cookie = f"__Host-penchant={value}; __Host-penchant-browser={value}; __Host-penchant={value}"
    headers = {b"cookie": cookie.encode("latin-1")}
    answer = await browser.http.get("/login", headers=headers)
    check_page(answer, 200, "Sign in")
    check_page(await browser.http.get("/oauth/consent", headers=headers), 400)


async def test_a_form_needs_its_token_and_its_browser(browser: Browser, open_browser: Open) -> None:
    page = await browser.ask()
    form, other = read_form(page), open_browser()
    sent = form.values | {"login": "Anna@Example.org", "password": "correct horse battery"}
    for token in ("", "x", read_form(await other.ask()).values["csrf"], form.values["csrf"][:-2] + "AA"):
        check_page(await browser.http.post(form.action, data=sent | {"csrf": token}), 400, "too old")
    check_page(await open_browser().http.post(form.action, data=sent), 400, "too old")
    check_page(await other.http.post(form.action, data=sent), 400, "too old")
    assert "__Host-penchant" not in {cookie.name for cookie in (*browser.http.cookies.jar, *other.http.cookies.jar)}


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"},
     {"origin": "https://app.example", "sec-fetch-site": "cross-site"}],
)  # fmt: skip
async def test_another_site_sends_no_form(browser: Browser, headers: dict[str, str]) -> None:
    page = await browser.ask()
    values = {"login": "Anna@Example.org", "password": "correct horse battery"}
    check_page(await browser.send(page, headers=headers, **values), 403, "Another website")
    question = await browser.sign_in(page)
    check_page(await browser.send(question, headers=headers, decision="allow"), 403)
    check_page(await browser.send(await browser.get("/oauth/logout"), headers=headers), 403)
    assert (await browser.send(question, headers={"origin": ISSUER}, decision="allow")).status_code == 303


async def test_a_page_can_be_too_old(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    page = await browser.ask()
    now = clock.now() + timedelta(minutes=31)
    monkeypatch.setattr(clock, "now", lambda: now)
    check_page(await browser.sign_in(page), 400, "too old")
    check_page(await browser.get(str(page.request.url)), 400, "too old")


async def test_what_was_sealed_for_one_use_is_good_for_no_other(browser: Browser) -> None:
    question = await browser.sign_in(await browser.ask())
    leaving = await browser.get("/oauth/logout?client_id=app")
    sealed, token = read_form(leaving).values["request"], read_form(question).values["csrf"]
    check_page(await browser.send(question, request=sealed), 400)
    check_page(await browser.send(leaving, request=read_form(question).values["request"]), 400)
    check_page(await browser.http.get(f"/login?request={token}"), 400)


async def test_while_postgres_is_away_the_page_says_so(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.oauth.people import sessions
    from core.errors import StoreUnavailable

    page = await browser.ask()

    async def away(*_: object) -> None:
        raise StoreUnavailable("postgres", "Postgres did not answer: gone")

    await browser.sign_in(page)
    monkeypatch.setattr(sessions, "use_session", away)
    answer = await browser.http.get("/login")
    check_page(answer, 503, "not possible at the moment")
    assert answer.headers["retry-after"] == "1" and "gone" not in answer.text
