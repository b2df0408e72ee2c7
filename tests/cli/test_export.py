"""`penchant export events`: exports what is new, and fails with a message and an exit code."""

import asyncio
import csv
import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from core import clock
from core.contract import read_event
from db.events import insert_events
from db.lake.owner import sole_writer
from db.postgres import Pool
from tests.commands import invoke

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("pool", "database")


async def run(*words: str | Path) -> Result:
    """In a thread: the command has an event loop of its own."""
    return await asyncio.to_thread(invoke, "export", "events", *words)


async def store(pool: Pool, *moments: datetime) -> None:
    raw = {"type": "VIEW", "userId": "u", "itemId": "i"}
    given = ({**raw, "id": str(number), "occurredAt": at} for number, at in enumerate(moments))
    await insert_events(pool, [read_event(each, source="shop", received_at=None) for each in given])


async def test_days_that_are_over_are_exported_once(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(pool, NOON, NOON + timedelta(days=1), clock.now())
    first = await run("--to", tmp_path / "lake", "--json")
    assert (first.exit_code, json.loads(first.stdout)) == (0, {"days": 2, "rows": 2, "unchanged": 0, "fewer": []})
    assert "exporting 2026-01: 2 of 2" in first.stderr
    monkeypatch.setenv("PENCHANT_LAKE_URL", str(tmp_path / "lake"))
    again = await run()
    assert again.exit_code == 0
    assert "0 days exported with 0 events; 2 days were there as they are." in again.stdout


async def test_only_the_days_of_the_options_are_exported(pool: Pool, tmp_path: Path) -> None:
    await store(pool, *(NOON + timedelta(days=day) for day in range(4)))
    done = await run("--to", tmp_path, "--since", "2026-01-06", "--until", "2026-01-08")
    assert done.exit_code == 0
    found = sorted(folder.name for folder in (tmp_path / "events/v1").iterdir())
    assert found == ["day=2026-01-06", "day=2026-01-07"]


async def test_days_with_fewer_events_in_postgres_than_in_the_lake_are_named(pool: Pool, tmp_path: Path) -> None:
    await store(pool, NOON, NOON + timedelta(hours=1))
    assert (await run("--to", tmp_path)).exit_code == 0
    await pool.execute("DELETE FROM events WHERE id = '1'")
    assert "the lake holds more of them than Postgres: 2026-01-05" in (await run("--to", tmp_path)).stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "PENCHANT_LAKE_URL"),
        (("--to", "nonsense://x"), 2, "nonsense:// is not an address of a storage"),
        (("--to", "ftp://ada:hush@host/x"), 2, "must not contain a password"),
        (("--to", "simplecache::s3://id:hu/hush@shop/x"), 2, "must not contain a password"),
        (("--to", "memory://shop"), 2, "cannot hold a lake"),
        (("--to", "file://[x"), 2, "file:// needs an absolute path"),
        (("--to", "/proc/nowhere"), 3, "The lake at /proc/nowhere cannot be written: FileNotFoundError"),
        (("--to", "lake", "--since", "last week"), 2, "--since"),
    ],
)
async def test_an_export_that_is_impossible_ends_with_one_line(
    pool: Pool, words: tuple[str, ...], code: int, message: str
) -> None:
    await store(pool, NOON)
    done = await run(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert "hush" not in done.stderr and "Traceback" not in done.stderr


async def test_the_error_about_unreachable_storage_hides_its_keys(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id-of-mine")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        done = await run("--to", "s3://shop/lake")
    assert done.exit_code == 3
    assert "The lake at s3://shop/lake did not answer: EndpointConnectionError" in done.stderr
    assert "hush" not in done.stderr and "an-id-of-mine" not in done.stderr


async def test_a_second_export_at_the_same_time_is_refused(pool: Pool, tmp_path: Path) -> None:
    async with sole_writer(pool):
        done = await run("--to", tmp_path)
    assert (done.exit_code, done.stderr) == (1, "penchant: Another process is writing to the lake.\n")


def rows_in(file: Path) -> list[dict[str, str]]:
    """The rows of a file that is alone in its folder: no part of another one is left."""
    assert list(file.parent.iterdir()) == [file]
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


async def test_people_are_written_with_their_features(pool: Pool, tmp_path: Path) -> None:
    raw = {"type": "PURCHASE", "userId": "u", "itemId": "i", "quantity": 2, "unitPrice": "1.50", "currency": "EUR"}
    given = ({**raw, "id": str(day), "occurredAt": NOON + timedelta(days=day)} for day in range(3))
    await insert_events(pool, [read_event(each, source="shop", received_at=None) for each in given])
    file = tmp_path / "people.csv"
    done = await asyncio.to_thread(invoke, "export", "people", file, "--as-of", "2026-01-07")
    assert done.exit_code == 0 and "as of 2026-01-07" in done.stdout
    (row,) = rows_in(file)
    assert (row["person"], row["orders"], row["units"], row["spend_cents"]) == ("user:u", "2", "4", "600")
