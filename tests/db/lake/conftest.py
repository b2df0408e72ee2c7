"""Lakes in a folder and on an S3 server that answers over HTTP, and events for them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from core.contract import Event, read_event
from db.events import insert_events
from db.lake.export import Exported, export_events
from db.lake.location import Lake
from db.lake.owner import sole_writer
from db.postgres import Pool

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of the server."""
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3FileSystem]:
    """The server, set up by the usual environment variables, with an empty bucket `shop`."""
    for name, value in (("ENDPOINT_URL", s3_server), ("ACCESS_KEY_ID", "id"), ("SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    S3FileSystem.clear_instance_cache()
    files = S3FileSystem()
    files.mkdir("shop")
    yield files
    files.rm("shop", recursive=True)
    S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["file", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """An empty lake."""
    if request.param == "file":
        return Lake.at(f"file://{tmp_path}/lake")
    request.getfixturevalue("s3")
    return Lake.at("s3://shop/lake")


def event(number: int, at: datetime = NOON, **fields: Any) -> Event:
    """A purchase by `u1`, unless the fields say otherwise."""
    raw = {"type": "PURCHASE", "id": str(number), "occurredAt": at, "userId": "u1", "itemId": "tea", **fields}
    return read_event({key: value for key, value in raw.items() if value is not None}, source="shop", received_at=NOW)


async def store(pool: Pool, *events: Event) -> None:
    assert all(await insert_events(pool, events))


async def export(pool: Pool, lake: Lake, now: datetime = NOW, **span: Any) -> Exported:
    async with sole_writer(pool) as connection:
        return await export_events(connection, lake, now, silent, **span)


def silent(stage: str, done: int, of: int) -> None:
    """Report no progress."""
