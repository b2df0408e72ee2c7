"""`penchant segments`: saves, lists, finds the members, prints and deletes."""

import asyncio
import json
from datetime import timedelta

import pytest

from core import clock
from core.contract import read_event
from db.events import insert_events
from db.items import upsert_items
from db.postgres import Pool
from tests.commands import invoke, run_penchant
from tests.running import without_settings


@pytest.fixture
async def purchases(pool: Pool) -> None:
    """Anna ordered twice, bert once."""
    now = clock.now()
    await upsert_items(pool, [{"id": "milk", "updated_at": now}])
    lines = [("anna", "o1"), ("anna", "o2"), ("bert", "o3")]
    await insert_events(
        pool,
        [
            read_event(
                {
                    "type": "PURCHASE", "userId": who, "itemId": "milk", "id": order, "orderId": order,
                    "occurredAt": (now - timedelta(hours=at + 1)).isoformat(),
                },
                source="shop",
                received_at=now,
            )
            for at, (who, order) in enumerate(lines)
        ],
    )  # fmt: skip


async def test_a_segment_from_its_definition_to_its_members(purchases: None, pool: Pool, database: str) -> None:
    async def run(*words: str, code: int = 0) -> str:
        done = await asyncio.to_thread(invoke, "segments", *words)
        assert done.exit_code == code, done.output
        return done.output

    assert "There are no segments" in await run("list")
    assert "again is saved" in await run("save", "again", "--where", '{"orders": {"min": 2}}', "--name", "Again")
    assert "not found yet" in await run("members", "again", code=1)
    assert "members were found: 1." in await run("refresh", "--bundles", "none")
    assert await run("members", "again") == "anna\n"
    found = json.loads(await run("list", "--json"))[0]
    assert (found["id"], found["name"], found["where"], found["members"]) == (
        "again",
        "Again",
        {"orders": {"min": 2}},
        1,
    )
    await pool.execute('UPDATE segments SET definition = \'{"orders": {"least": 2}}\', due_at = now()')
    assert "The members of 1 could not be found" in await run("refresh", "--bundles", "none", code=1)
    assert await run("members", "again") == "anna\n"
    assert "where.orders" in await run("save", "again", "--where", '{"orders": 2}', code=1)
    assert "not JSON" in await run("save", "again", "--where", "{", code=2)
    assert "again is deleted" in await run("delete", "again")
    assert "There is no segment" in await run("delete", "again", code=1)


def test_a_wrong_condition_is_said_before_anything_is_connected() -> None:
    ended = run_penchant("segments", "save", "all", "--where", '{"churn": {"min": 2}}', environment=without_settings())
    assert (ended.returncode, ended.stderr) == (1, "penchant: where.churn takes numbers from 0 to 1.\n")
