"""A person with a browser: follows redirects, keeps cookies, and fills in the forms of the gateway by their labels."""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from api.oauth.clients.secrets import hash_secret
from api.oauth.people.accounts import login_key
from db.accounts import create_account
from db.postgres import Pool

MOST_PAGES = 10
LOGIN, PASSWORD, USER = "unspoken@shop.example", "unspoken-password", "unspoken-user"


class Form(HTMLParser):
    """The first form of a page: where it is sent, its fields with their values, and the values of its buttons."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.decisions: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            assert given["method"] == "post"
            self.action = given["action"]
        elif tag == "input":
            self.fields[given["name"]] = given.get("value", "")
        elif tag == "button":
            self.decisions.append(given["value"])


@dataclass
class Person:
    """Signs in with one name and password, and allows what they are asked for unless told otherwise."""

    login: str = LOGIN
    password: str = PASSWORD
    decision: str = "allow"
    pages: list[str] = field(default_factory=list)  # the paths of the forms that were filled in
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def visit(self, url: str) -> str:
        """Open `url` and go on until the gateway sends the browser to another site; that address, not opened."""
        site = urlsplit(url).netloc
        with httpx.Client(timeout=30, headers={"accept-language": "en"}, cookies=self.cookies) as browser:
            answer = browser.get(url)
            for _ in range(MOST_PAGES):
                self.cookies = browser.cookies
                if answer.is_redirect:
                    to = urljoin(str(answer.url), answer.headers["location"])
                    if urlsplit(to).netloc != site:
                        return to
                    answer = browser.get(to)
                else:
                    answer = self._fill_in(browser, answer)
        raise AssertionError(f"no way back after {self.pages}")

    def _fill_in(self, browser: httpx.Client, page: httpx.Response) -> httpx.Response:
        assert page.status_code == 200, f"{page.status_code} {page.url}\n{page.text}"
        form = Form(page.text)
        assert form.action, page.text
        address = urljoin(str(page.url), form.action)
        self.pages.append(urlsplit(address).path)
        typed = {"login": self.login, "password": self.password} if "password" in form.fields else {}
        decision = "sign_in" if typed else self.decision
        assert decision in form.decisions, form.decisions
        origin = f"{page.url.scheme}://{page.url.netloc.decode()}"
        headers = {"origin": origin, "sec-fetch-site": "same-origin"}
        return browser.post(address, data={**form.fields, **typed, "decision": decision}, headers=headers)


async def create_person(pool: Pool, login: str = LOGIN, password: str = PASSWORD, user: str = USER) -> None:
    """An account as `penchant accounts create` makes it."""
    assert await create_account(pool, login_key(login), login, user, hash_secret(password))


def tokens_of(
    person: Person, issuer: str, client_id: str, redirect_uri: str, scope: str, secret: str | None = None
) -> dict[str, Any]:
    """What a client gets after this person signed in: code with PKCE, redeemed at once."""
    verifier = secrets.token_urlsafe(32)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": scope,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "nonce": "n",
    }
    back = person.visit(f"{issuer}/oauth/authorize?{urlencode(asked)}")
    code = parse_qs(urlsplit(back).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    form |= {"client_id": client_id, "redirect_uri": redirect_uri}
    credentials = None if secret is None else (client_id, secret)
    answer = httpx.post(f"{issuer}/oauth/token", data=form, auth=credentials, timeout=30)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
