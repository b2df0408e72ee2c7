"""Erased people are in no file of the lake, and all other people still are."""

from datetime import timedelta

import pytest

from core.contract import Person
from db.lake import parts
from db.lake.days import read_contents
from db.lake.erasure import erase_people
from db.lake.location import Lake
from db.postgres import Pool
from tests.db.lake.conftest import DAY, NOON, event, export, store
from tests.db.lake.test_export import content, rows
from tests.db.lake.test_retention import LATER, drop

ADA, GUEST = Person("user", "ada"), Person("guest", "g1")


async def shop(pool: Pool, lake: Lake) -> None:
    await store(
        pool,
        *(event(number, NOON + timedelta(minutes=number), userId="bob") for number in range(10)),
        event(20, userId="ada", anonymousId="g2"),
        event(21, userId=None, anonymousId="g1"),
        event(22, userId="bob", anonymousId="g1"),  # has a user id: it is bob's
        event(23, NOON + DAY, userId="bob"),
        event(24, NOON + 2 * DAY, userId="ada"),
    )
    await export(pool, lake)


def people(lake: Lake) -> set[tuple[str | None, str | None]]:
    days = read_contents(lake).days
    return {(row["user_id"], row["anonymous_id"]) for day in days for row in rows(lake, NOON.replace(day=day.day))}


async def test_days_with_erased_people_are_written_again_and_others_are_not(
    pool: Pool, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "ROWS_OF_GROUP", 4)
    monkeypatch.setattr(parts, "ROWS_OF_PART", 8)
    await shop(pool, lake)
    before = content(lake)
    erased = erase_people(lake, {ADA, GUEST})
    assert [day.day for day in erased] == [5, 7]
    assert people(lake) == {("bob", None), ("bob", "g1")}
    assert len(rows(lake)) == 11
    after = content(lake)
    assert list(read_contents(lake).days) == [NOON.date(), (NOON + DAY).date()]
    assert {name for name in after if "day=2026-01-06" in name and after[name] == before[name]} == {
        name for name in before if "day=2026-01-06" in name
    }
    assert erase_people(lake, {ADA, GUEST}) == []
    assert content(lake) == after


async def test_the_next_export_makes_the_lake_equal_to_postgres_again(pool: Pool, lake: Lake) -> None:
    await shop(pool, lake)
    await pool.execute("DELETE FROM events WHERE user_id = 'ada'")
    erase_people(lake, {ADA})
    done = await export(pool, lake)
    assert (done.days, done.unchanged, done.fewer) == (1, 1, [])
    assert ("ada", "g2") not in people(lake)
    assert (await export(pool, lake)).days == 0
    assert await drop(pool, lake) != []


async def test_months_that_are_only_in_the_lake_are_rewritten_too(pool: Pool, lake: Lake) -> None:
    await shop(pool, lake)
    assert await drop(pool, lake)
    await store(pool, event(30, userId="ada"), event(31, userId="eve"))
    await export(pool, lake)
    erase_people(lake, {ADA})
    assert people(lake) == {("bob", None), ("bob", "g1"), (None, "g1"), ("eve", None)}
    await pool.execute("DELETE FROM events WHERE user_id = 'ada'")
    await export(pool, lake, LATER)
    assert {who for who, _ in people(lake)} == {"bob", "eve", None}
    assert [row["id"] for row in rows(lake) if row["user_id"] == "eve"] == ["31"]


async def test_an_erasure_that_was_killed_is_continued(pool: Pool, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop(pool, lake)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("db.lake.rewriting.write_day", killed)
        with pytest.raises(KeyboardInterrupt):
            erase_people(lake, {ADA})
    assert ("ada", "g2") in people(lake)  # readers go by the manifest
    assert len(erase_people(lake, {ADA})) == 2
    await pool.execute("DELETE FROM events WHERE user_id = 'ada'")
    await export(pool, lake)
    named = {name for day in read_contents(lake).days.values() for name in day.files()}
    assert lake.sizes().keys() == named
