"""The blocks for servers and scripts on the page about GraphQL clients do what the page says."""

import ast
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.postgres import Pool
from tests.auth_docs.pages import Reader, blocks
from tests.commands import ROOT
from tests.running import register_client, running_issuer

PAGE = "clients.md"


@pytest.fixture
async def reader(stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path) -> AsyncIterator[Reader]:
    """A reader with a token, beside a gateway with six items."""
    await register_client(pool)
    await upsert_items(pool, [{"id": f"item-{number}", "updated_at": clock.now()} for number in range(6)])
    with running_issuer(stores, tmp_path / "gateway.log") as gateway:
        yield Reader(gateway.url, tmp_path, {"TOKEN": gateway.token()})


def test_the_page_has_only_blocks_that_a_test_runs() -> None:
    counted = {name: len(blocks(PAGE, name)) for name in ("sh", "python", "ts", "json", "html")}
    assert sum(counted.values()) == len(blocks(PAGE)), "a block of another language"
    assert counted == {"sh": 2, "python": 1, "ts": 5, "json": 2, "html": 1}, "add the new block to a test"


def test_python_reads_all_pages_and_reports_a_click(reader: Reader) -> None:
    *pages, tracked = reader.python(blocks(PAGE, "python")[0]).splitlines()
    assert [len(page.split()) for page in pages] == [4, 2]
    assert len({id for page in pages for id in page.split()}) == 6
    assert ast.literal_eval(tracked) == {"accepted": 1, "rejected": 0}


def test_curl_gets_a_list_and_the_document_of_the_routes(reader: Reader) -> None:
    ask, describe = blocks(PAGE, "sh")
    assert len(json.loads(reader.sh(ask))["data"]["user"]["recommendations"]["nodes"]) == 3
    assert reader.sh(describe) == (ROOT / "openapi.json").read_text()
