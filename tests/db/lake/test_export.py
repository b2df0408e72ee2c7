"""Every day that is over lies in the lake as Postgres holds it, once, however often it is exported."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from core.contract import Person
from core.errors import InvalidInput, StoreUnavailable
from db.lake import parts
from db.lake.days import read_contents
from db.lake.erasure import erase_people
from db.lake.late import without
from db.lake.owner import AnothersLake, LakeBusy, sole_writer
from db.lake.place import Lake
from db.lake.retention import drop_exported_months
from tests.db.lake.conftest import DAY, NOON, NOW, event, export, store


def content(lake: Lake) -> dict[str, bytes]:
    return lake.read(lake.sizes())


def rows(lake: Lake, day: datetime = NOON) -> list[dict[str, Any]]:
    """What a reader finds who goes by the manifest."""
    folder = f"day={day:%Y-%m-%d}"
    manifest = json.loads(lake.read([f"{folder}/_SUCCESS.json"]).popitem()[1])
    found: list[dict[str, Any]] = []
    for part in manifest["files"]:
        data = lake.read([f"{folder}/{part['name']}"]).popitem()[1]
        assert (sha256(data).hexdigest(), len(data)) == (part["sha256"], part["bytes"])
        with lake.files.open(lake.path(f"{folder}/{part['name']}"), "rb") as file:
            found += pq.ParquetFile(file).read().to_pylist()
    assert manifest["rows"] == len(found)
    return found


@contextmanager
def answering_all(status: int, body: bytes) -> Iterator[str]:
    """A server that says the same to everything; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 -- named by the library

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_an_event_comes_out_with_every_field_as_it_went_in(pool: asyncpg.Pool, lake: Lake) -> None:
    whole = event(
        1, NOON + timedelta(microseconds=7), anonymousId="a", orderId="o1", quantity=2, unitPrice="2.345",
        currency="EUR", value="1000000000.0001", query='tea,\n"green"', sessionId="s", impressionId="i",
        itemIds=["tea", "cup, with handle"], properties={"b": [1, None], "a": "ä\n"},
    )  # fmt: skip
    bare = event(2, NOON + DAY, type="SEARCH", itemId=None, query="tea")
    await store(pool, whole, bare)
    assert vars(await export(pool, lake)) == {"days": 2, "rows": 2, "unchanged": 0, "fewer": []}
    (row,) = rows(lake)
    assert json.loads(row.pop("properties")) == {"b": [1, None], "a": "ä\n"}
    assert row == {
        "source": "shop", "id": "1", "occurred_at": whole.occurred_at, "received_at": NOW, "type": "PURCHASE",
        "user_id": "u1", "anonymous_id": "a", "item_id": "tea", "item_ids": ["tea", "cup, with handle"],
        "order_id": "o1", "quantity": 2, "unit_price": Decimal("2.3450"), "currency": "EUR",
        "value": Decimal("1000000000.0001"), "query": 'tea,\n"green"', "impression_id": "i", "session_id": "s",
        "digest": whole.digest,
    }  # fmt: skip
    (row,) = rows(lake, NOON + DAY)
    assert {name for name, value in row.items() if value is not None} == {
        "source", "id", "occurred_at", "received_at", "type", "user_id", "query", "digest"
    }  # fmt: skip


async def test_a_day_is_sorted_by_person_and_time_and_cut_into_row_groups_and_files(
    pool: asyncpg.Pool, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROWS_OF_GROUP", 2)
    monkeypatch.setattr(parts, "ROWS_OF_PART", 4)
    hour = timedelta(hours=1)
    whose = ["u2", "u1", None, "u1", "Z", "u2", None, "u1", "u2"]
    given = [
        event(number, NOON - number * hour, userId=who, anonymousId=None if number == 4 else f"g{number % 2}")
        for number, who in enumerate(whose)
    ]
    await store(pool, *given)
    await export(pool, lake)
    found = [(row["user_id"], row["anonymous_id"] if not row["user_id"] else None, row["occurred_at"])
             for row in rows(lake)]  # fmt: skip
    assert found == sorted(found, key=lambda row: (row[0] is None, row[0] or "", row[1] or "", row[2]))
    assert found[0][0] == "Z"  # as bytes, whatever language the server speaks
    day = read_contents(lake).days[NOON.date()]
    assert [part.rows for part in day.parts] == [4, 4, 1]
    with lake.files.open(lake.path(f"day=2026-01-05/{day.parts[0].name}"), "rb") as file:
        assert pq.ParquetFile(file).metadata.num_row_groups == 2


async def test_what_is_there_is_not_touched_and_the_same_rows_make_the_same_bytes(
    pool: asyncpg.Pool, lake: Lake
) -> None:
    await store(pool, *(event(number, NOON + number * DAY / 3) for number in range(6)))
    await export(pool, lake)
    first = content(lake)
    assert vars(await export(pool, lake, NOW + DAY)) == {"days": 0, "rows": 0, "unchanged": 3, "fewer": []}
    assert content(lake) == first
    lake.remove(name for name in first if name.startswith("day=2026-01-06"))
    assert (await export(pool, lake)).days == 1
    assert content(lake) == first


async def test_a_late_event_renews_its_day_and_no_other(pool: asyncpg.Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2, NOON + DAY))
    await export(pool, lake)
    before = content(lake)
    await store(pool, event(3, NOON - timedelta(hours=2), userId="u0"))
    done = await export(pool, lake)
    assert (done.days, done.rows, done.unchanged) == (1, 2, 1)
    after = content(lake)
    assert [row["id"] for row in rows(lake)] == ["3", "1"]
    assert len(after) == len(before) == 4
    assert {name for name in before.keys() & after.keys() if before[name] == after[name]} == {
        name for name in before if "2026-01-06" in name
    }


async def test_an_exchange_of_one_event_for_another_is_seen(pool: asyncpg.Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2))
    await export(pool, lake)
    await pool.execute("DELETE FROM events WHERE id = '2'")
    await store(pool, event(3))
    assert (await export(pool, lake)).days == 1
    assert {row["id"] for row in rows(lake)} == {"1", "3"}


async def test_what_postgres_lost_stays_in_the_lake(pool: asyncpg.Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2))
    await export(pool, lake)
    await pool.execute("DELETE FROM events WHERE id = '2'")
    done = await export(pool, lake)
    assert (done.days, done.fewer) == (0, [NOON.date()])
    assert len(rows(lake)) == 2


async def test_only_days_that_are_over_and_asked_for_are_exported(pool: asyncpg.Pool, lake: Lake) -> None:
    await store(pool, *(event(number, NOON + number * DAY) for number in range(4)))
    midnight = datetime(2026, 1, 8, tzinfo=NOW.tzinfo)
    assert (await export(pool, lake, midnight + timedelta(minutes=59), since=date(2026, 1, 6))).days == 1
    assert list(read_contents(lake).days) == [date(2026, 1, 6)]
    assert (await export(pool, lake, until=date(2026, 1, 6))).days == 1
    assert list(read_contents(lake).days) == [date(2026, 1, 5), date(2026, 1, 6)]
    assert (await export(pool, lake, midnight + timedelta(minutes=61))).days == 1
    assert (await export(pool, lake)).days == 1


async def test_remains_of_a_killed_export_are_tidied_away_and_a_damaged_file_is_made_good(
    pool: asyncpg.Pool, lake: Lake
) -> None:
    await store(pool, event(1), event(2, NOON + DAY))
    await export(pool, lake)
    whole = content(lake)
    lake.write("day=2026-01-05", "part-0-0000-deaddeaddeaddead.parquet", b"half")
    lake.create("day=2026-01-09")[1].close()
    (hurt,) = (name for name in whole if name.startswith("day=2026-01-06/part"))
    lake.write("day=2026-01-06", hurt.rpartition("/")[2], b"short")
    assert (await export(pool, lake)).days == 1
    assert content(lake).keys() == whole.keys()
    assert content(lake)[hurt] == whole[hurt]


async def test_files_of_others_are_left_alone(pool: asyncpg.Pool, lake: Lake) -> None:
    await store(pool, event(1))
    theirs = {
        "day=2026-01-05": ["notes.txt", "part-0-0000-dead.parquet", "part-0.parquet", "_tmp-mine"],
        "day=2026-01-05/more": ["part-0-0000-deaddeaddeaddead.parquet"],
        "day=monday": ["part-0-0000-deaddeaddeaddead.parquet"],
    }
    for folder, names in theirs.items():
        for name in names:
            lake.write(folder, name, b"precious")
    await export(pool, lake)
    await export(pool, lake)
    assert {f"{folder}/{name}" for folder, names in theirs.items() for name in names} < lake.sizes().keys()


def changed(manifest: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The manifest with another value at a path like `files.0.name`."""
    *way, last = path.split(".")
    place: Any = manifest
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[last] = value
    return manifest


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("files.0.name", "../../../../precious.txt"),
        ("files.0.name", "part-0-0000-deaddeaddeaddead.parquet/../../precious.txt"),
        ("files.0.name", 7),
        ("files.0.layer", "x"),
        ("files.0.rows", "1"),
        ("files.0.bytes", None),
        ("layer", "x"),
        ("layer", True),
        ("held.rows", 1.5),
        ("day", "2026-01-06"),
    ],
)
async def test_a_manifest_that_is_not_ours_removes_nothing(
    pool: asyncpg.Pool, tmp_path: Path, path: str, value: object
) -> None:
    lake = Lake.at(str(tmp_path / "lake"))
    (tmp_path / "precious.txt").write_text("precious")
    await store(pool, event(1))
    await export(pool, lake)
    name = "day=2026-01-05/_SUCCESS.json"
    said = changed(json.loads(lake.read([name])[name]), path, value)
    lake.write("day=2026-01-05", "_SUCCESS.json", json.dumps(said).encode())
    before = content(lake)
    await store(pool, event(2))
    with pytest.raises(StoreUnavailable, match=f"{name} is no manifest of ours"):
        await export(pool, lake)
    assert content(lake) == before
    assert (tmp_path / "precious.txt").exists()


@pytest.mark.parametrize("url", ["{folder}/lake[1]", "file://{folder}/l*ke/[1]", "s3://shop/lake[1]*"])
async def test_an_address_is_no_pattern(pool: asyncpg.Pool, s3: object, tmp_path: Path, url: str) -> None:
    lake = Lake.at(url.format(folder=tmp_path))
    await store(pool, event(1), event(2, NOON + DAY))
    assert (await export(pool, lake)).days == 2
    assert (await export(pool, lake)).unchanged == 2
    assert len(rows(lake)) == 1
    await store(pool, event(3))
    assert (await export(pool, lake)).days == 1
    assert [day.rows for day in read_contents(lake).days.values()] == [2, 1]


async def test_a_month_far_ahead_is_none_that_is_over(pool: asyncpg.Pool, lake: Lake) -> None:
    far = datetime(9999, 12, 31, tzinfo=UTC)
    await pool.execute("SELECT ensure_event_partitions($1, $1)", far)
    try:
        await store(pool, event(1))
        assert (await export(pool, lake)).days == 1
        async with sole_writer(pool) as connection:
            assert date(2026, 1, 1) in await drop_exported_months(connection, lake, 90, NOW + 60 * DAY)
        assert await pool.fetchval("SELECT to_regclass('events_9999_12') IS NOT NULL")
    finally:
        await pool.execute("DROP TABLE events_9999_12")


async def test_an_export_that_fails_half_way_lets_go_of_everything(
    pool: asyncpg.Pool, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(pool, *(event(number) for number in range(4)))
    with monkeypatch.context() as patched:
        patched.setattr(parts, "ROWS_OF_GROUP", 2)
        patched.setattr(parts.Writer, "_close", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await export(pool, lake)
    assert read_contents(lake).days == {}
    assert (await export(pool, lake)).days == 1
    assert len(lake.sizes()) == 2


async def test_one_process_writes_at_a_time(pool: asyncpg.Pool, lake: Lake) -> None:
    async with sole_writer(pool):
        with pytest.raises(LakeBusy):
            await export(pool, lake)
    await export(pool, lake)


async def test_the_lake_of_another_database_is_left_alone(pool: asyncpg.Pool, lake: Lake) -> None:
    await store(pool, event(1))
    await export(pool, lake)
    before = content(lake)
    await pool.execute("UPDATE lake_origin SET id = gen_random_uuid()")
    await store(pool, event(2))
    with pytest.raises(AnothersLake, match="another database"):
        await export(pool, lake)
    assert content(lake) == before


async def test_other_storages_and_plain_paths_are_lakes_too(
    pool: asyncpg.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await store(pool, event(1))
    memory = Lake("memory://shop", MemoryFileSystem(), "/shop/events/v1")
    for lake in (memory, Lake.at(str(tmp_path / "folder")), Lake.at("here")):
        assert (await export(pool, lake)).days == 1
        assert len(rows(lake)) == 1
    for folder in ("folder", "here"):
        assert (tmp_path / folder / "events/v1/day=2026-01-05/_SUCCESS.json").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense://x", "nonsense:// is no kind of storage"),
        ("gs://bucket/x", "gs:// needs a package"),
        ("ftp://ada:hush@host/x", "holds no password"),
        ("s3://key:hu/sh@bucket/x", "holds no password"),
        ("key:hush@nonsense://x", "holds no password"),
        ("s3://bucket/x?secret=hush", "holds no password"),
        ("simplecache::s3://key:hush@bucket/x", "holds no password"),
        ("simplecache::/data/hush", "holds no password"),
        ("memory://shop", "gone with its process"),
        ("file://[x", "a path from the root"),
        ("file://data/x", "a path from the root"),
        ("s3://[x", "s3:// is no kind of storage"),
        ("dir://x", "dir:// is no kind of storage"),
        ("reference://x", "reference:// is no kind of storage"),
    ],
)
def test_an_address_nobody_can_open_is_refused_in_clear_words(url: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        Lake.at(url)
    assert "hush" not in str(refused.value)


async def test_a_bucket_that_is_not_there_is_said_to_be_missing(pool: asyncpg.Pool, s3: object) -> None:
    await store(pool, event(1))
    with pytest.raises(StoreUnavailable, match="s3://nowhere/lake did not answer: FileNotFoundError"):
        await export(pool, Lake.at("s3://nowhere/lake"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"<Error><Code>AccessDenied</Code></Error>"),
        (404, b""),
        (503, b"<html>"),
        (200, b"{}"),
        (200, b"<ListBucketResult><Contents><Size>5</Size></Contents></ListBucketResult>"),
    ],
)
async def test_whatever_a_bucket_answers_it_is_the_lake_that_failed(
    pool: asyncpg.Pool, s3: S3FileSystem, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes
) -> None:
    with answering_all(status, body) as url:
        monkeypatch.setattr(S3FileSystem, "retries", 1)
        files = S3FileSystem(endpoint_url=url, config_kwargs={"retries": {"total_max_attempts": 1}})
        with pytest.raises(StoreUnavailable, match="s3://shop/lake did not answer"):
            await export(pool, Lake("s3://shop/lake", files, "shop/lake/events/v1"))


def without_guests(part: Path) -> None:
    pq.write_table(pq.read_table(part).drop_columns(["anonymous_id", "id"]), part)


def with_other_types(part: Path) -> None:
    rows = pq.read_table(part)
    pq.write_table(rows.set_column(1, "id", rows["digest"]).set_column(5, "user_id", rows["digest"]), part)


def cut_short(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-100])


def overwritten(part: Path) -> None:
    part.write_bytes(b"PAR1" + bytes(part.stat().st_size - 8) + b"PAR1")


@pytest.mark.parametrize("damage", [without_guests, with_other_types, cut_short, overwritten])
async def test_a_damaged_file_is_said_to_be_the_lakes_fault(
    pool: asyncpg.Pool, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    lake = Lake.at(str(tmp_path))
    await store(pool, event(1))
    await export(pool, lake)
    day = read_contents(lake).days[NOON.date()]
    damage(tmp_path / "events/v1/day=2026-01-05" / day.parts[0].name)
    for read in (lambda: without(lake, day.day, day.parts), lambda: erase_people(lake, {Person("user", "u1")})):
        with pytest.raises(StoreUnavailable, match="did not answer"):
            read()


async def test_a_folder_that_cannot_be_written_is_said_to_be(pool: asyncpg.Pool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    await store(pool, event(1))
    with pytest.raises(StoreUnavailable, match=r"did not answer: (NotADirectory|FileExists)Error"):
        await export(pool, Lake.at(f"{tmp_path}/file"))
