"""Every day that is over is in the lake as in Postgres, once, however often it is exported."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow.parquet as pq
import pytest

from db.lake import parts
from db.lake.days import read_contents
from db.lake.location import Lake
from db.lake.owner import ForeignLake, LakeBusy, sole_writer
from db.lake.retention import drop_exported_months
from db.postgres import Pool
from tests.db.lake.conftest import DAY, NOON, NOW, event, export, store


def content(lake: Lake) -> dict[str, bytes]:
    return lake.read(lake.sizes())


def rows(lake: Lake, day: datetime = NOON) -> list[dict[str, Any]]:
    """The rows of the files that the manifests name."""
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


async def test_an_exported_event_has_every_field_unchanged(pool: Pool, lake: Lake) -> None:
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
    pool: Pool, lake: Lake, monkeypatch: pytest.MonkeyPatch
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
    assert found[0][0] == "Z"  # in byte order, whatever the locale of the server
    day = read_contents(lake).days[NOON.date()]
    assert [part.rows for part in day.parts] == [4, 4, 1]
    with lake.files.open(lake.path(f"day=2026-01-05/{day.parts[0].name}"), "rb") as file:
        assert pq.ParquetFile(file).metadata.num_row_groups == 2


async def test_exported_days_are_left_alone_and_the_same_rows_make_the_same_bytes(pool: Pool, lake: Lake) -> None:
    await store(pool, *(event(number, NOON + number * DAY / 3) for number in range(6)))
    await export(pool, lake)
    first = content(lake)
    assert vars(await export(pool, lake, NOW + DAY)) == {"days": 0, "rows": 0, "unchanged": 3, "fewer": []}
    assert content(lake) == first
    lake.remove(name for name in first if name.startswith("day=2026-01-06"))
    assert (await export(pool, lake)).days == 1
    assert content(lake) == first


async def test_a_late_event_rewrites_only_its_own_day(pool: Pool, lake: Lake) -> None:
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


async def test_a_day_with_one_event_replaced_by_another_is_exported_again(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2))
    await export(pool, lake)
    await pool.execute("DELETE FROM events WHERE id = '2'")
    await store(pool, event(3))
    assert (await export(pool, lake)).days == 1
    assert {row["id"] for row in rows(lake)} == {"1", "3"}


async def test_events_that_are_missing_in_postgres_stay_in_the_lake(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1), event(2))
    await export(pool, lake)
    await pool.execute("DELETE FROM events WHERE id = '2'")
    done = await export(pool, lake)
    assert (done.days, done.fewer) == (0, [NOON.date()])
    assert len(rows(lake)) == 2


async def test_only_requested_days_that_are_over_are_exported(pool: Pool, lake: Lake) -> None:
    await store(pool, *(event(number, NOON + number * DAY) for number in range(4)))
    midnight = datetime(2026, 1, 8, tzinfo=NOW.tzinfo)
    assert (await export(pool, lake, midnight + timedelta(minutes=59), since=date(2026, 1, 6))).days == 1
    assert list(read_contents(lake).days) == [date(2026, 1, 6)]
    assert (await export(pool, lake, until=date(2026, 1, 6))).days == 1
    assert list(read_contents(lake).days) == [date(2026, 1, 5), date(2026, 1, 6)]
    assert (await export(pool, lake, midnight + timedelta(minutes=61))).days == 1
    assert (await export(pool, lake)).days == 1


async def test_files_of_a_killed_export_are_removed_and_a_damaged_file_is_replaced(pool: Pool, lake: Lake) -> None:
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


async def test_a_month_far_in_the_future_is_not_exported(pool: Pool, lake: Lake) -> None:
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


async def test_an_export_that_fails_releases_its_lock_and_its_files(
    pool: Pool, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(pool, *(event(number) for number in range(4)))
    with monkeypatch.context() as patched:
        patched.setattr(parts, "ROWS_OF_GROUP", 2)
        patched.setattr(parts.PartWriter, "_close", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await export(pool, lake)
    assert read_contents(lake).days == {}
    assert (await export(pool, lake)).days == 1
    assert len(lake.sizes()) == 2


async def test_one_process_writes_at_a_time(pool: Pool, lake: Lake) -> None:
    async with sole_writer(pool):
        with pytest.raises(LakeBusy):
            await export(pool, lake)
    await export(pool, lake)


async def test_the_lake_of_another_database_is_left_alone(pool: Pool, lake: Lake) -> None:
    await store(pool, event(1))
    await export(pool, lake)
    before = content(lake)
    await pool.execute("UPDATE lake_origin SET id = gen_random_uuid()")
    await store(pool, event(2))
    with pytest.raises(ForeignLake, match="another database"):
        await export(pool, lake)
    assert content(lake) == before
