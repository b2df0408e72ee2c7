"""Real private stores for the tests: started when first used, shared by the run, a part of them for each worker."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import aio_pika
import psycopg
import pytest
from aio_pika.abc import AbstractChannel
from redis.asyncio import Redis

from bus.rabbitmq import topology
from cli.stack.shared import ask, served
from core.settings import Stores
from db.cache import connect_redis
from db.postgres import Pool, connect_pool

pytest_plugins = (
    "tests.fixtures.cheap_secrets",
    "tests.fixtures.gateway",
    "tests.fixtures.log_watch",
    "tests.fixtures.node",
    "tests.fixtures.over_http",
    "tests.fixtures.worker",
)

SOCKET = "PENCHANT_TEST_STACK"
MEMBER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_run = ExitStack()

EMPTY_EVERY_TABLE = """
DO $$ DECLARE name regclass;
BEGIN
    SET LOCAL lock_timeout = '10s';
    SET LOCAL session_replication_role = replica;  -- without triggers and foreign keys
    FOR name IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname <> 'penchant_version' AND pg_relation_size(oid) > 0
    LOOP
        -- TRUNCATE makes new files, for each index too: with few rows it takes ten times as long.
        IF pg_relation_size(name) < 400000 THEN EXECUTE format('DELETE FROM %s', name);
        ELSE EXECUTE format('TRUNCATE %s CASCADE', name); END IF;
    END LOOP;
    PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid
        WHERE relnamespace = 'public'::regnamespace;
END $$
"""


def pytest_configure(config: pytest.Config) -> None:
    """The first process of the run serves the stack; a store starts when a test first uses it."""
    if SOCKET not in os.environ:
        workers = config.getoption("numprocesses", default=None) or 0
        members = ["main", *(f"gw{number}" for number in range(workers))]
        os.environ[SOCKET] = _run.enter_context(served(members))
        _run.callback(os.environ.pop, SOCKET)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests that may take long come first: no worker is left alone with one of them at the end."""
    longest: dict[Path, float] = {}
    for item in items:
        if mark := item.get_closest_marker("timeout"):
            longest[item.path] = max(longest.get(item.path, 0), *mark.args)
    items.sort(key=lambda item: -longest.get(item.path, 0))


def pytest_unconfigure() -> None:
    """Stop what the run started."""
    _run.close()


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A migrated database of this worker's own."""
    return ask(os.environ[SOCKET], MEMBER, "postgres")["postgres"]


@pytest.fixture(scope="session")
def redis_url() -> str:
    """A database number of this worker's own."""
    return ask(os.environ[SOCKET], MEMBER, "valkey")["valkey"]


@pytest.fixture(scope="session")
def broker_url() -> str:
    """A vhost of this worker's own; `channel` empties its queues."""
    return ask(os.environ[SOCKET], MEMBER, "rabbitmq")["rabbitmq"]


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """The three stores, started side by side, and a folder for bundles."""
    urls = ask(os.environ[SOCKET], MEMBER, "postgres", "valkey", "rabbitmq")
    bundles: Path = tmp_path_factory.mktemp("bundles")
    return Stores.model_validate(
        {
            "postgres_url": urls["postgres"],
            "redis_url": urls["valkey"],
            "broker_url": urls["rabbitmq"],
            "bundles": bundles,
        }
    )


@pytest.fixture(scope="session")
def empty_tables(postgres_url: str) -> Iterator[Callable[[], None]]:
    """Empties every table, always on one connection: a new one would first read what Postgres knows of each table."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def empty() -> None:
            connection.execute(EMPTY_EVERY_TABLE)

        yield empty


@pytest.fixture
async def pool(postgres_url: str, empty_tables: Callable[[], None]) -> AsyncIterator[Pool]:
    """A pool on this worker's database, every table empty."""
    empty_tables()
    async with await connect_pool(postgres_url) as opened:
        yield opened


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client on this worker's database number, which is empty."""
    async with connect_redis(redis_url, timeout=30) as client:
        await client.flushdb()
        yield client


@pytest.fixture
async def channel(broker_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel on this worker's vhost, every queue empty."""
    topology.declare(broker_url)
    async with await aio_pika.connect(broker_url) as connection:
        opened = await connection.channel()
        for queue in (topology.EVENTS, topology.DEAD_LETTERS):
            await (await opened.get_queue(queue.name)).purge()
        yield opened
