"""Segments: their members are found from the purchases, and read in pages of one snapshot."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import clock
from core.contract import Person, read_event
from core.errors import InvalidInput, NotFound, StoreUnavailable
from core.settings import Stores
from db.deletion import delete_people
from db.erasures import begin_erasure
from db.events import insert_events
from db.items import upsert_items
from db.personal_data import personal_data_of
from db.postgres import Pool, connect_pool
from db.segment_conditions import Definition
from db.segment_figures import users_where
from db.segments import (
    CLAIM,
    PERIOD,
    SEGMENTS,
    claim_due_segments,
    delete_segment,
    has_due_segments,
    list_segments,
    save_segment,
    segment_by_id,
    write_snapshot,
)
from db.serving import Model, promote, register_model
from engine.segments.defining import replace_segment
from engine.segments.reading import MembersPage, read_members
from engine.segments.refreshing import refresh_segments
from engine.signing import Signer
from ml.affinity.network import Network
from ml.bundle import delete_bundle
from ml.hazard.examples import BINS
from ml.hazard.features import FEATURES
from ml.hazard.model import Forecaster, write
from tests.faults import Relay

SIGNER = Signer("a secret of a test")
ANY = {"orders": {"min": 1}}


async def saved(pool: Pool, id: str = "s") -> None:
    await save_segment(pool, id, "Name", ANY, "tests")


async def define(pool: Pool, id: str, where: dict[str, Any]) -> None:
    await replace_segment(pool, id, {"where": where}, "tests")


async def found(pool: Pool, *users: str, id: str = "s") -> None:
    assert await write_snapshot(pool, id, ANY, list(users), clock.now())


async def moment_between(pool: Pool) -> datetime:
    """A moment after every snapshot so far and before every later one, by the clock of Postgres."""
    moment: datetime = await pool.fetchval("SELECT clock_timestamp()")
    return moment


def ids(page: MembersPage) -> list[str]:
    return [member.user_id for member in page.members]


async def changes(pool: Pool, since: datetime, id: str = "s") -> dict[str, bool]:
    page = await read_members(pool, SIGNER, id, changed_since=since)
    return {member.user_id: not member.gone for member in page.members}


async def test_there_may_be_so_many_segments_and_no_more(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.segments.SEGMENTS", replace(SEGMENTS, most=2))
    for id in ("a", "b", "a"):
        await saved(pool, id)
    with pytest.raises(InvalidInput):
        await saved(pool, "c")
    assert [each.id for each in await list_segments(pool)] == ["a", "b"]
    assert await delete_segment(pool, "a", "tests")
    assert not await delete_segment(pool, "a", "tests")


async def test_a_segment_is_due_once_after_it_was_saved(pool: Pool) -> None:
    await saved(pool)
    assert await has_due_segments(pool)
    claims = await asyncio.gather(*(claim_due_segments(pool) for _ in range(4)))
    assert sorted(map(len, claims)) == [0, 0, 0, 1]
    assert not await has_due_segments(pool)
    await saved(pool)
    assert not await has_due_segments(pool), "nothing changed"
    await save_segment(pool, "s", "another name", {"orders": {"min": 2}}, "tests")
    assert await has_due_segments(pool)


async def test_members_that_were_not_written_are_due_again_soon_and_written_ones_after_an_hour(pool: Pool) -> None:
    await saved(pool)
    await claim_due_segments(pool)  # then its worker is killed, or Postgres goes away
    due_in = "SELECT due_at - clock_timestamp() FROM segments"
    assert timedelta(0) < await pool.fetchval(due_in) <= CLAIM
    await found(pool, "a")
    assert CLAIM < await pool.fetchval(due_in) <= PERIOD


async def test_a_reading_is_of_one_snapshot_whatever_is_found_meanwhile(pool: Pool) -> None:
    await saved(pool)
    await found(pool, "a", "b", "c", "d", "e")
    first = await read_members(pool, SIGNER, "s", first=2)
    await found(pool, "b", "c", "z")
    second = await read_members(pool, SIGNER, "s", first=2, after=first.next)
    third = await read_members(pool, SIGNER, "s", first=2, after=second.next)
    assert [ids(first), ids(second), ids(third)] == [["a", "b"], ["c", "d"], ["e"]]
    assert (third.next, {page.snapshot for page in (first, second, third)}) == (None, {1})
    now = await read_members(pool, SIGNER, "s")
    assert (ids(now), now.snapshot, now.segment.members) == (["b", "c", "z"], 2, 3)


async def test_changes_since_a_moment_are_who_joined_and_who_left(pool: Pool) -> None:
    await saved(pool)
    beginning = await moment_between(pool)
    await found(pool, "a", "b", "c")
    after_first = await moment_between(pool)
    await found(pool, "b", "d")
    after_second = await moment_between(pool)
    await found(pool, "a", "b")
    assert await changes(pool, beginning) == {"a": True, "b": True}
    assert await changes(pool, after_first) == {"c": False}
    assert await changes(pool, after_second) == {"a": True, "d": False}
    assert await changes(pool, await moment_between(pool)) == {}


async def test_changes_are_read_in_pages_too(pool: Pool) -> None:
    await saved(pool)
    await found(pool, "a", "c")
    since = await moment_between(pool)
    await found(pool, "b", "c", "d")
    first = await read_members(pool, SIGNER, "s", first=2, changed_since=since)
    await found(pool, "x")
    rest = await read_members(pool, SIGNER, "s", first=2, after=first.next)
    assert (ids(first), ids(rest), rest.next) == (["a", "b"], ["d"], None)
    with pytest.raises(InvalidInput) as refused:
        await read_members(pool, SIGNER, "s", after=first.next, changed_since=since)
    assert refused.value.field == "changedSince"


async def test_what_is_older_than_the_history_is_forgotten(pool: Pool) -> None:
    await saved(pool)
    await found(pool, "a", "b")
    page = await read_members(pool, SIGNER, "s", first=1)
    for users in (["b", "c"], ["c"]):
        await pool.execute("UPDATE segment_snapshots SET made_at = made_at - interval '31 days'")
        await found(pool, *users)
    assert await pool.fetchval("SELECT count(*) FROM segment_snapshots") == 2
    assert await pool.fetchval("SELECT array_agg(user_id ORDER BY user_id) FROM segment_members") == ["b", "c"]
    with pytest.raises(InvalidInput, match="expired"):
        await read_members(pool, SIGNER, "s", after=page.next)
    with pytest.raises(InvalidInput, match="longer ago"):
        await read_members(pool, SIGNER, "s", changed_since=clock.now() - timedelta(days=90))


async def test_a_cursor_of_another_segment_and_an_unknown_segment_are_refused(pool: Pool) -> None:
    for id in ("s", "t"):
        await saved(pool, id)
        await found(pool, "a", "b", id=id)
    cursor = (await read_members(pool, SIGNER, "s", first=1)).next
    for after in (cursor, "x", "é"):
        with pytest.raises(InvalidInput) as refused:
            await read_members(pool, SIGNER, "t", after=after)
        assert refused.value.field == "after"
    for id in ("u", "\0", "ä"):
        with pytest.raises(NotFound):
            await read_members(pool, SIGNER, id)


async def test_a_segment_that_changed_or_went_keeps_nothing_of_the_old_definition(pool: Pool) -> None:
    await saved(pool)
    assert not await write_snapshot(pool, "s", {"orders": {"min": 9}}, ["a"], clock.now())
    assert not await write_snapshot(pool, "gone", ANY, ["a"], clock.now())
    page = await read_members(pool, SIGNER, "s")
    assert (page.snapshot, ids(page)) == (None, [])


async def test_two_snapshots_at_once_follow_each_other(pool: Pool) -> None:
    await saved(pool)
    await asyncio.gather(*(found(pool, "a", f"u{at}") for at in range(8)))
    segment = await segment_by_id(pool, "s")
    assert segment is not None and (segment.number, segment.members) == (8, 2)
    assert len((await read_members(pool, SIGNER, "s")).members) == 2


async def test_an_erased_user_is_in_no_segment_and_an_export_names_them(pool: Pool) -> None:
    for id in ("s", "t"):
        await saved(pool, id)
        await found(pool, "anna", "bert", id=id)
    assert (await personal_data_of(pool, "anna"))["segments"] == ["s", "t"]
    await delete_people(pool, [Person("user", "anna")])
    assert ids(await read_members(pool, SIGNER, "s")) == ["bert"]
    assert (await personal_data_of(pool, "anna"))["segments"] == []


async def test_who_was_erased_while_members_were_found_is_left_out(pool: Pool) -> None:
    await saved(pool)
    await found(pool, "anna", "bert")
    read_at = clock.now()
    await begin_erasure(pool, "anna", "tests", clock.now())
    assert await write_snapshot(pool, "s", ANY, ["anna", "bert", "cid"], read_at)
    page = await read_members(pool, SIGNER, "s")
    assert (ids(page), page.segment.members) == (["bert", "cid"], 2)
    later = clock.now() + timedelta(hours=1)
    assert await write_snapshot(pool, "s", ANY, ["anna", "bert"], later)  # she came back, and bought again
    assert ids(await read_members(pool, SIGNER, "s")) == ["anna", "bert"]


async def test_an_erasure_and_a_snapshot_at_once_keep_nothing_of_the_erased(pool: Pool) -> None:
    await saved(pool)
    people = [f"u{at}" for at in range(40)]
    await found(pool, *people)
    for erased in people[:10]:
        read_at = clock.now()
        written, _ = await asyncio.gather(
            write_snapshot(pool, "s", ANY, people[::2] if erased in people[::4] else people, read_at),
            begin_erasure(pool, erased, "tests", clock.now()),
        )
        assert written
    kept = await pool.fetchval("SELECT count(*) FROM segment_members WHERE user_id = ANY($1)", people[:10])
    assert kept == 0


async def test_changes_since_a_snapshot_that_is_forgotten_between_two_pages_are_refused(pool: Pool) -> None:
    await saved(pool)
    await found(pool, "a", "b")
    since = await moment_between(pool)
    await found(pool, "c", "d")
    page = await read_members(pool, SIGNER, "s", first=1, changed_since=since)
    await pool.execute("UPDATE segment_snapshots SET made_at = made_at - interval '31 days'")
    await found(pool, "c")
    with pytest.raises(InvalidInput, match="expired"):
        await read_members(pool, SIGNER, "s", after=page.next)


async def test_members_are_found_by_the_forecast_that_serves(pool: Pool, tmp_path: Path) -> None:
    await three_customers(pool)
    leaving = {"churn": {"within": 90, "min": 0.5}}
    await define(pool, "leaving", leaving)
    soon = {"next_purchase": {"within": 30, "min": 0.5}, "orders": {"min": 2}}
    await define(pool, "soon", soon)
    await define(pool, "all", {"orders": {"min": 1}})
    assert await refresh_segments(pool, tmp_path) == (1, 0), "no forecast serves"
    assert (await read_members(pool, SIGNER, "leaving")).snapshot is None
    kernel = np.zeros((len(FEATURES), BINS), np.float32)
    kernel[FEATURES.index("quiet")] = -2.0  # bert has been quiet for long
    wide = [np.full(len(FEATURES), value, np.float32) for value in (-100, 100, 0)]
    forecaster = Forecaster(Network((kernel,), (np.full(BINS, 2.0, np.float32),)), *wide)
    path = write(tmp_path, forecaster, evaluation={}, training={}, created_at=clock.now())
    await register_model(pool, Model(path.name, "forecast", clock.now(), "d", {}, None))
    await promote(pool, path.name, "a test says so", {}, "tests")
    await pool.execute("UPDATE segments SET due_at = now()")
    assert await refresh_segments(pool, tmp_path) == (3, 0)
    assert ids(await read_members(pool, SIGNER, "leaving")) == ["bert"]
    assert ids(await read_members(pool, SIGNER, "soon")) == ["anna"], "cid ordered once"
    delete_bundle(path)
    await pool.execute("UPDATE segments SET due_at = now()")
    assert await refresh_segments(pool, tmp_path) == (1, 0)
    assert ids(await read_members(pool, SIGNER, "leaving")) == ["bert"], "as they were found last"


async def three_customers(pool: Pool) -> None:
    """Anna ordered twice lately, cid once, bert long ago."""
    now = clock.now()
    await upsert_items(pool, [{"id": "milk", "updated_at": now}])
    bought = [("anna", 1, "o1"), ("anna", 3, "o2"), ("bert", 200, "o3"), ("cid", 2, "o4")]
    await insert_events(
        pool,
        [
            read_event(
                {
                    "type": "PURCHASE", "userId": who, "itemId": "milk", "id": order, "orderId": order, "quantity": 1,
                    "unitPrice": "10", "currency": "EUR", "occurredAt": (now - timedelta(days=days)).isoformat(),
                },
                source="shop",
                received_at=now,
            )
            for who, days, order in bought
        ],
    )  # fmt: skip


async def test_members_are_found_from_the_purchases(pool: Pool, tmp_path: Path) -> None:
    await three_customers(pool)
    await define(pool, "recent", {"recency": {"max": 30}})
    await define(pool, "again", {"orders": {"min": 2}, "spent": {"min": 20}})
    await define(pool, "lost", {"rfm": ["HIBERNATING", "AT_RISK", "CANNOT_LOSE"]})
    assert await refresh_segments(pool, tmp_path) == (3, 0)
    assert ids(await read_members(pool, SIGNER, "recent")) == ["anna", "cid"]
    assert ids(await read_members(pool, SIGNER, "again")) == ["anna"]
    assert ids(await read_members(pool, SIGNER, "lost")) == ["bert"]
    assert await refresh_segments(pool, tmp_path) == (0, 0)


async def test_a_segment_that_fails_keeps_its_members_and_the_others_go_on(pool: Pool, tmp_path: Path) -> None:
    await three_customers(pool)
    await define(pool, "again", {"orders": {"min": 2}})
    assert await refresh_segments(pool, tmp_path) == (1, 0)
    await define(pool, "recent", {"recency": {"max": 30}})
    for unreadable in ({"orders": {"least": 2}}, {"orders": {"min": "two"}}, {"churn": {"within": 90}}):
        await pool.execute("UPDATE segments SET definition = $1 WHERE id = 'again'", unreadable)
        await pool.execute("UPDATE segments SET due_at = now()")
        assert await refresh_segments(pool, tmp_path) == (1, 1), unreadable
    assert ids(await read_members(pool, SIGNER, "again")) == ["anna"], "as they were found last"
    assert ids(await read_members(pool, SIGNER, "recent")) == ["anna", "cid"]
    assert not await has_due_segments(pool), "not tried again at once"


async def test_a_statement_that_takes_too_long_fails_its_segment_alone(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(connection: Pool, where: Definition, now: datetime) -> list[str]:
        if "orders" in where:
            raise StoreUnavailable("postgres", "No answer within 300 seconds.")
        return await users_where(connection, where, now)

    await three_customers(pool)
    await define(pool, "again", {"orders": {"min": 2}})
    await define(pool, "recent", {"recency": {"max": 30}})
    monkeypatch.setattr("engine.segments.refreshing.users_where", find)
    assert await refresh_segments(pool, tmp_path) == (1, 1)
    assert ids(await read_members(pool, SIGNER, "recent")) == ["anna", "cid"]


async def test_a_store_that_is_away_ends_the_refresh_of_all_segments(
    pool: Pool, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: object) -> bool:
        await relay.close()
        raise StoreUnavailable("postgres")

    await three_customers(pool)
    await define(pool, "again", {"orders": {"min": 2}})
    monkeypatch.setattr("engine.segments.refreshing.write_snapshot", unreachable)
    relay = Relay(stores.postgres_url.get_secret_value())
    async with await connect_pool(await relay.open(), size=1, timeout=1.0) as through:
        with pytest.raises(StoreUnavailable):
            await refresh_segments(through, tmp_path)
