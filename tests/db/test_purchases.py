"""Purchases come as NumPy columns; popularity counts people, not lines."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db.items import remove_items, upsert_items
from db.postgres import Pool
from db.purchases import popular_items, purchase_log

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def buy(pool: Pool, item: str, at: datetime, **fields: Any) -> None:
    row = {"source": "s", "id": str(await pool.fetchval("SELECT count(*) FROM events")), "occurred_at": at,
           "type": "PURCHASE", "item_id": item, "digest": 1, **fields}  # fmt: skip
    await pool.execute("SELECT ensure_event_partitions($1, $1)", at)
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    await pool.execute(f"INSERT INTO events ({', '.join(row)}) VALUES ({places})", *row.values())


async def stock(pool: Pool, *ids: str) -> None:
    await upsert_items(pool, [{"id": id, "updated_at": NOON} for id in ids])


async def test_lines_become_columns_sorted_by_person_and_time(pool: Pool) -> None:
    await stock(pool, "tea", "cup")
    await buy(pool, "cup", NOON + HOUR, user_id="b", order_id="1", quantity=2, unit_price="2.345")
    await buy(pool, "tea", NOON, anonymous_id="a", value="7.5")
    await buy(pool, "tea", NOON, user_id="b", anonymous_id="x", order_id="0")
    log = await purchase_log(pool, NOON + 2 * HOUR)
    names = dict(zip(log.item_numbers.tolist(), log.item_ids, strict=True))
    assert log.people == ["guest:a", "user:b"]
    assert log.person.tolist() == [0, 1, 1]
    assert [names[number] for number in log.item.tolist()] == ["tea", "tea", "cup"]
    assert log.occurred.tolist() == [int(NOON.timestamp()), int(NOON.timestamp()), int((NOON + HOUR).timestamp())]
    assert (log.quantity.tolist(), log.cents.tolist()) == ([1, 1, 2], [750, 0, 469])
    assert [str(column.dtype) for column in (log.person, log.item, log.order)] == ["int32", "int32", "int64"]


async def test_an_order_is_its_id_or_else_person_and_moment(pool: Pool) -> None:
    await stock(pool, "tea", "cup", "pot")
    for item, at in (("tea", NOON), ("cup", NOON), ("pot", NOON + HOUR)):
        await buy(pool, item, at, user_id="without")
        await buy(pool, item, at, user_id="with", order_id="7")
        await buy(pool, item, at, user_id="other", order_id="7")
    log = await purchase_log(pool, NOON + 2 * HOUR)
    orders = {name: log.order[log.person == index].tolist() for index, name in enumerate(log.people)}
    assert len(set(orders["user:with"])) == 1
    assert len(set(orders["user:without"])) == 2
    assert set(orders["user:with"]).isdisjoint(orders["user:other"])
    assert sorted(set(log.order.tolist())) == list(range(4))


async def test_the_span_is_half_open_and_other_types_and_unknown_items_are_left_out(pool: Pool) -> None:
    await stock(pool, "tea")
    await buy(pool, "tea", NOON - HOUR, user_id="u")
    await buy(pool, "tea", NOON, user_id="u")
    await buy(pool, "unknown item", NOON, user_id="u")
    await buy(pool, "tea", NOON, user_id="viewer", type="VIEW")
    await buy(pool, "tea", NOON + HOUR, user_id="u")
    log = await purchase_log(pool, NOON + HOUR, since=NOON)
    assert (len(log.item), log.unknown, log.people) == (1, 1, ["user:u"])


async def test_an_empty_log_has_empty_columns(pool: Pool) -> None:
    log = await purchase_log(pool, NOON)
    assert (log.people, log.item.tolist(), log.order.tolist(), log.item_ids) == ([], [], [], [])


async def test_a_program_does_not_push_the_views_of_customers_out(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs, which also buy: the older one is among the newest views only without those of the newer one."""
    monkeypatch.setattr("db.purchases.MOST_OF_PERSON", 3)
    await stock(pool, "tea")
    for user in ("anna", "bot", "crawler"):
        await buy(pool, "tea", NOON, user_id=user)
    for user, hours, count in (("anna", 1, 3), ("crawler", 2, 6), ("bot", 3, 9)):
        for number in range(count):
            at = NOON + hours * HOUR + number * timedelta(minutes=1)
            await buy(pool, "tea", at, type="VIEW", user_id=user)

    async def viewers(browsed: int) -> Counter[str]:
        log = await purchase_log(pool, NOON + 9 * HOUR, browsed=browsed)
        assert log.people == ["user:anna", "user:bot", "user:crawler"], "their purchases stay"
        return Counter(log.people[person] for person in log.signals.person.tolist())

    assert await viewers(5) == {"user:anna": 3}
    assert await viewers(18) == {"user:anna": 3, "user:crawler": 6, "user:bot": 9}, "there are not too many"


async def test_popular_counts_people_and_only_live_items(pool: Pool) -> None:
    await stock(pool, "tea", "cup", "gone")
    for person in ("u", "v", "w"):
        await buy(pool, "gone", NOON, user_id=person)
        await buy(pool, "cup", NOON - HOUR, user_id=person)
    for _ in range(5):
        await buy(pool, "cup", NOON, user_id="u")
    await buy(pool, "tea", NOON, user_id="u")
    await buy(pool, "tea", NOON, anonymous_id="u")
    await remove_items(pool, ["gone"])
    assert [(id, people) for id, _, people in await popular_items(pool, NOON, 10)] == [("tea", 2), ("cup", 1)]
    assert [id for id, _, _ in await popular_items(pool, NOON - HOUR, 1)] == ["cup"]
