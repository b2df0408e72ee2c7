"""A real browser: the pages work without scripts, and their policy lets it go back to every kind of app."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlencode

import pytest

from core.settings import Stores
from db.postgres import Pool
from tests.api.oauth.people.conftest import CHALLENGE, LOGIN, PASSWORD, Create, query_of
from tests.chromium import chromium
from tests.running import running_gateway

pytestmark = pytest.mark.browser


class App(BaseHTTPRequestHandler):
    """An app whose address for codes leads on to another origin, as many do."""

    def do_GET(self) -> None:
        """Lead on, or say that the person has arrived."""
        self.send_response(302 if self.path.startswith("/back") else 200)
        if self.path.startswith("/back"):
            self.send_header("location", f"http://localhost:{self.server.server_port}/home")  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"arrived at home")

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""


@pytest.fixture
def back() -> Iterator[str]:
    """The redirect URI of an app that listens on this machine."""
    with HTTPServer(("127.0.0.1", 0), App) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/back"
        finally:
            server.shutdown()
            thread.join()


async def test_a_person_signs_in_without_scripts_and_goes_back_to_each_app(
    stores: Stores, pool: Pool, tmp_path: Path, account: Create, client: Create, back: str
) -> None:
    await account()
    await client(redirect_uris=[back, "org.example.app:/back"])
    with (
        running_gateway(stores, tmp_path / "log") as gateway,
        chromium(tmp_path / "profile", "--blink-settings=scriptEnabled=false") as browser,
    ):

        def ask(redirect_uri: str, **more: str) -> None:
            wanted = {"client_id": "app", "response_type": "code", "redirect_uri": redirect_uri, "state": "s"}
            proof = {"code_challenge": CHALLENGE, "code_challenge_method": "S256", "ui_locales": "de"}
            browser.go(f"{gateway.url}/oauth/authorize?{urlencode(wanted | proof | more)}")

        ask(back)
        browser.until_shown("Anmelden")
        browser.until(lambda: browser.evaluate("document.activeElement.name") == "login", "the field has the focus")
        browser.fill_in(login=LOGIN, password="a wrong password")
        browser.press("sign_in")
        browser.until_shown("Der Name oder das Passwort stimmt nicht.")
        browser.until(lambda: browser.evaluate("document.activeElement.name") == "password", "the field has the focus")
        browser.fill_in(password=PASSWORD)
        browser.press("sign_in")
        browser.until_shown("Zugriff erlauben?")
        browser.press("allow")
        browser.until_shown("arrived at home")
        assert "code" in query_of(browser.asked_for(back)[0])
        ask("org.example.app:/back", prompt="consent")
        browser.until_shown("org.example.app:")
        browser.press("allow")
        browser.until(lambda: "/oauth/consent" in str(browser.asked_for(gateway.url)[-1:]), "the form is sent")
        browser.go(f"{gateway.url}/oauth/logout")
        browser.until_shown("Do you want to sign out")
        browser.press("sign_out")
        browser.until_shown("You are signed out")
        assert browser.violations() == []
