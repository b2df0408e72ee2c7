"""Shared by the tests of erasures: report events of a person, erase the person, search for remaining data."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus.rabbitmq import topology
from bus.rabbitmq.publisher import RabbitPublisher
from core import clock
from core.settings import Stores
from db.postgres import Pool
from engine.intake.reading import read_batch
from engine.intake.storing import store
from engine.privacy.continuing_erasures import continue_erasures
from engine.privacy.guests import SETTLE_DELAY
from tests.running import CLIENT, SECRET
from workers.process import Connections

ERASE = """mutation ($id: ID!) { eraseUser(id: $id) { userErrors { code field }
  erasure { id erasedAt completedAt requestedBy stores { store status at note } } } }"""
RECEIPT = "query ($id: ID!) { erasure(id: $id) { id erasedAt completedAt stores { store status at note } } }"
TRACK = """mutation ($events: [EventInput!]!) {
  trackEvents(events: $events) { results { outcome code field message } } }"""
IDENTIFY = 'mutation { identify(input: {userId: "anna", anonymousId: "g-1"}) { userErrors { code } } }'
DESCRIBE = 'mutation { upsertUsers(users: [{id: "anna", traits: {city: "Bern"}}]) { accepted } }'
ABOUT = '{ user(id: "anna") { known traits rfm { frequency } history { nodes { id } } } }'
NOBODY: dict[str, Any] = {"known": False, "traits": None, "rfm": None, "history": {"nodes": []}}
LATER = {"LAKE", "BUNDLE", "OUTBOX", "QUEUE", "DEAD_EVENTS"}


async def authorize(http: httpx.AsyncClient, **form: str) -> None:
    granted = await http.post("/oauth/token", data=form, auth=(CLIENT, SECRET))
    http.headers["authorization"] = f"Bearer {granted.json()['access_token']}"


async def ask(http: httpx.AsyncClient, query: str, **variables: Any) -> Any:
    body = (await http.post("/graphql", json={"query": query, "variables": variables})).json()
    assert "errors" not in body, body
    (answer,) = body["data"].values()
    return answer


async def erase(http: httpx.AsyncClient, id: str = "anna") -> dict[str, Any]:
    payload = await ask(http, ERASE, id=id)
    assert payload["userErrors"] == []
    receipt: dict[str, Any] = payload["erasure"]
    return receipt


def event(id: str, moment: datetime | None = None, **fields: Any) -> dict[str, Any]:
    """A purchase by anna, or by the guest in `fields`, an hour ago unless a moment is given."""
    when = moment or clock.now() - timedelta(hours=1)
    who = {} if "anonymousId" in fields else {"userId": "anna"}
    return {"type": "PURCHASE", "itemId": "milk", "id": id, "occurredAt": when.isoformat(), **who, **fields}


async def track(http: httpx.AsyncClient, *events: dict[str, Any]) -> list[tuple[str, str | None]]:
    payload = await ask(http, TRACK, events=events)
    return [(result["outcome"], result["code"]) for result in payload["results"]]


async def drain(channel: AbstractChannel, connections: Connections) -> list[int]:
    """Store every batch of the queue, as a worker does. Returns how many events of each were new."""
    queue, stored = await channel.get_queue(topology.EVENTS.name), []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        stored.append(await store(connections, read_batch(json.loads(message.body)[0][0]).events, timeout=5))
    return stored


async def carry_on(
    stores: Stores, pool: Pool, redis: Redis, after: timedelta = 2 * SETTLE_DELAY, *, has_lake: bool = False
) -> int:
    """Run the periodic task that continues erasures, as if `after` had passed."""
    broker = RabbitPublisher(stores.broker_url.get_secret_value(), 5)
    try:
        return await continue_erasures(pool, redis, broker, clock.now() + after, has_lake=has_lake)
    finally:
        await broker.close()


def states(receipt: dict[str, Any]) -> dict[str, str]:
    return {one["store"]: one["status"] for one in receipt["stores"]}


async def tables_with(pool: Pool, text: str) -> list[str]:
    """The tables where some row has the text in any column."""
    tables = await pool.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    return [
        name
        for (name,) in tables
        if await pool.fetchval(f"SELECT EXISTS (SELECT FROM {name} AS row WHERE row::text LIKE $1)", f"%{text}%")
    ]
