"""A Postgres that is away is one error; an error about a statement passes unchanged."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import asyncpg
import pytest

from core.errors import StoreUnavailable
from db.postgres import Contended, Pool, SchemaOutdated, connect_pool, transaction
from tests.faults import Relay


@pytest.fixture
async def relay(postgres_url: str) -> AsyncIterator[Relay]:
    opened = Relay(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
async def cut(relay: Relay) -> AsyncIterator[Pool]:
    """A pool whose server can be taken away: close the relay."""
    pool = await connect_pool(await relay.open(), size=1, timeout=1.0, connect_timeout=1.0)
    yield pool
    pool.terminate()


async def test_a_server_that_is_gone_is_unavailable_to_every_call(relay: Relay, cut: Pool) -> None:
    await relay.close()
    for _ in range(2):
        for call in (cut.fetch, cut.fetchrow, cut.fetchval, cut.execute):
            with pytest.raises(StoreUnavailable, match="Postgres did not answer") as raised:
                await call("SELECT 1")
            assert raised.value.store == "postgres"


async def test_a_connection_lost_inside_a_transaction_is_unavailable_to_whatever_comes_next(
    relay: Relay, cut: Pool
) -> None:
    async def lose_it() -> None:
        async with cut.acquire() as connection, connection.transaction():
            await relay.close()
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await connection.fetchval("SELECT 1")

    with pytest.raises(StoreUnavailable):
        await lose_it()


async def test_the_pool_works_again_when_the_server_is_back(relay: Relay, cut: Pool) -> None:
    await relay.close()
    with pytest.raises(StoreUnavailable):
        await cut.fetchval("SELECT 1")
    await relay.open()
    assert await cut.fetchval("SELECT 1") == 1


async def test_a_statement_slower_than_the_pool_allows_is_unavailable(postgres_url: str) -> None:
    async with await connect_pool(postgres_url, size=1, timeout=0.1) as pool:
        with pytest.raises(StoreUnavailable, match="TimeoutError"):
            await pool.execute("SELECT pg_sleep(5)")


async def test_a_time_limit_of_the_caller_is_not_translated(pool: Pool) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await pool.execute("SELECT pg_sleep(5)")


async def test_a_pool_that_is_closed_is_unavailable(postgres_url: str) -> None:
    pool = await connect_pool(postgres_url, size=1)
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await pool.fetchval("SELECT 1")


async def test_a_session_that_the_server_ends_is_unavailable(pool: Pool) -> None:
    with pytest.raises(StoreUnavailable):
        await pool.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_connection_that_the_server_leaves_between_two_messages_is_unavailable_and_closed(pool: Pool) -> None:
    async def prepared(*_: object) -> None:
        raise asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")

    async with pool.acquire() as connection:
        raw, own = connection.raw, connection.raw._con
        connection.raw = SimpleNamespace(fetchval=prepared, terminate=raw.terminate)
        with pytest.raises(StoreUnavailable):
            await connection.fetchval("SELECT 1")
        assert own.is_closed()
    assert await pool.fetchval("SELECT 1") == 1


async def test_an_error_about_a_statement_passes_unchanged(pool: Pool) -> None:
    for statement, error in (
        ("SELECT 1 / 0", asyncpg.DataError),
        ("SELEC 1", asyncpg.PostgresSyntaxError),
        ("INSERT INTO users (id) VALUES (NULL)", asyncpg.IntegrityConstraintViolationError),
    ):
        with pytest.raises(error):
            await pool.execute(statement)


async def test_an_error_of_the_block_inside_passes_unchanged(pool: Pool) -> None:
    with pytest.raises(ConnectionResetError):
        async with transaction(pool):
            raise ConnectionResetError("by somebody else")


@pytest.mark.parametrize("statement", ["SELECT FROM not_made", "SELECT not_made FROM users", "SELECT not_made()"])
async def test_the_error_about_a_missing_table_column_or_function_says_to_migrate(pool: Pool, statement: str) -> None:
    with pytest.raises(SchemaOutdated, match="penchant migrate"):
        await pool.fetch(statement)


async def test_a_lock_that_another_transaction_holds_is_contended(pool: Pool) -> None:
    async with transaction(pool) as holder, transaction(pool) as other:
        await holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        await other.execute("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(Contended):
            await other.fetch("SELECT FROM users")


async def test_a_damaged_address_does_not_count_as_an_outage() -> None:
    with pytest.raises(ValueError, match="invalid"):
        await connect_pool("postgresql://localhost:port/name")


async def test_a_login_that_is_refused_is_unavailable(postgres_url: str) -> None:
    with pytest.raises(StoreUnavailable):
        await connect_pool(f"postgresql://nobody:nothing@{postgres_url.rpartition('@')[2]}", size=1)


async def test_a_cancelled_copy_in_a_transaction_is_cancelled_and_the_pool_goes_on(pool: Pool) -> None:
    async def collect(_: bytes) -> None:
        received.set()

    async def copy() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await connection.copy_from_query("SELECT generate_series(1, 1000000000)", output=collect)

    for rounds in range(40):  # at various moments of the COPY
        received = asyncio.Event()
        copying = asyncio.create_task(copy())
        await received.wait()
        for _ in range(rounds):
            await asyncio.sleep(0)
        assert copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert await pool.fetchval("SELECT 1") == 1
