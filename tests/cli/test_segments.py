"""`penchant segments`: saves, lists, finds the members, prints and deletes."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

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


async def test_a_file_is_compared_applied_and_its_history_shown(pool: Pool, database: str, tmp_path: Path) -> None:
    file = tmp_path / "segments.toml"
    file.write_text(
        '[lapsing]\nname = "May not come back"\nwhere.rfm = ["AT_RISK"]\nwhere.spent = { min = 100.5 }\n'
        "[again]\nwhere.nextPurchase = { min = 0.5 }\n"
    )

    async def run(*words: str, code: int = 0) -> str:
        done = await asyncio.to_thread(invoke, "segments", *words)
        assert done.exit_code == code, done.output
        return done.output

    shown = await run("diff", str(file))
    assert '+   where = {"rfm":["AT_RISK"],"spent":{"min":100.5}}' in shown
    assert await pool.fetchval("SELECT count(*) FROM segments") == 0
    assert "lapsing  version 1" in await run("apply", str(file), "--reason", "a mailing")
    assert "Nothing changes" in await run("apply", str(file))
    assert "a mailing" in await run("show", "lapsing")
    found = await pool.fetchrow("SELECT name, definition FROM segments WHERE id = 'again'")
    assert tuple(found) == ("again", {"next_purchase": {"within": 30, "min": 0.5}})
    await run("remove", "lapsing", "--reason", "done")
    assert [line.split("  ")[1] for line in (await run("history", "lapsing")).splitlines()] == [
        "version 2",
        "version 1",
    ]
    assert "There never was" in await run("history", "none", code=1)
    file.write_text('[lapsing]\nwhere.orders = { min = "2" }\n')
    assert "[lapsing]: where.orders.min must be a number" in await run("apply", str(file), code=2)


def test_a_wrong_condition_is_said_before_anything_is_connected() -> None:
    ended = run_penchant("segments", "save", "all", "--where", '{"churn": {"min": 2}}', environment=without_settings())
    assert (ended.returncode, ended.stderr) == (1, "penchant: where.churn.min must be at most 1\n")
