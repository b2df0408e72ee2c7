"""A real gateway ends the statement of an operation that takes too long, and of one whose caller hangs up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from api.oauth.grant_types import CLIENT_CREDENTIALS
from core.settings import Stores
from db.postgres import Pool
from tests.erasing import authorize
from tests.faults import eventually
from tests.running import register_client, running_gateway

DEADLINE, SOON = 2.0, 1.0  # seconds
QUERY = json.dumps({"query": '{ user(id: "anna") { history { nodes { id } } } }'}).encode()


@asynccontextmanager
async def locked(pool: Pool) -> AsyncIterator[None]:
    """Every statement about events waits until the block ends."""
    async with pool.acquire() as held, held.transaction():
        await held.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        yield


async def until_waiting(pool: Pool, count: int, within: float) -> None:
    """Until so many statements of requests wait. The gateway itself counts popular items beside them."""

    async def holds() -> bool:
        waiting = await pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            " AND query NOT LIKE '%WITH bought AS%'"
        )
        return bool(waiting == count)

    await eventually(holds, within)


async def test_a_slow_statement_is_gone_after_the_deadline_and_after_a_hang_up(
    stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path
) -> None:
    await register_client(pool)
    deadline = {"PENCHANT_REQUEST_TIMEOUT": str(DEADLINE)}
    with running_gateway(stores, tmp_path / "gateway.log", **deadline) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client, locked(pool):
            await authorize(client, grant_type=CLIENT_CREDENTIALS)
            client.headers["content-type"] = "application/json"
            asking = asyncio.create_task(client.post("/graphql", content=QUERY))
            await until_waiting(pool, 1, DEADLINE)
            answer = await asking
            assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (504, "TIMEOUT")
            await until_waiting(pool, 0, SOON)

            _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
            head = f"POST /graphql HTTP/1.1\r\nhost: a\r\nauthorization: {client.headers['authorization']}\r\n"
            framing = f"content-type: application/json\r\ncontent-length: {len(QUERY)}\r\n\r\n"
            writer.write(head.encode() + framing.encode() + QUERY)
            await until_waiting(pool, 1, DEADLINE)
            writer.transport.abort()
            await until_waiting(pool, 0, SOON)
