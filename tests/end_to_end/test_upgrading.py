"""A release keeps working while the migration of the next release runs, and after it."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr
from redis import Redis

from core.settings import Stores
from db import migrate
from db.postgres import connect_pool
from tests.running import Running, register_client, running_gateway, running_worker, until

# Additions that the next release might make: a filled column in every table, a table, an index, a view.
NEXT = """
DO $$ DECLARE name text;
BEGIN
    FOR name IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'penchant_version'
    LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN of_next_release text NOT NULL DEFAULT ''x''', name);
    END LOOP;
END $$;
CREATE TABLE of_next_release (id text PRIMARY KEY);
CREATE INDEX ON items (brand);
CREATE VIEW all_items AS SELECT * FROM items;
UPDATE penchant_version SET version_num = 'next';
"""
UPLOAD = """mutation ($items: [ItemInput!]!, $users: [UserInput!]!, $events: [EventInput!]!) {
  upsertItems(items: $items) { accepted } upsertUsers(users: $users) { accepted }
  trackEvents(events: $events) { accepted results { outcome code message } } requestTraining { job { state } } }"""
ASK = """query ($person: ID!, $item: ID!) {
  user(id: $person) { known traits history(first: 5) { nodes { itemId orderId } }
    recommendations(first: 5) { edges { node { id title } } } }
  item(id: $item) { title brand } items(first: 5) { nodes { id } } trending(first: 5) { placement }
  models(first: 5) { nodes { id } } decisions(first: 5) { nodes { id } } jobs(first: 5) { nodes { state } } }"""


@pytest.fixture
def own(stores: Stores) -> Iterator[Stores]:
    """The test's stores with a migrated database that no other test uses."""
    url, name = stores.postgres_url.get_secret_value(), f"upgrading_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        ours = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        migrate.upgrade(ours)
        with Redis.from_url(stores.redis_url.get_secret_value()) as redis:
            redis.flushdb()
        yield stores.model_copy(update={"postgres_url": SecretStr(ours)})
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def asked(gateway: Running, token: str, query: str, **variables: Any) -> dict[str, Any]:
    body = {"query": query, "variables": variables}
    headers = {"authorization": f"Bearer {token}"}
    answer = httpx.post(f"{gateway.url}/graphql", json=body, headers=headers, timeout=30).json()
    assert "errors" not in answer, answer
    data: dict[str, Any] = answer["data"]
    return data


async def test_gateway_and_worker_keep_working_during_and_after_the_migration_of_the_next_release(
    own: Stores, tmp_path: Path
) -> None:
    async with await connect_pool(own.postgres_url.get_secret_value(), size=1) as pool:
        await register_client(pool)
    with running_worker(own, tmp_path / "worker.log"), running_gateway(own, tmp_path / "gateway.log") as gateway:
        use(gateway, "before")
        with psycopg.connect(own.postgres_url.get_secret_value()) as connection:
            connection.execute(NEXT)
        use(gateway, "after")
    with running_gateway(own, tmp_path / "again.log") as gateway:  # starts on a schema that is newer than the gateway
        answer = asked(gateway, gateway.token(), ASK, person="ada", item="after")
        assert {each["id"] for each in answer["items"]["nodes"]} == {"before", "after"}
    for log in ("gateway.log", "again.log", "worker.log"):
        assert '"level": "error"' not in (tmp_path / log).read_text()


def use(gateway: Running, name: str) -> None:
    """Upload an item, a user and a purchase of the same name, and find them again."""
    token = gateway.token()
    purchase = {"type": "PURCHASE", "userId": "ada", "itemId": name, "orderId": name, "quantity": 1}
    uploaded = asked(
        gateway,
        token,
        UPLOAD,
        items=[{"id": name, "title": name.title(), "brand": "b"}],
        users=[{"id": "ada", "traits": {"seen": name}}],
        events=[{**purchase, "unitPrice": "2.00", "currency": "EUR"}],
    )
    assert uploaded["upsertItems"]["accepted"] == uploaded["upsertUsers"]["accepted"] == 1
    assert uploaded["trackEvents"]["accepted"] == 1, uploaded
    assert uploaded["requestTraining"]["job"]["state"] == "QUEUED"

    def found() -> bool:
        answer = asked(gateway, token, ASK, person="ada", item=name)
        orders = [event["orderId"] for event in answer["user"]["history"]["nodes"]]
        return name in orders and answer["item"] == {"title": name.title(), "brand": "b"}

    until(found, f"what was uploaded {name} the migration is found again")
    answer = asked(gateway, token, ASK, person="ada", item=name)
    assert (answer["user"]["known"], answer["user"]["traits"]) == (True, {"seen": name})
    assert answer["jobs"]["nodes"] == [{"state": "QUEUED"}] * 2  # of the lists and of the forecast
