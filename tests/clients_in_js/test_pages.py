"""The code of docs/clients.md: it is typed by the committed schema, and each client's page works on a real gateway."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.oauth.clients.registration import register
from api.oauth.grant_types import ANONYMOUS_ID, TOKEN_EXCHANGE
from core import clock
from core.settings import Stores
from db.clients import create_client
from db.items import upsert_items
from db.postgres import Pool
from tests.auth_docs.pages import PRINTED_URL
from tests.commands import ROOT
from tests.fixtures.node import TIMEOUT
from tests.running import CLIENT, SECRET, Running, running_issuer

pytestmark = pytest.mark.node

CLIENTS = ("apollo", "urql", "relay", "graphql-request")
GUEST = "milk"  # an item has this id too: no cache may mix them up
ITEMS = ["milk", *(f"item-{number:02}" for number in range(10))]
_FILE = re.compile(r"^`([\w.-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
async def gateway(stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway with some items and a client that gets tokens for guests."""
    scope = "recommendations:read events:write"
    await create_client(pool, register(CLIENT, SECRET, grants=[TOKEN_EXCHANGE], scope=scope))
    offer: Any = {"market": None, "price": "1.50", "currency": "EUR", "available": True}
    await upsert_items(
        pool, [{"id": id, "title": id.title(), "offers": [offer], "updated_at": clock.now()} for id in ITEMS]
    )
    with running_issuer(stores, tmp_path / "gateway.log") as running:
        yield running


def token_of_guest(gateway: Running) -> str:
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": GUEST, "subject_token_type": ANONYMOUS_ID}
    answer = httpx.post(f"{gateway.url}/oauth/token", data=form, auth=(CLIENT, SECRET), timeout=30)
    return str(answer.json()["access_token"])


def write_pages(folder: Path, installed: Path, url: str) -> None:
    """The files of the page in `docs/`, as a reader has them, beside those of the test."""
    (folder / "src").mkdir(parents=True)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    for name in ("bundle.mjs", "tsconfig.json", "drive.ts", "token.ts"):
        shutil.copy(installed / name, folder / ("src" if name.endswith(".ts") else ".") / name)
    shutil.copy(ROOT / "schema.graphql", folder)
    files = dict(_FILE.findall((ROOT / "docs" / "clients.md").read_text(encoding="utf-8")))
    assert {f"{name}.ts" for name in CLIENTS} < files.keys()
    for name, code in files.items():
        (folder / ("src" if name.endswith(".ts") else ".") / name).write_text(code.replace(PRINTED_URL, url))


def run_node(folder: Path, *command: str, **variables: str) -> str:
    """What Node prints; a command of a package is named by its file in node_modules/.bin."""
    done = subprocess.run(
        ["node", *command],
        cwd=folder,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-8_000:]}{done.stderr[-8_000:]}"
    return done.stdout


def generate(folder: Path) -> None:
    """Let the compilers of the clients write types and documents from the schema."""
    run_node(folder, "node_modules/.bin/graphql-codegen-esm", "--config", "codegen.json")
    run_node(folder, "node_modules/.bin/relay-compiler")


@pytest.mark.timeout(600)
def test_each_clients_page_is_typed_scrolls_to_the_end_and_reports_events(
    gateway: Running, pages_in_js: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pages"
    write_pages(folder, pages_in_js, gateway.url)
    generate(folder)
    run_node(folder, "node_modules/.bin/tsc", "--project", ".")
    run_node(folder, "bundle.mjs")
    for client in CLIENTS:
        got = json.loads(run_node(folder, "drive.cjs", client, TOKEN=token_of_guest(gateway)))
        shown = [card["node"]["id"] for card in got["cards"]]
        assert sorted(shown) == sorted(ITEMS), f"{client}: every item once"
        assert len(got["first"]) == 4 and got["firstMore"], client
        assert all(shown[: len(page)] == page for page in got["pages"]), f"{client}: the list only grows"
        assert [card["rank"] for card in got["cards"]] == list(range(1, len(ITEMS) + 1)), client
        assert all(card["reason"]["text"] and card["impressionId"] for card in got["cards"]), client
        prices = {(card["node"]["price"]["amount"], card["node"]["price"]["currency"]) for card in got["cards"]}
        assert prices == {("1.50", "EUR")}, client
        assert got["accepted"] == 2, f"{client}: the events are taken"


def test_a_query_for_a_field_that_is_not_there_does_not_type_check(pages_in_js: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    write_pages(folder, pages_in_js, PRINTED_URL)
    generate(folder)
    page = folder / "src" / "graphql-request.ts"
    page.write_text(page.read_text().replace("me.recommendations.pageInfo.endCursor", "me.recommendations.cursor"))
    with pytest.raises(AssertionError, match="Property 'cursor' does not exist"):
        run_node(folder, "node_modules/.bin/tsc", "--project", ".")
