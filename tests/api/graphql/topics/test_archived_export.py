"""`exportUser` and months that Postgres dropped: their events are in the lake, or named as missing."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api.gateway import Gateway
from db.erasures import begin_erasure
from db.identities import join_guest
from db.lake.days import folder_of
from db.lake.location import Lake
from db.merged_users import merge_into
from engine.privacy import archive
from engine.privacy.archive import Archive
from tests.db.lake.conftest import DAY, NOON, event, export, store
from tests.db.lake.test_retention import LATER, drop
from tests.fixtures.gateway import Ask

EXPORT = """mutation ($id: ID!, $first: Int!, $after: String, $types: [EventType!]) { exportUser(id: $id) {
  complete missingMonths userErrors { code }
  export { profile events(first: $first, after: $after, types: $types) {
    nodes { id source type occurredAt receivedAt userId anonymousId itemId itemIds orderId quantity unitPrice currency
      value query impressionId sessionId properties } pageInfo { hasNextPage endCursor } } } } }"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in a folder."""
    return Lake.at(f"file://{tmp_path}/lake")


@pytest.fixture
def reading(gateway: Gateway, lake: Lake) -> Gateway:
    """A gateway that reads the lake."""
    gateway.archive = Archive(lake.url)
    return gateway


async def exported(ask: Ask, id: str = "u1", first: int = 100, **more: Any) -> dict[str, Any]:
    answer = await ask(EXPORT, {"id": id, "first": first, **more})
    assert answer.codes == [], answer.messages
    payload: dict[str, Any] = answer.data["exportUser"]
    return payload


async def paged(ask: Ask, first: int, id: str = "u1") -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = []
    after = None
    while True:
        page = (await exported(ask, id, first, after=after))["export"]["events"]
        nodes += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            return nodes
        assert len(page["nodes"]) == first
        after = page["pageInfo"]["endCursor"]


def ids(payload: dict[str, Any]) -> set[str]:
    return {node["id"] for node in payload["export"]["events"]["nodes"]}


def rich(number: int, at: datetime) -> Any:
    """An event with every field."""
    return event(
        number, at, orderId="o", quantity=3, unitPrice="2.3449", currency="EUR", value="7.5", query="tea é",
        impressionId="imp", sessionId="s", properties={"a": [1, {"b": None}]},
    )  # fmt: skip


async def test_an_export_is_the_same_after_months_were_dropped(reading: Gateway, ask: Ask, lake: Lake) -> None:
    january = [rich(number, NOON + timedelta(hours=7 * number)) for number in range(12)]
    seen = event(20, NOON + DAY, type="IMPRESSION", itemId=None, itemIds=["tea", "cup"])
    march = [event(number, NOON + 60 * DAY + timedelta(hours=number)) for number in range(30, 35)]
    await store(reading.pool, *january, seen, *march, event(40, NOON, userId="bob"))
    before, whole = await exported(ask), await paged(ask, 4)
    assert (before["complete"], before["missingMonths"], len(whole)) == (True, [], 18)
    await export(reading.pool, lake)
    assert await drop(reading.pool, lake)
    assert await reading.pool.fetchval("SELECT count(*) FROM events WHERE user_id = 'u1'") == 5
    assert await exported(ask) == before
    for first in (1, 4, 100):
        assert await paged(ask, first) == whole
    views = await exported(ask, types=["IMPRESSION"])
    assert ids(views) == {"20"}


async def test_a_late_event_of_a_dropped_month_is_exported_once(reading: Gateway, ask: Ask, lake: Lake) -> None:
    first, late = [event(number) for number in range(3)], event(9)
    await store(reading.pool, *first)
    await export(reading.pool, lake)
    assert await drop(reading.pool, lake)
    await store(reading.pool, first[0], late)  # one is sent again
    assert [node["id"] for node in await paged(ask, 2)] == ["9", "2", "1", "0"]
    await export(reading.pool, lake, LATER)
    assert [node["id"] for node in await paged(ask, 2)] == ["9", "2", "1", "0"]
    assert await drop(reading.pool, lake)
    assert [node["id"] for node in await paged(ask, 2)] == ["9", "2", "1", "0"]


async def test_events_under_all_ids_of_the_person_are_found(reading: Gateway, ask: Ask, lake: Lake) -> None:
    people = [("u1", None), ("old", None), (None, "g1"), ("bob", "g1"), ("bob", None), (None, "g2")]
    await store(reading.pool, *(event(at, userId=user, anonymousId=guest) for at, (user, guest) in enumerate(people)))
    await export(reading.pool, lake)
    assert await drop(reading.pool, lake)
    await join_guest(reading.pool, "g1", "old", "shop")
    await merge_into(reading.pool, "old", "u1", "shop")
    for id in ("u1", "old"):
        payload = await exported(ask, id)
        assert (payload["complete"], ids(payload)) == (True, {"0", "1", "2"})
        assert payload["export"]["profile"]["events"] == {
            "count": 3, "first": NOON.isoformat(), "last": NOON.isoformat(),
        }  # fmt: skip


async def test_an_erased_person_is_absent_while_the_lake_still_has_them(reading: Gateway, ask: Ask, lake: Lake) -> None:
    await store(reading.pool, event(1), event(2, NOON + DAY), event(3, NOON + 2 * DAY, userId="bob"))
    await export(reading.pool, lake)
    assert await drop(reading.pool, lake)
    await begin_erasure(reading.pool, "u1", "shop", NOON + 10 * DAY)
    payload = await exported(ask)
    assert (payload["complete"], ids(payload)) == (True, set())
    assert payload["export"]["profile"]["events"] == {"count": 0, "first": None, "last": None}
    assert ids(await exported(ask, "bob")) == {"3"}


async def test_months_that_cannot_be_read_are_named(gateway: Gateway, ask: Ask, lake: Lake, tmp_path: Path) -> None:
    await store(gateway.pool, event(1), event(2, NOON + 60 * DAY))
    await export(gateway.pool, lake)
    assert await drop(gateway.pool, lake)
    incomplete = (False, ["2026-01"], {"2"})

    async def said() -> tuple[bool, list[str], set[str]]:
        payload = await exported(ask)
        return payload["complete"], payload["missingMonths"], ids(payload)

    assert await said() == incomplete, "no lake is configured"
    gateway.archive = Archive(lake.url)
    assert await said() == (True, [], {"1", "2"})
    gateway.archive = Archive("nosuch://shop/lake")
    assert await said() == incomplete, "the storage cannot be opened"
    gateway.archive = Archive(f"file://{tmp_path}/elsewhere")
    assert await said() == incomplete, "the lake is empty"
    (part,) = (Path(lake.root) / folder_of(NOON.date())).glob("*.parquet")
    good = part.read_bytes()
    part.write_bytes(b"x" * len(good))
    gateway.archive = Archive(lake.url)
    assert await said() == incomplete, "a file is damaged"
    part.unlink()
    assert await said() == incomplete, "a file is gone"
    shutil.rmtree(lake.root)
    assert await said() == incomplete, "the lake is gone"


async def test_an_export_is_not_complete_while_events_of_a_merged_user_are_being_assigned(
    gateway: Gateway, ask: Ask
) -> None:
    await store(gateway.pool, event(1), event(2, userId="old"))
    assert (await exported(ask))["complete"]
    await merge_into(gateway.pool, "old", "u1", "shop")  # nothing is assigned yet
    payload = await exported(ask)
    assert (payload["complete"], payload["missingMonths"], ids(payload)) == (False, [], {"1"})
    await gateway.pool.execute("UPDATE events SET user_id = 'u1'")
    payload = await exported(ask)
    assert (payload["complete"], ids(payload)) == (True, {"1", "2"})


async def test_a_slow_lake_makes_the_export_incomplete_and_asking_again_continues(
    reading: Gateway, ask: Ask, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(reading.pool, *(event(number, NOON + number * DAY) for number in range(6)))
    await export(reading.pool, lake)
    assert await drop(reading.pool, lake)
    moments = iter(range(10_000))
    monkeypatch.setattr(archive, "monotonic", lambda: float(next(moments)))  # each file takes a second
    told = [await exported(ask) for _ in range(3)]
    assert [payload["complete"] for payload in told] == [False, False, True]
    assert ids(told[0]) == set() and len(ids(told[-1])) == 6


async def test_a_refused_export_is_not_complete(ask: Ask) -> None:
    payload = (await ask(EXPORT, {"id": "", "first": 1})).data["exportUser"]
    assert (payload["complete"], payload["missingMonths"], payload["export"]) == (False, [], None)
