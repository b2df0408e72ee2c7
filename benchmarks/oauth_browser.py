"""The code flow as a signed-in browser and an app go through it: the redirect with a code, then the tokens."""

import hashlib
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from statistics import median
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from api.oauth.clients.registration import register
from api.oauth.clients.secrets import hash_secret
from api.oauth.people.accounts import login_key
from benchmarks.figures import Figure
from cli.local.deployment import Deployment
from db.accounts import create_account
from db.clients import create_client
from db.postgres import connect_pool

APP, BACK, SCOPE = "benchmark-app", "https://app.example/back", "openid offline_access recommendations:read"
LOGIN, PASSWORD = "benchmark", "a-password-of-the-benchmark"
ROUNDS, FLOWS = 15, 10  # flows in a round
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


class Browser:
    """A browser in which one person is signed in, and the app that they use. It sends one request at a time."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=30, headers={"origin": base_url})
        self._verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(self._verifier.encode()).digest()
        self._asked = {
            "response_type": "code",
            "client_id": APP,
            "redirect_uri": BACK,
            "scope": SCOPE,
            "code_challenge": urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "nonce": "n",
        }

    def sign_in(self) -> None:
        """Fill in the form once."""
        page = self._http.get("/oauth/authorize", params=self._asked, follow_redirects=True)
        typed = dict(_HIDDEN.findall(page.text)) | {"login": LOGIN, "password": PASSWORD, "decision": "sign_in"}
        answer = self._http.post(urljoin(str(page.url), "/login"), data=typed)
        assert answer.headers.get("location", "").startswith(BACK), answer.text

    def authorize(self) -> str:
        """The code that the browser is sent back with: the person is signed in, and the app is the shop's own."""
        answer = self._http.get("/oauth/authorize", params=self._asked)
        assert answer.status_code == 302, answer.text
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    def redeem(self, code: str) -> str:
        """The refresh token that comes with access token and ID token."""
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": self._verifier, "redirect_uri": BACK}
        return self._token(form)

    def refresh(self, token: str) -> str:
        """The next refresh token."""
        return self._token({"grant_type": "refresh_token", "refresh_token": token})

    def alive(self) -> None:
        """Ask for the smallest answer of the gateway: what HTTP and this client alone cost."""
        assert self._http.get("/healthz").status_code == 200

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _token(self, form: dict[str, str]) -> str:
        answer = self._http.post("/oauth/token", data=form | {"client_id": APP})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["refresh_token"])


async def register_app(site: Deployment) -> None:
    """Register the app and the person's account."""
    async with await connect_pool(site.postgres_url, size=1) as pool:
        grants = ["authorization_code", "refresh_token"]
        app = register(APP, grants=grants, scope=SCOPE, redirect_uris=[BACK], first_party=True)
        assert await create_client(pool, app)
        assert await create_account(pool, login_key(LOGIN), LOGIN, "u1", hash_secret(PASSWORD))


def signing_in(site: Deployment) -> dict[str, Figure]:
    """Milliseconds of each step, beside a bare answer over the same connection."""
    browser = Browser(site.base_url)
    browser.sign_in()
    rounds = [_round(browser) for _ in range(ROUNDS)]
    browser.close()
    taken = {name: sorted(each[name] for each in rounds) for name in rounds[0]}
    reference = f"an HTTP answer to the same client: {median(taken['alive']):.2f}"
    names = {"authorize_ms": "authorize", "code_ms": "redeem", "refresh_ms": "refresh"}
    return {
        key: Figure(median(taken[name]), "ms", taken[name][0], taken[name][-1], reference)
        for key, name in names.items()
    }


def _round(browser: Browser) -> dict[str, float]:
    codes, tokens = [], []
    return {
        "authorize": _milliseconds(lambda: codes.append(browser.authorize())),
        "redeem": _milliseconds(lambda: tokens.append(browser.redeem(codes.pop()))),
        "refresh": _milliseconds(lambda: browser.refresh(tokens.pop())),
        "alive": _milliseconds(browser.alive),
    }


def _milliseconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(FLOWS):
        step()
    return (time.perf_counter() - began) / FLOWS * 1e3
