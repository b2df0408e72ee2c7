"""A browser at an authorization server with a real Postgres, an app, an account, and forms that are filled in."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.oauth.authority import open_authority
from api.oauth.clients.registration import register
from api.oauth.clients.secrets import hash_secret
from api.oauth.endpoints import routes as oauth_routes
from api.oauth.people.accounts import check_password, login_key
from api.oauth.people.endpoints import routes as people_routes
from api.oauth.people.people import open_people
from core.settings import Gateway, SignIn, Stores
from db.accounts import create_account
from db.clients import Client, create_client
from db.postgres import Pool
from tests.in_process import Configured

ISSUER = "https://shop.example"
BACK = "https://app.example/back"
SIGNED_OUT = "https://app.example/bye"
LOGIN, PASSWORD, USER = "Anna@Example.org", "correct horse battery", "anna"
SCOPE = "openid recommendations:read profiles:read"
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Shop(Configured):
    """A gateway behind https, with a name."""

    def __init__(self, stores: Stores, public_url: str = ISSUER, **sign_in: Any) -> None:
        super().__init__(stores)
        proxies = "127.0.0.1"
        self.gateway = Gateway.model_validate(
            {"public_url": public_url, "secret": "s" * 32, "trusted_proxies": proxies}
        )
        self.sign_in = SignIn.model_validate({"shop_name": "Müller & Söhne <Hofladen>"} | sign_in)


@dataclass
class Form(HTMLParser):
    """The form of a page, with the values it was given, and all text of the page."""

    action: str = ""
    values: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.action = given["action"] or ""
        if tag == "input":
            self.values[given["name"] or ""] = given["value"] or ""

    def handle_data(self, data: str) -> None:
        self.text += data


def read_form(page: httpx.Response) -> Form:
    """The form of a page."""
    form = Form()
    form.feed(page.text)
    return form


def query_of(location: str) -> dict[str, str]:
    """The parameters of an address."""
    return dict(parse_qsl(urlsplit(location).query))


@dataclass
class Browser:
    """A browser: it keeps cookies, sends what browsers send with forms, and follows redirects inside the shop."""

    http: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Go to an address of the shop."""
        return await self._arrive(await self.http.get(path, headers=headers))

    async def send(
        self, page: httpx.Response, *, headers: dict[str, str] | None = None, **values: str
    ) -> httpx.Response:
        """Fill in the form of a page, with these values over its own, and press a button."""
        form = read_form(page)
        sent = {"origin": "null", "sec-fetch-site": "same-origin"} if headers is None else headers
        return await self._arrive(await self.http.post(form.action, data=form.values | values, headers=sent))

    async def ask(self, **parameters: str | None) -> httpx.Response:
        """Go where the app sends people to sign in."""
        wanted = {
            "client_id": "app",
            "redirect_uri": BACK,
            "response_type": "code",
            "scope": SCOPE,
            "state": "a state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        } | parameters
        return await self.get("/oauth/authorize?" + urlencode({k: v for k, v in wanted.items() if v is not None}))

    async def sign_in(self, page: httpx.Response, login: str = LOGIN, password: str = PASSWORD) -> httpx.Response:
        """Fill in name and password."""
        return await self.send(page, login=login, password=password, decision="sign_in")

    async def _arrive(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(5):
            location = answer.headers.get("location", "")
            if not location.startswith(("/", ISSUER)):
                return answer
            answer = await self.http.get(location)
        raise AssertionError("too many redirects")


def browser_of(app: ASGIApp, address: str = "203.0.113.1") -> Browser:
    """A browser with no cookies that speaks English, at an address."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"x-forwarded-for": address, "accept-language": "en"}
    return Browser(httpx.AsyncClient(transport=transport, base_url=ISSUER, headers=headers))


Open = Callable[..., Browser]


@pytest.fixture
async def people(stores: Stores, pool: Pool) -> AsyncIterator[dict[str, Any]]:
    """The authorization server and the pages of one process, as the state of requests."""
    settings = Shop(stores)
    async with open_authority(settings, pool) as authority:
        with open_people(settings, pool, authority) as people:
            yield {
                "authority": authority,
                "people": people,
                "trusted_proxies": settings.gateway.trusted_proxies,
            }


@pytest.fixture
def app(people: dict[str, Any]) -> ASGIApp:
    """Their endpoints, without the rest of the gateway."""
    inner = Starlette(routes=[*oauth_routes(), *people_routes()])

    async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(people)
        await inner(scope, receive, send)

    return with_state


@pytest.fixture
async def whole_app(stores: Stores, pool: Pool, redis: Redis) -> AsyncIterator[ASGIApp]:
    """A whole gateway that starts and stops as in production."""
    gateway = create_app(Shop(stores))
    async with gateway.router.lifespan_context(gateway) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"] = dict(state or {})
            await gateway(scope, receive, send)

        yield with_state


@pytest.fixture
def open_browser(app: ASGIApp) -> Open:
    """Opens a browser with no cookies, at an address."""
    return lambda address="203.0.113.1": browser_of(app, address)


@pytest.fixture
def browser(open_browser: Open) -> Browser:
    """A browser with no cookies."""
    return open_browser()


Create = Callable[..., Awaitable[Any]]


@pytest.fixture
def account(pool: Pool) -> Create:
    """Creates an account."""

    async def create(login: str = LOGIN, password: str = PASSWORD, user_id: str = USER) -> None:
        hash = hash_secret(check_password(password, login, user_id))
        assert await create_account(pool, login_key(login), login, user_id, hash)

    return create


@pytest.fixture
def client(pool: Pool) -> Create:
    """Registers an app."""

    async def create(client_id: str = "app", **wanted: Any) -> Client:
        settings = {
            "grants": ["authorization_code", "refresh_token"],
            "scope": f"{SCOPE} events:write orders:write offline_access",
            "redirect_uris": [BACK],
            "post_logout_redirect_uris": [SIGNED_OUT],
            "name": "Shop <App>",
        } | wanted
        made = register(client_id, **settings)
        assert await create_client(pool, made)
        return made

    return create
