"""penchant.js in a real browser, against a real gateway and worker: what a person sees and does is stored, once."""

import asyncio
import gzip
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from api.oauth.clients.registration import register
from api.oauth.grant_types import ANONYMOUS_ID, TOKEN_EXCHANGE
from core import clock
from core.settings import Stores
from db.clients import create_client
from db.items import upsert_items
from db.postgres import Pool
from tests.auth_docs.pages import PRINTED_URL, blocks
from tests.chromium import Chromium, chromium
from tests.commands import ROOT
from tests.fixtures.node import TIMEOUT
from tests.running import CLIENT, DEADLINE, SECRET, reserved_port, running_issuer, running_worker

SCRIPT = ROOT / "clients" / "browser" / "penchant.js"
BUILD = ["--bundle", "--minify", "--target=es2020", "--format=iife", "--global-name=penchant", "--tsconfig-raw={}"]
LARGEST = 5_000  # bytes, compressed
WAITING = """Object.keys(localStorage).filter(name => name.startsWith("penchant.events"))
  .flatMap(name => JSON.parse(localStorage[name])).length"""
LIST = """<!doctype html><title>shop</title><body style="margin: 0"><div data-impression-id="IMPRESSION">
<a id="milk" data-item-id="milk" style="display: block; height: 100px">Milk</a>
<a id="tea" data-item-id="tea" style="display: block; height: 100px">Tea</a>
<a id="far" data-item-id="far" style="display: block; height: 100px; margin-top: 5000px">Far away</a>
</div>"""


@dataclass
class Shop:
    """A shop's server with one page, and what it and the browser know."""

    url: str
    gateway: str
    impression: str


def page_of(shop: Shop) -> str:
    """A page with a list, and the scripts that the page in `docs/` tells to add."""
    (printed,) = blocks("clients.md", "html")
    scripts = printed[printed.index("<script") :].replace(PRINTED_URL, shop.gateway)
    return LIST.replace("IMPRESSION", shop.impression) + scripts


@contextmanager
def serving(shop: Shop) -> Iterator[Shop]:
    """Answer the page, the script, and tokens of guests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path)
            if path.path == "/penchant.js":
                body, kind = SCRIPT.read_bytes(), "text/javascript"
            elif path.path == "/token":
                body, kind = token_of(shop.gateway, parse_qs(path.query)["guest"][0]).encode(), "text/plain"
            else:
                body, kind = page_of(shop).encode(), "text/html"
            self.send_response(200)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", urlsplit(shop.url).port or 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield shop
        finally:
            server.shutdown()
            thread.join()


def token_of(gateway: str, guest: str) -> str:
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": guest, "subject_token_type": ANONYMOUS_ID}
    answer = httpx.post(f"{gateway}/oauth/token", data=form, auth=(CLIENT, SECRET), timeout=30)
    return str(answer.json()["access_token"])


def impression_of(gateway: str) -> str:
    """The signed id of a list that the gateway made."""
    headers = {"authorization": f"Bearer {token_of(gateway, 'somebody')}"}
    query = {"query": "{ me { recommendations { impressionId } } }"}
    answer = httpx.post(f"{gateway}/graphql", json=query, headers=headers, timeout=30).json()
    return str(answer["data"]["me"]["recommendations"]["impressionId"])


@pytest.fixture
async def shop(stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop whose pages may call a gateway, with a worker behind it."""
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}"
        scope = "recommendations:read events:write"
        await create_client(pool, register(CLIENT, SECRET, grants=[TOKEN_EXCHANGE], scope=scope, origins=[url]))
        await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "tea", "far")])
        with (
            running_issuer(stores, tmp_path / "gateway.log") as gateway,
            running_worker(stores, tmp_path / "worker.log"),
            serving(Shop(url, gateway.url, impression_of(gateway.url))) as shop,
        ):
            yield shop


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    """A headless Chromium."""
    with chromium(tmp_path / "profile") as opened:
        yield opened


async def stored(pool: Pool, count: int) -> list[dict[str, Any]]:
    """The events in Postgres once there are so many, oldest first."""
    query = "SELECT type, item_id, item_ids, impression_id, anonymous_id FROM events ORDER BY occurred_at, type"
    async with asyncio.timeout(DEADLINE):
        while len(rows := await pool.fetch(query)) < count:  # noqa: ASYNC110 - Postgres sends no signal
            await asyncio.sleep(0.05)
    return [dict(row) for row in rows]


@pytest.mark.browser
async def test_what_a_person_sees_and_does_is_stored_after_consent_and_nothing_before(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate("shop.view('milk'); document.getElementById('milk').click()")
    assert browser.evaluate("localStorage.length + String(shop.guestId())") == "0null"
    browser.evaluate("shop.consent(true); shop.view('milk'); document.getElementById('tea').click()")
    guest = browser.evaluate("shop.guestId()")
    events = await stored(pool, 3)
    assert {(each["type"], each["item_id"]) for each in events} == {
        ("VIEW", "milk"),
        ("CLICK", "tea"),
        ("IMPRESSION", None),
    }
    (seen,) = (each for each in events if each["type"] == "IMPRESSION")
    assert sorted(seen["item_ids"]) == ["milk", "tea"], "the item below the window was not seen"
    assert {each["impression_id"] for each in events if each["type"] != "VIEW"} == {shop.impression}
    assert {each["anonymous_id"] for each in events} == {guest}
    browser.evaluate("document.getElementById('far').scrollIntoView()")
    assert [each["item_ids"] for each in (await stored(pool, 4))[3:]] == [["far"]]

    browser.evaluate("shop.consent(false); shop.view('tea')")
    assert browser.evaluate("localStorage.length + String(shop.guestId())") == "0null"


@pytest.mark.browser
async def test_nothing_is_sent_when_consent_is_withdrawn_while_the_token_is_made(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate(
        """var sent = [], make = [], bodies = fetch;
        fetch = (url, options) => (sent.push(options.body), bodies(url, options));
        var other = penchant.start({
          url: "http://127.0.0.1:1/", token: () => new Promise((made) => make.push(made)), consent: true });
        other.view("milk"); other.flush(); other.consent(false); other.consent(true); other.view("tea"); 0"""
    )
    browser.evaluate("make[0]('a token of the guest who left'); 0")
    browser.until(lambda: browser.evaluate("make.length") == 2, "the new guest gets a token")
    assert browser.evaluate("sent.length") == 0


@pytest.mark.browser
async def test_events_wait_while_the_browser_is_offline_and_survive_the_page(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    def connect(offline: bool) -> None:
        browser.call(
            "Network.emulateNetworkConditions", offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate("shop.consent(true); shop.view('milk')")
    await stored(pool, 2)
    connect(offline=True)
    browser.evaluate("shop.view('tea'); shop.flush(); shop.view('far')")
    browser.until(lambda: browser.evaluate(WAITING) == 2, "both wait")
    connect(offline=False)
    guest = browser.evaluate("shop.guestId()")
    browser.go(f"{shop.url}/?another-page")
    browser.until(lambda: browser.evaluate("location.search && typeof shop") == "object", "the script runs")
    browser.evaluate("shop.consent(true)")
    assert browser.evaluate("shop.guestId()") == guest
    views = [each["item_id"] for each in await stored(pool, 4) if each["type"] == "VIEW"]
    assert sorted(views) == ["far", "milk", "tea"], "each once, however often it was sent"
    browser.until(lambda: browser.evaluate(WAITING) == 0, "nothing waits")


@pytest.mark.browser
async def test_tabs_keep_the_events_of_each_other_and_the_next_one_sends_those_of_tabs_that_are_gone(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    tab = """penchant.start({ url: "http://127.0.0.1:1/", consent: true, token: () => new Promise(() => 0) })"""
    browser.evaluate(f"var one = {tab}, two = {tab}; one.view('milk'); two.view('tea'); one.view('far'); 0")
    assert browser.evaluate(WAITING) == 3
    browser.evaluate(f"var three = {tab}; 0")
    held = browser.evaluate("navigator.locks.query().then(({ held }) => { window.held = held.length }); 0")
    browser.until(lambda: browser.evaluate("window.held || 0") == 3, f"each tab holds a lock: {held}")
    assert browser.evaluate(WAITING) == 3, "those of a tab that is there stay its own"
    browser.go(f"{shop.url}/?another-page")
    browser.until(lambda: browser.evaluate("location.search && typeof shop") == "object", "the script runs")
    browser.evaluate('localStorage[\'penchant.events\'] = \'[{"type": "LIKE", "itemId": "milk"}]\'')
    browser.evaluate("localStorage['penchant.events.x'] = 'not ours'; shop.consent(true)")
    kept = [each for each in await stored(pool, 5) if each["type"] != "IMPRESSION"]
    assert sorted((each["type"], each["item_id"]) for each in kept) == [
        ("LIKE", "milk"), ("VIEW", "far"), ("VIEW", "milk"), ("VIEW", "tea"),
    ]  # fmt: skip
    browser.until(lambda: browser.evaluate(WAITING) == 0, "nothing waits")


@pytest.mark.browser
async def test_a_sign_in_within_the_page_sends_what_waits_as_the_guest_first(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate(
        """var sent = [], tokens = ["guest", "person"], bodies = fetch;
        fetch = (url, { headers, body }) => new Promise((answer) => setTimeout(() => {
          sent.push(headers.authorization + " " + JSON.parse(body).variables.events.map((each) => each.itemId));
          answer(new Response('{"data": {"trackEvents": {"results": []}}}')) }, 50));
        var other = penchant.start({ url: "/", token: async () => tokens.shift(), consent: true });
        other.view("milk"); other.flush(); other.view("tea");
        other.identify().then(() => { other.view("far"); other.flush() }); 0"""
    )
    browser.until(lambda: browser.evaluate("sent.length") >= 2, "all are sent")
    assert browser.evaluate("sent.slice(0, 2).join('; ')") == "Bearer guest milk,tea; Bearer person far"


@pytest.mark.browser
async def test_what_a_user_did_is_never_sent_with_the_token_of_somebody_else(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate(
        """document.body.innerHTML = ""; var sent = [], answered = 200, person = "anna";
        var tokenOf = async () => "x." + btoa(JSON.stringify({ sub: person })) + ".x";
        fetch = async (url, { headers, body }) => {
          const { events } = JSON.parse(body).variables, by = JSON.parse(atob(headers.authorization.split(".")[1])).sub;
          sent.push(answered + " " + by + " " + events.map((each) => each.itemId + ("by" in each ? "!" : "")));
          return new Response('{"data": {"trackEvents": {"results": []}}}', { status: answered });
        };
        var begin = () => penchant.start({ url: "/", token: tokenOf, consent: true });
        var log = (name, made) => made.then(() => sent.push(name));
        var other = begin(); other.view("milk"); log("sent", other.flush()); 0"""
    )
    browser.until(lambda: browser.evaluate("sent.join('; ')") == "200 anna milk; sent", "Anna's view is sent")
    browser.evaluate(
        """sent = []; answered = 503; other.view("tea"); person = "urn:penchant:guest:g";
        log("left", other.identify()); other.view("far"); 0"""
    )
    browser.until(lambda: browser.evaluate("sent.at(-1)") == "left", "Anna has signed out")
    browser.evaluate("sent = []; answered = 200; log('sent', other.flush()); 0")
    browser.until(lambda: browser.evaluate("sent.at(-1)") == "sent", "the guest's view is sent")
    assert browser.evaluate("sent.join('; ')") == "200 urn:penchant:guest:g far; sent"

    browser.evaluate("sent = []; answered = 503; other.view('milk'); person = 'bert'; log('left', other.identify()); 0")
    browser.until(lambda: browser.evaluate("sent.at(-1)") == "left", "the guest has signed in")
    browser.evaluate("sent = []; answered = 200; log('sent', other.flush()); 0")
    browser.until(lambda: browser.evaluate("sent.at(-1)") == "sent", "the guest's view is sent")
    assert browser.evaluate("sent.join('; ')") == "200 bert milk; sent", "a guest who signs in stays the same person"

    browser.evaluate(
        """localStorage["penchant.events.gone"] = '[{"type": "VIEW", "itemId": "tea", "by": "anna"}]'; sent = [];
        var next = begin(); next.view("far"); 0"""
    )
    browser.until(lambda: browser.evaluate("localStorage['penchant.events.gone'] === undefined"), "it is taken over")
    browser.evaluate("log('sent', next.flush()); 0")
    browser.until(lambda: browser.evaluate("sent.at(-1)") == "sent", "Bert's view is sent")
    assert browser.evaluate("sent.join('; ')") == "200 bert far; sent", "what Anna's tab left is dropped"
    assert browser.evaluate(WAITING) == 0


@pytest.mark.browser
async def test_what_was_not_sent_is_sent_when_the_page_is_left(shop: Shop, browser: Chromium, pool: Pool) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate("shop.consent(true); shop.view('milk')")
    await stored(pool, 2)
    browser.evaluate("shop.view('tea'); location.href = 'about:blank'")
    assert "tea" in {each["item_id"] for each in await stored(pool, 3)}


@pytest.mark.browser
async def test_a_refused_event_is_dropped_and_its_reason_is_in_the_console(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate("console.warn = (...said) => { window.said = JSON.stringify(said) }; shop.consent(true)")
    browser.evaluate("shop.track({type: 'CLICK', itemId: 'milk', impressionId: 'forged'}); shop.view('tea')")
    browser.until(lambda: "impressionId" in (browser.evaluate("window.said") or ""), "the reason is shown")
    assert "tea" in {each["item_id"] for each in await stored(pool, 2)}
    browser.until(lambda: browser.evaluate(WAITING) == 0, "nothing waits")


@pytest.mark.browser
async def test_an_event_too_large_to_be_taken_does_not_hold_up_the_others(
    shop: Shop, browser: Chromium, pool: Pool
) -> None:
    browser.go(shop.url)
    browser.until(lambda: browser.evaluate("typeof shop") == "object", "the script runs")
    browser.evaluate("shop.consent(true); shop.track({type: 'VIEW', itemId: 'milk', query: 'a'.repeat(1_100_000)})")
    browser.evaluate("shop.view('tea')")
    assert "tea" in {each["item_id"] for each in await stored(pool, 2)}
    browser.until(lambda: browser.evaluate(WAITING) == 0, "nothing waits")


def test_the_script_is_small() -> None:
    assert len(gzip.compress(SCRIPT.read_bytes(), 9)) < LARGEST


@pytest.mark.node
def test_the_script_is_built_from_its_source_which_type_checks(pages_in_js: Path, tmp_path: Path) -> None:
    shutil.copytree(SCRIPT.parent, tmp_path / "browser")
    (tmp_path / "node_modules").symlink_to(pages_in_js / "node_modules")
    options = ["--strict", "--noEmit", "--skipLibCheck", "--target", "ES2022", "--lib", "ES2022,DOM,DOM.Iterable"]
    for command in (
        ["node", "node_modules/.bin/tsc", *options, "browser/penchant.ts"],
        ["node_modules/.bin/esbuild", "browser/penchant.ts", "--outfile=built.js", *BUILD],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "built.js").read_text() == SCRIPT.read_text(), f"build it again: {' '.join(command)}"
