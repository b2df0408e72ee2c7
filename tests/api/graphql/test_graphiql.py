"""GraphiQL in a real browser: it comes from us alone, keeps to its policy, and asks with the token that is entered."""

import asyncio
from pathlib import Path

import httpx
import pytest

from core.settings import Stores
from db.postgres import Pool
from tests.chromium import chromium
from tests.running import register_client, running_issuer

pytestmark = pytest.mark.browser

ANSWER = "document.querySelector('.result-window')?.innerText || ''"


async def test_graphiql_asks_with_the_token_that_is_entered(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    await register_client(pool)
    with (
        running_issuer(stores, tmp_path / "log", PENCHANT_GRAPHIQL="true") as gateway,
        chromium(tmp_path / "profile") as browser,
    ):
        browser.call("Emulation.setDeviceMetricsOverride", width=320, height=700, deviceScaleFactor=1, mobile=False)
        browser.go(f"{gateway.url}/graphql")
        browser.until(lambda: browser.evaluate("!!document.querySelector('.graphiql-container')"), "GraphiQL is shown")
        browser.fill_in(token=gateway.token())
        browser.evaluate("document.querySelector('#token button').click()")
        browser.until(
            lambda: browser.evaluate("!!document.querySelector('.graphiql-execute-button')"), "GraphiQL is shown again"
        )
        browser.evaluate("document.querySelector('.graphiql-execute-button').click()")
        browser.until(lambda: '"trending"' in browser.evaluate(ANSWER), "the answer is shown")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 320
        assert browser.evaluate("JSON.stringify(localStorage) + JSON.stringify(sessionStorage)").count("Bearer") == 0
        assert browser.violations() == []
        assert {url for url in browser.asked_for("http") if not url.startswith(gateway.url)} == set()
        script = await asyncio.to_thread(httpx.get, f"{gateway.url}/graphiql/page.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in script.headers["cache-control"]
